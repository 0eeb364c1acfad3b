"""Tasks by their names, which is what `run.json` says and `--task` takes.

Those of this project are imported when they are first asked for; a plugin (`core/plugins.py`) or an installed package
(entry points of the group `detattack.tasks`) adds its own by `register_task`.
"""

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from detattack.core.errors import InputError, kind_and_reason, unknown
from detattack.core.registry import Registry
from detattack.tasks.base import Task

BUILT_IN = {"detect": "detattack.tasks.detection.task", "classify": "classify.task"}
"""The module that registers each task of this project."""
GROUP = "detattack.tasks"
TASKS: Registry[Task[Any, Any, Any]] = Registry("task")


def register_task(task: Task[Any, Any, Any]) -> None:
    """Make a task known by its name. Raises `InputError` where that is taken."""
    TASKS.register(task.name, task)


def find_task(name: str) -> Task[Any, Any, Any]:
    """Find a task by its name; it is imported where it is not there yet. Raises `InputError` with the nearest names."""
    if name not in TASKS and name in BUILT_IN:
        import_module(BUILT_IN[name])
    for entry in entry_points(group=GROUP) if name not in TASKS else ():
        if entry.name == name:
            _import_entry(entry)
    if name not in TASKS:
        raise unknown("task", name, {**BUILT_IN, **TASKS})
    return TASKS[name]


def _import_entry(entry: EntryPoint) -> None:
    try:
        entry.load()
    except Exception as error:  # the package is someone else's code
        said = kind_and_reason(error)
        raise InputError(f"task {entry.name}: {entry.value} cannot be imported ({said})") from error
