"""Tasks by their names."""

from importlib.metadata import EntryPoint

import pytest

from detattack.core.errors import InputError
from detattack.tasks import registry
from detattack.tasks.registry import find_task


def test_a_task_that_is_loaded_is_listed_once():
    find_task("detect")
    with pytest.raises(InputError, match=r"unknown task 'nosuch': known: detect, classify(?!.*detect)"):
        find_task("nosuch")


def test_an_installed_task_that_cannot_be_imported_is_bad_input(monkeypatch):
    entry = EntryPoint("tally", "no_such_package.tally", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    words = r"task tally: no_such_package\.tally cannot be imported \(ModuleNotFoundError: No module named "
    with pytest.raises(InputError, match=words):
        find_task("tally")
