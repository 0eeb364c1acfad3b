"""run.json: all that a run was asked to do and was made with, so that it can be continued, judged again and repeated.

A run folder may come from anybody: its manifest is checked as it is read, and trusted with nothing.
"""

import json
import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, FiniteFloat, ValidationError, field_validator

from detattack import __version__
from detattack.core.environment import DETERMINISTIC, deciding
from detattack.core.errors import InputError, first_error
from detattack.core.locating import FOLDER
from detattack.core.trust import check_trust

MANIFEST = "run.json"
COMPARISON = "comparison.json"
"""What a folder holds that has a run for each of several methods."""
MOST_NAMED = 20
"""Runs in a folder that a message names."""
DETECT = "detect"
"""The task of a manifest that does not say any."""
PACKAGES = (
    *("torch", "torchvision", "numpy", "opencv-python-headless", "pillow", "pycocotools"),
    *("scikit-image", "sewar", "matplotlib", "timm", "transformers", "ultralytics", "detectron2"),
)
MOST_THREADS = 1024
ALL_MEASURES = "all_measures"
"""The key that says whether all measures of quality are taken, instead of the quick ones."""
DECIDING = ("task", "config", "model", "data", "shard", "lengths", "start", "mask")
"""The keys that a resumed run must share with the one it continues."""
CONDITIONS = ("detattack", "threads", "python", "platform", "versions")
CONFIG_CONDITIONS = ("device", "batch")
"""Keys of the manifest, and of its config, that a repeated run may have otherwise, and that bytes may depend on."""
MIXED = "not all of it was made as run.json says: "
"""Begins the note of a run that was continued, or joined of shards, under several conditions."""


class _Detector(BaseModel, strict=True):
    name: str
    eval_threshold: float
    expected_ap: float | None = None


class _Category(BaseModel, strict=True):
    id: int
    name: str


_Pair = Annotated[list[int], Field(min_length=2, max_length=2)]
_TargetL2 = Annotated[tuple[int, FiniteFloat], Field(strict=False)]


class _Manifest(BaseModel, strict=True):
    """What the keys that are read again have to hold."""

    config: dict[str, Any]
    model: str
    data: str
    task: str = DETECT
    images: int = 0
    annotated: bool = False
    shard: _Pair | None = None
    lengths: list[_TargetL2] | None = None
    start: Annotated[str, Field(pattern=r"^[a-z0-9]+-[0-9.e+-]+$")] | None = None
    mask: str | None = None
    figures: bool = False
    all_measures: bool = False
    folder: str | None = None
    threads: int = Field(1, ge=1, le=MOST_THREADS)
    detector: _Detector | None = None
    categories: list[_Category] = []
    notes: list[str] = []
    environment: dict[str, str] = {}

    @field_validator("shard")
    @classmethod
    def _is_a_part(cls, shard: list[int] | None) -> list[int] | None:
        if shard and not 0 <= shard[0] < shard[1]:
            raise ValueError("not the i-th of n parts")
        return shard


def make_manifest(config: dict[str, Any], model: str, data: str, **more: Any) -> dict[str, Any]:
    """Make what `run.json` holds. model, data: fingerprints. more: what else is to stand there."""
    import torch

    return {
        "detattack": __version__,
        "config": config,
        "model": model,
        "data": data,
        **more,
        FOLDER: str(Path.cwd()),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in PACKAGES},
        "environment": deciding(),
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a run folder. Raises `InputError` where there is none, or what is there cannot be one."""
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(_no_run(folder))
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        _Manifest.model_validate(manifest)
    except ValidationError as error:
        raise InputError(f"{path}: damaged, or not the manifest of a run ({first_error(error)})") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    manifest.setdefault("task", DETECT)  # which folders of 0.1.0 leave out
    return manifest


def check_own_model(folder: Path, trust: bool) -> None:
    """Raise `InputError` where there is no run in a folder, or its model may not be run: see `check_trust`."""
    check_trust(folder, read_manifest(folder)["config"], trust)


def _no_run(folder: Path) -> str:
    """Tell what a folder without a manifest is: a comparison, or anything else."""
    runs = sorted(str(path.parent) for path in folder.glob(f"*/{MANIFEST}"))
    what = "is a comparison" if (folder / COMPARISON).is_file() else f"not a run folder (no {MANIFEST})"
    if not runs:
        return f"{folder}: {what}"
    more = f", ... ({len(runs)} in all)" if len(runs) > MOST_NAMED else ""
    return f"{folder}: {what}; its runs are {', '.join(runs[:MOST_NAMED])}{more}"


def task_of(manifest: dict[str, Any]) -> str:
    """Of a run: `detect` or `classify`."""
    return str(manifest["task"])


def task_in(folder: Path) -> str:
    """Of the run in a folder. Raises `InputError` where there is none."""
    return task_of(read_manifest(folder))


def batch_of(folder: Path) -> int | None:
    """Read the batch size of the run in a folder; None where there is none."""
    if not (folder / MANIFEST).is_file():
        return None
    size = read_manifest(folder)["config"].get("batch")
    return size if isinstance(size, int) else None


def differences(key: str, before: Any, now: Any) -> Iterator[str]:
    """Where two JSON values differ, as text."""
    if isinstance(before, dict) and isinstance(now, dict):
        for inner in sorted({*before, *now}):
            yield from differences(f"{key}.{inner}", before.get(inner), now.get(inner))
    elif before != now:
        yield f"{key} was {before!r}, now {now!r}"


def conditions(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """List, as text, what bytes may depend on and was not the same for two runs, or within one of them."""
    pairs = [(key, first.get(key), second.get(key)) for key in CONDITIONS]
    pairs += [(key, first["config"].get(key), second["config"].get(key)) for key in CONFIG_CONDITIONS]
    pairs.append((DETERMINISTIC, *(one.get("environment", {}).get(DETERMINISTIC) for one in (first, second))))
    return [*chain.from_iterable(differences(*pair) for pair in pairs), *mixed_notes(first), *mixed_notes(second)]


def mixed(manifest: dict[str, Any], found: Iterable[str]) -> dict[str, Any]:
    """Note in a manifest under which other conditions a part of its run was made, if any. found: of `conditions`."""
    known = "".join(mixed_notes(manifest))
    new = [one for one in dict.fromkeys(found) if one.removeprefix(MIXED) not in known]
    return {**manifest, "notes": [*manifest.get("notes", []), MIXED + "; ".join(new)]} if new else manifest


def mixed_notes(manifest: dict[str, Any]) -> list[str]:
    """Find the notes that `mixed` has made."""
    return [note for note in manifest.get("notes", []) if note.startswith(MIXED)]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
