"""docs/extending.md quotes the examples that are tested, and names what there is."""

from importlib import import_module
from pathlib import Path

import pytest

from detattack.core import plugins
from detattack.detectors.registry import ENTRY_POINT_GROUP
from detattack.tasks import registry

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
QUOTED = ("own_step", "own_goal", "own_loss", "own_measure", "own_corruption", "own_data")


@pytest.mark.parametrize("name", QUOTED)
def test_an_example_is_quoted_as_it_is_tested(name):
    assert f"```python\n{(HERE / f'{name}.py').read_text(encoding='utf-8')}```" in PAGE


def test_every_example_is_linked():
    assert all(f"(../tests/extensions/{path.name})" in PAGE for path in HERE.glob("own_*.py"))


def test_the_groups_and_the_variable_are_those_of_the_code():
    for group in (plugins.GROUP, registry.GROUP, ENTRY_POINT_GROUP):
        assert f'[project.entry-points."{group}"]' in PAGE
    assert f"{plugins.VARIABLE}=own_step.py" in PAGE


def test_what_registers_is_where_the_table_says():
    rows = [
        line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| a ") and "`register_" in line
    ]
    assert len(rows) == 8
    for _, call, where, _ in rows:
        name = call.strip("`").partition("(")[0].partition("`")[0]
        for module in where.split("`")[1::2]:
            assert callable(getattr(import_module(module), name)), (name, module)
