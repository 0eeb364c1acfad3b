"""Every promise of SECURITY.md and of docs/reliability.md names a test, and that test is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def promises() -> list[tuple[str, str]]:
    """Each row of the tables: the promise, and what it says holds it."""
    security = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    reliability = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in (security + reliability).splitlines() if line.startswith("| ")]
    return [(row[0], row[1]) for row in rows if row[0] != "promise"]


def named_in(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("promise", "held_by"), promises(), ids=[promise[:40] for promise, _ in promises()])
def test_a_promise_is_held_by_tests_that_are_there(promise, held_by):
    named = re.findall(r"`([^`]+)::([^`]+)`", held_by)
    assert named, promise
    for file, name in named:
        assert name in named_in(ROOT / file), f"{file} has no test {name}"


def test_there_are_promises():
    assert len(promises()) > 20
