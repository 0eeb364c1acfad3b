"""Plugins: Python files and installed packages that register their own goals, losses, step rules, methods and measures.

An installed package names its module in the entry-point group `detattack.plugins`; a file is named by the environment
variable `DETATTACK_PLUGINS` (several separated by `os.pathsep`). Only these cause code to run: a goal or a method in a
run folder is a name, never a path. Workers inherit the variable, so that they know what the command knows. In a Python
program `import` does the same.
"""

import os
from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

from detattack.core.errors import InputError
from detattack.core.third_party import import_file

GROUP = "detattack.plugins"
VARIABLE = "DETATTACK_PLUGINS"
_loaded: set[str] = set()


def load_plugins() -> None:
    """Import every plugin that this process has not imported yet. Raises `InputError` for one that fails."""
    for entry in entry_points(group=GROUP):
        _once(f"entry point {entry.name}", entry.load)
    for file in plugin_files():
        _once(str(file), partial(_import_file, file))


def plugin_files() -> list[Path]:
    """Return the files that `DETATTACK_PLUGINS` names, as absolute paths."""
    named = os.environ.get(VARIABLE, "").split(os.pathsep)
    return [Path(name).expanduser().absolute() for name in named if name]


def _once(name: str, load: Callable[[], object]) -> None:
    if name in _loaded:
        return
    try:
        load()
    except Exception as error:  # a plugin is someone else's code
        said = " ".join(str(error).split())
        raise InputError(f"plugin {name}: cannot be imported ({type(error).__name__}: {said})") from error
    _loaded.add(name)


def _import_file(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError("no such file")
    import_file(path)
