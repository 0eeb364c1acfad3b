"""Where the files are that a run names by relative paths: they are relative to the folder in which it was started."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from detattack.core.errors import InputError

FOLDER = "folder"
"""Key of the manifest: the folder in which the run was started. Older manifests have none."""
_LIBRARIES = ("hf/", "ultralytics/", "detectron2/")
_OWN_NAMES = ("weights", "categories")


def start_folders(run: Path, manifest: Mapping[str, Any]) -> Iterator[Path]:
    """Yields the folders that relative paths of a run may be relative to, the likeliest first: where it was started,
    where we are, and those that its images or the run folder lie in."""
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
    """A file or folder that a run names; None where it is nowhere."""
    try:
        return next((found for base in start_folders(run, manifest) if (found := base / path).exists()), None)
    except (OSError, ValueError):  # no path at all: a run folder may come from anybody
        return None


def located_config(run: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a run's manifest, its files as they are found from here.

    Raises `InputError` where a file is nowhere, saying what to do.
    """
    config = dict(manifest["config"])
    for key in ("model", *_OWN_NAMES):
        value = config.get(key)
        prefix, file, suffix = _parts(key, value) if isinstance(value, str) else ("", "", "")
        if not file or Path(file).is_absolute():
            continue
        found = located(file, run, manifest)
        if found is not None:
            config[key] = f"{prefix}{found}{suffix}"
        elif not prefix:  # a library's own name need not be a file
            start = manifest.get(FOLDER, "the folder in which the run was started")
            raise InputError(f"{run}: its {key} {file} is not in {start}; go where it is, and run this there")
    return config


def _parts(key: str, value: str) -> tuple[str, str, str]:
    """A value taken apart around the file that it may name; no file where it names none."""
    if key in _OWN_NAMES:
        return "", "" if value == "none" else value, ""
    if ".py:" in value:
        file, colon, factory = value.rpartition(":")
        return "", file, colon + factory
    prefix = next((prefix for prefix in _LIBRARIES if value.startswith(prefix)), "")
    return prefix, value.removeprefix(prefix) if prefix else "", ""
