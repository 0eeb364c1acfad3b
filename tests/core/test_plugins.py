"""Plugins named by the environment: imported once, and refused in one line."""

import os

import pytest

from detattack.core import plugins
from detattack.core.errors import InputError
from detattack.core.plugins import VARIABLE, load_plugins, plugin_files


@pytest.fixture(autouse=True)
def none_loaded(monkeypatch):
    monkeypatch.setattr(plugins, "_loaded", set())


def test_the_files_that_the_environment_names(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "")
    assert plugin_files() == []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, os.pathsep.join(["a.py", "/b/c.py"]))
    assert [str(path) for path in plugin_files()] == [str(tmp_path / "a.py"), "/b/c.py"]


def test_a_file_is_run_once(monkeypatch, tmp_path):
    file = tmp_path / "counted.py"
    file.write_text(f"open({str(tmp_path / 'count')!r}, 'a').write('x')")
    monkeypatch.setenv(VARIABLE, str(file))
    load_plugins()
    load_plugins()
    assert (tmp_path / "count").read_text() == "x"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"FileNotFoundError: no such file"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("a b", "SyntaxError"),
    ],
)
def test_one_that_cannot_be_imported_is_named_in_one_line(monkeypatch, tmp_path, content, message):
    file = tmp_path / "broken.py"
    if content:
        file.write_text(content)
    monkeypatch.setenv(VARIABLE, str(file))
    with pytest.raises(InputError, match=message) as caught:
        load_plugins()
    assert str(caught.value).startswith(f"plugin {file}: cannot be imported")
    assert "\n" not in str(caught.value)
