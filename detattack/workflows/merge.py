"""The shards of a run made one run folder: the same bytes as a run without shards."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from detattack.core.errors import InputError
from detattack.core.files import write_bytes_atomic
from detattack.core.wording import counted
from detattack.datasets.base import Dataset, OriginalIds
from detattack.runs.folder import PER_IMAGE, SUMMARY, RunFolder
from detattack.runs.manifest import ALL_MEASURES, DECIDING, MANIFEST, conditions, differences, mixed, task_in
from detattack.tasks.registry import find_task


def merge_runs(out: Path, shards: Sequence[Path]) -> RunFolder[Any]:
    """Join finished shards into the folder `out`, new or of the same merge interrupted, which is returned open.

    Raises `InputError` for shards of different runs, and where one that has images is missing, or one is doubled or
    unfinished.
    """
    task = find_task(task_in(shards[0]))
    with ExitStack() as stack:
        folders = [stack.enter_context(closing(RunFolder.open(path, task.record_type))) for path in shards]
        _check(folders, task.manifest_keys)
        if (out / SUMMARY).is_file():
            raise InputError(f"output folder {out}: holds a finished run already")
        first, *others = (folder.manifest for folder in folders)
        found = chain.from_iterable(conditions(first, other) for other in others)
        merged = RunFolder.create(out, task.record_type, mixed({**first, "shard": None}, found), resume=True)
        with ExitStack() as failing:
            failing.callback(merged.close)
            for folder in folders:
                _copy_files(folder.path, out)
                merged.take_over(folder)
            task.write_derived(merged, _joined([task.annotations_in(folder) for folder in folders]))
            failing.pop_all()
        return merged


def _joined(parts: Sequence[Dataset]) -> Dataset:
    """Join the annotations of all shards."""
    annotations = tuple(chain.from_iterable(one.annotations for one in parts))
    images = dict(chain.from_iterable(one.original_ids.images.items() for one in parts))
    originals = OriginalIds(images, parts[0].original_ids.categories)
    return replace(parts[0], annotations=annotations, original_ids=originals)


def _check(folders: list[RunFolder[Any]], needed: Sequence[str]) -> None:
    first = folders[0]
    seen: dict[int, Path] = {}
    for folder in folders:
        shard = folder.manifest.get("shard")
        if not shard:
            raise InputError(f"{folder.path}: is no shard of a run")
        for key in (key for key in ("images", *needed) if not folder.manifest.get(key)):
            raise InputError(f"{folder.path / MANIFEST}: has no {key}")
        for key in (*(k for k in DECIDING if k != "shard"), "images", ALL_MEASURES):
            for found in differences(key, first.manifest.get(key), folder.manifest.get(key)):
                raise InputError(f"{folder.path}: is of another run than {first.path}: {found}")
        if shard[1] != first.manifest["shard"][1]:
            raise InputError(
                f"{folder.path}: is one of {shard[1]} shards, {first.path} of {first.manifest['shard'][1]}"
            )
        if shard[0] in seen:
            raise InputError(f"{folder.path}: is shard {shard[0]}/{shard[1]}, and so is {seen[shard[0]]}")
        seen[shard[0]] = folder.path
    count, images = first.manifest["shard"][1], first.manifest["images"]
    done = sum(len(folder.done()) for folder in folders)
    missing = count - len(seen)
    if missing and done != images:  # of a small data set, shards without an image are never made
        first_missing = next(i for i in range(count) if i not in seen)
        raise InputError(f"shard {first_missing}/{count} is missing ({missing} of {count})")
    for folder in folders:
        if not (folder.path / "summary.json").is_file():
            raise InputError(f"{folder.path}: is not finished; --resume goes on")
    if done != images:
        raise InputError(f"the shards hold {counted(done, 'image')}, the run has {images}")


def _copy_files(source: Path, out: Path) -> None:
    for name in PER_IMAGE:
        if (source / name).is_dir():
            (out / name).mkdir(exist_ok=True)
            for file in sorted((source / name).iterdir()):
                write_bytes_atomic(out / name / file.name, file.read_bytes())
