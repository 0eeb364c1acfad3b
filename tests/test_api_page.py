"""The blocks of docs/api.md run as they stand there, in order, and the tables of docs/columns.md are the program's."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch

from detattack import api
from detattack.cli import status_of

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "api.md").read_text(encoding="utf-8")
NOT_RUN = "<!-- not run"


def blocks(page: str) -> list[str]:
    """The Python of a page, without what is marked as not run."""
    found = re.findall(r"(?:^(<!-- not run[^\n]*)\n)?^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return [code for mark, code in found if not mark]


def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    known: dict = {}
    for code in blocks(PAGE):
        exec(compile(code, "docs/api.md", "exec"), known)
    said = capsys.readouterr().out
    assert "'success'" in said
    assert "image000001 0: score" in said
    assert known["result"].success.all()
    assert (tmp_path / "curve.png").is_file()
    assert (tmp_path / "runs" / "mine" / "images.csv").is_file()


def test_the_objective_is_of_twenty_lines():
    (code,) = [code for code in blocks(PAGE) if "class Darker" in code]
    assert len([line for line in code.splitlines() if line]) <= 20


def test_every_function_is_on_the_page():
    functions = [name for name in api.__all__ if name[0].islower()]
    assert [name for name in functions if f"`{name}" not in PAGE and f"{name}(" not in PAGE] == []


@pytest.fixture
def columns():
    spec = importlib.util.spec_from_file_location("columns", DOCS / "columns.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_columns_are_those_of_the_tasks(columns):
    page = columns.PAGE.read_text(encoding="utf-8")
    assert page == columns.written(page), "python docs/columns.py writes it"


def test_the_blocks_on_the_columns_run(columns, toy, picture, tmp_path, monkeypatch):
    for library in ("pandas", "pyarrow"):
        pytest.importorskip(library, reason=f"needs {library} (pip install {library})")
    monkeypatch.chdir(tmp_path)
    line = ["untargeted", str(picture("a", "car@8,8")), "--model", f"{toy}:factory", "--quiet"]
    assert status_of([*line, "--out", "runs/street"]) == 0
    for code in blocks(columns.PAGE.read_text(encoding="utf-8")):
        known: dict = {}
        exec(compile(code, "docs/columns.md", "exec"), known)
        assert list(known["table"]["status"]) == ["success"]
