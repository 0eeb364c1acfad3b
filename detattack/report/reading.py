"""A run folder of any task, as the report needs it: read from its files alone, without the model.

A folder may come from anybody: nothing in it is trusted.
"""

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from detattack.core.errors import InputError
from detattack.runs.folder import RunFolder
from detattack.runs.record import R


@dataclass(frozen=True, eq=False)
class RunData(Generic[R]):
    """What a run folder of any task holds. summary: `summary.json`, empty where the run is unfinished."""

    path: Path
    manifest: dict[str, Any]
    records: list[R]
    summary: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """The run's resolved config."""
        return self.manifest.get("config") or {}


def read_run(path: Path, record_type: type[R]) -> RunData[R]:
    """Read a run folder of the task that has this type of record. Raises `InputError` where it is none or damaged."""
    with closing(RunFolder.open(path, record_type)) as folder:
        return RunData(path, folder.manifest, folder.records(), read_derived(path / "summary.json", dict))


def read_derived(path: Path, kind: type) -> Any:
    """Reads one of the JSON files made from the ledger, a `dict` or a `list`; an empty one where the run is not
    finished. Raises `InputError`."""
    if not path.is_file():
        return kind()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if not isinstance(content, kind):
        raise InputError(f"{path}: not a JSON {'object' if kind is dict else 'array'}")
    return content
