"""Find the files that a run names by relative paths, which are relative to the folder in which it was started."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from detattack.core.errors import InputError
from detattack.core.model_names import THROUGH, split_defense

FOLDER = "folder"
"""Key of the manifest: the folder in which the run was started. Older manifests have none."""
_LIBRARIES = ("hf/", "ultralytics/", "detectron2/", "onnx/")
_OWN_NAMES = ("weights", "categories")


def start_folders(run: Path, manifest: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the folders that relative paths of a run may be relative to, the likeliest first.

    These are: where the run was started, the current folder, and the parents of its images and of the run folder.

    - run: the run folder
    - manifest: the content of its `run.json`
    """
    said = manifest.get(FOLDER)
    if isinstance(said, str):
        yield Path(said)
    yield Path()
    origin = manifest.get("origin")
    named = origin.values() if isinstance(origin, dict) else ()
    for value in named:  # its paths are absolute
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, str):
            yield from Path(first).parents
    yield from (run.absolute(), *run.absolute().parents)


def located(path: str, run: Path, manifest: Mapping[str, Any]) -> Path | None:
    """Return a file or folder that a run names; None if it is nowhere. Parameters as in `start_folders`."""
    try:
        return next((found for base in start_folders(run, manifest) if (found := base / path).exists()), None)
    except (OSError, ValueError):  # no path at all: a run folder may come from anybody
        return None


def located_config(run: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a run's manifest, with its files as they are found from here.

    Parameters as in `start_folders`. Raises `InputError` where a file is nowhere, saying what to do.
    """
    config = dict(manifest["config"])
    for key in ("model", "within", *_OWN_NAMES):
        value = config.get(key)
        if isinstance(value, str):
            config[key] = _located_value(key, value, run, manifest)
    if isinstance(config.get(THROUGH), list | tuple):
        config[THROUGH] = [_located_value("model", str(value), run, manifest) for value in config[THROUGH]]
    return config


def _located_value(key: str, value: str, run: Path, manifest: Mapping[str, Any]) -> str:
    """Return a value of the config with its files as they are found from here. Raises `InputError`."""
    base, defense = split_defense(value) if key == "model" else (value, None)
    if defense is not None:
        of_file = ".py:" in defense
        behind = _located_value(key, defense, run, manifest) if of_file else defense
        return f"{_located_value(key, base, run, manifest)}+{behind}"
    prefix, file, suffix = _parts(key, value)
    if not file or Path(file).is_absolute():
        return value
    found = located(file, run, manifest)
    if found is not None:
        return f"{prefix}{found}{suffix}"
    if prefix:  # a library's own name need not be a file
        return value
    start = manifest.get(FOLDER, "the folder in which the run was started")
    raise InputError(f"{run}: its {key} {file} is not in {start}; go where it is, and run this there")


def _parts(key: str, value: str) -> tuple[str, str, str]:
    """Split a config value around the file that it may name: prefix, file, suffix; an empty file if it names none."""
    if key in _OWN_NAMES:
        return "", "" if value == "none" else value, ""
    if key == "within":  # a mask's file, or a place
        return "", value if Path(value).suffix[1:].isalpha() else "", ""
    if ".py:" in value:
        file, colon, factory = value.rpartition(":")
        return "", file, colon + factory
    prefix = next((prefix for prefix in _LIBRARIES if value.startswith(prefix)), "")
    file, colon, head = value.removeprefix(prefix).partition(":")  # of a file of ultralytics, which head it means
    return prefix, file if prefix else "", colon + head
