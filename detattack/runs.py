"""The run folder: manifest, ledger, and files that are whole before the ledger speaks of them.

run.json       what was run: config, versions, seeds, threads, fingerprints of model and data
ledger.sqlite  a row an image, committed after the image's files are safely on disk; the slow measures of quality
images/ heatmaps/ figures/ floats/    per image
clean.json adversarial.json annotations.json summary.json    made from the ledger at any time
"""

import hashlib
import io
import json
import os
import platform
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, Self

import numpy as np

from detattack import __version__
from detattack.errors import InputError
from detattack.files import TEMPORARY_PREFIX, write_bytes_atomic, write_chunks_atomic, write_text_atomic
from detattack.job import Record
from detattack.records import Outcome, R

MANIFEST, LEDGER = "run.json", "ledger.sqlite"
PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "pillow", "pycocotools")
DECIDING = ("task", "config", "model", "data", "shard", "lengths")
"""The keys of the manifest that a resumed run must share with the one it continues."""
PER_IMAGE = ("images", "heatmaps", "floats", "figures")
"""The subfolders with files of single images."""
NEEDED = ("config", "model", "data")
"""The keys without which a manifest is none."""


class BaseRunFolder(Generic[R]):
    """A run folder that is open for writing (`create`, `resume`) or reading (`open`), whatever the task.

    A subclass names the records of its task.
    """

    record_type: type[R]

    def __init__(self, path: Path, manifest: dict[str, Any]):
        self.path = path
        self.manifest = manifest
        self._ledger = sqlite3.connect(path / LEDGER)
        self._ledger.execute("PRAGMA journal_mode=WAL")
        self._ledger.execute("PRAGMA synchronous=FULL")
        self._ledger.execute("CREATE TABLE IF NOT EXISTS images (id INTEGER PRIMARY KEY, status TEXT, record TEXT)")
        self._ledger.execute("CREATE TABLE IF NOT EXISTS quality (id INTEGER PRIMARY KEY, measures TEXT)")

    @classmethod
    def create(cls, path: Path, manifest: dict[str, Any], resume: bool = False) -> Self:
        """A new run folder, or, with `resume`, the one that is there if it is of the same run.

        Raises `InputError` for a folder that holds anything else, or that cannot be written.
        """
        manifest = claim(path, manifest, resume)
        try:
            return cls(path, manifest)
        except sqlite3.Error as error:
            raise InputError(f"output folder {path}: cannot be written ({error})") from error

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing run. Raises `InputError` where there is none."""
        if not (path / MANIFEST).is_file() or not (path / LEDGER).is_file():
            raise InputError(f"{path}: not a run folder (no {MANIFEST} or {LEDGER})")
        manifest = _read_manifest(path)
        if task_of(manifest) != cls.record_type.task:
            raise InputError(f"{path}: is a run of another task ({task_of(manifest)})")
        try:
            return cls(path, manifest)
        except sqlite3.Error as error:
            raise InputError(f"{path / LEDGER}: cannot be read ({error})") from error

    def done(self) -> set[int]:
        """Ids of the images that are finished."""
        return {row[0] for row in self._ledger.execute("SELECT id FROM images")}

    def records(self) -> list[R]:
        """All finished images, by id."""
        return list(self.iterate())

    def iterate(self) -> Iterator[R]:
        """The same one by one, so that any number of them takes no more memory than one."""
        rows = self._ledger.execute("SELECT record, measures FROM images LEFT JOIN quality USING (id) ORDER BY id")
        for row, measures in rows:
            record = self.record_type.from_json(json.loads(row))
            yield record if measures is None else replace(record, quality=record.quality | json.loads(measures))

    def unmeasured(self) -> list[R]:
        """Attacked images, bare of what is long, whose full quality is not in the ledger yet."""
        query = "SELECT id FROM images WHERE status IN ('success', 'failure') AND id NOT IN (SELECT id FROM quality)"
        ids = {row[0] for row in self._ledger.execute(query)}
        return [r.short() for r in self.iterate() if r.id in ids]

    def add_quality(self, image_id: int, measures: dict[str, float | None]) -> None:
        """Commits the full quality of one image."""
        with self._transaction():
            self._ledger.execute("INSERT OR REPLACE INTO quality VALUES (?, ?)", (image_id, json.dumps(measures)))

    def take_over(self, other: "BaseRunFolder[R]") -> None:
        """Commits all rows of another run; their files are here already."""
        with self._transaction():
            for table, marks in (("images", "?, ?, ?"), ("quality", "?, ?")):
                rows = other._ledger.execute(f"SELECT * FROM {table}")
                self._ledger.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)

    def commit(self, outcomes: Iterable[Outcome[R]]) -> None:
        """Files first, then the rows of the whole batch in one transaction."""
        records = [self._write_files(outcome) for outcome in outcomes]
        rows = [(record.id, record.status, json.dumps(record.as_json())) for record in records]
        with self._transaction():
            self._ledger.executemany("INSERT INTO images VALUES (?, ?, ?)", rows)

    def write_json(self, name: str, content: Any) -> None:
        """One of the files that are made from the ledger. Iterators, at the top or one level below, are written
        item by item."""
        write_chunks_atomic(self.path / name, (chunk.encode() for chunk in _chunks(content)))

    def read_json(self, name: str) -> Any:
        """One of those files. Raises `InputError`."""
        try:
            return json.loads((self.path / name).read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path / name}: cannot be read ({error})") from error

    def close(self) -> None:
        """Closes the ledger."""
        self._ledger.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing. Raises OSError where the disk is full."""
        try:
            with self._ledger:
                yield
        except sqlite3.Error as error:
            raise OSError(f"{self.path / LEDGER}: cannot be written ({error})") from error

    def _write_files(self, outcome: Outcome[R]) -> R:
        """The files of one image; its record, with the digest of what is written from here."""
        from detattack.images import write_png
        from detattack.report.figures import difference_map, heatmap

        record = outcome.record
        if outcome.pixels is None or outcome.original is None:
            return record
        stem = record.stem
        shown: np.ndarray = outcome.pixels
        for folder in ("images", "heatmaps", *(["floats"] if outcome.floats is not None else [])):
            (self.path / folder).mkdir(exist_ok=True)
        if outcome.floats is not None:
            buffer = io.BytesIO()
            np.save(buffer, outcome.floats)
            write_bytes_atomic(self.path / "floats" / f"{stem}.npy", buffer.getvalue())
            record = replace(record, floats_digest=hashlib.sha256(buffer.getvalue()).hexdigest())
            shown = outcome.floats.transpose(1, 2, 0)
        write_png(self.path / "heatmaps" / f"{stem}.png", heatmap(difference_map(outcome.original, shown)))
        write_bytes_atomic(self.path / "images" / f"{stem}.png", outcome.png)
        return record


class RunFolder(BaseRunFolder[Record]):
    """The folder of a detector's run."""

    record_type = Record


def claim(path: Path, manifest: dict[str, Any], resume: bool, deciding: Sequence[str] = DECIDING) -> dict[str, Any]:
    """Makes a folder that of the run of a manifest, or, with `resume`, continues it; its manifest, new or old.

    deciding: the keys that an old manifest must share. Raises `InputError` for a folder that holds anything else, or
    that cannot be written.
    """
    try:
        if path.exists() and (not path.is_dir() or any(_lasting(path))):
            return _claimed_before(path, manifest, resume, deciding)
        path.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        # First, so that a run that is interrupted here is known for what it is.
        write_text_atomic(path / MANIFEST, _json(manifest))
        return manifest
    except OSError as error:
        raise InputError(f"output folder {path}: cannot be written ({error})") from error


def _claimed_before(path: Path, manifest: dict[str, Any], resume: bool, deciding: Sequence[str]) -> dict[str, Any]:
    if not path.is_dir():
        raise InputError(f"output folder {path}: is a file")
    if not (path / MANIFEST).is_file():
        raise InputError(f"output folder {path}: not empty, and not a run folder")
    before = _read_manifest(path)
    differing = [difference(key, before.get(key), manifest.get(key)) for key in deciding]
    for found in filter(None, differing):
        raise InputError(f"output folder {path}: holds another run: {found}")
    if not resume:
        raise InputError(f"output folder {path}: holds this run already; --resume continues it")
    _sweep(path)
    return before


def task_of(manifest: dict[str, Any]) -> str:
    """Of a run: `detect` or `classify`."""
    return str(manifest.get("task", Record.task))


def task_in(path: Path) -> str:
    """Of the run in a folder. Raises `InputError` where there is none."""
    if not (path / MANIFEST).is_file():
        raise InputError(f"{path}: not a run folder (no {MANIFEST})")
    return task_of(_read_manifest(path))


def batch_of(path: Path) -> int | None:
    """The batch size of the run in a folder; None where there is none."""
    if not (path / MANIFEST).is_file():
        return None
    size = _read_manifest(path)["config"].get("batch")
    return size if isinstance(size, int) else None


def make_manifest(config: dict[str, Any], model: str, data: str, **more: Any) -> dict[str, Any]:
    """What `run.json` holds. model, data: fingerprints. more: what else is to stand there."""
    import torch

    return {
        "detattack": __version__,
        "config": config,
        "model": model,
        "data": data,
        **more,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in PACKAGES},
        "environment": {k: os.environ[k] for k in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY") if k in os.environ},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path / MANIFEST}: cannot be read ({error})") from error
    if not isinstance(manifest, dict) or not all(key in manifest for key in NEEDED):
        raise InputError(f"{path / MANIFEST}: not the manifest of a run (no {', '.join(NEEDED)})")
    return manifest


def _sweep(path: Path) -> None:
    """Deletes the unfinished files of a run that was interrupted."""
    for folder in (path, *(entry for entry in path.iterdir() if entry.is_dir())):
        for left in folder.glob(f"{TEMPORARY_PREFIX}*"):
            left.unlink()


def _lasting(path: Path) -> Iterator[Path]:
    """What is in a folder, but for unfinished files."""
    return (entry for entry in path.iterdir() if not entry.name.startswith(TEMPORARY_PREFIX))


def difference(key: str, before: Any, now: Any) -> str | None:
    """The first place where two JSON values differ, as text; None where they are the same."""
    if isinstance(before, dict) and isinstance(now, dict):
        for inner in sorted({*before, *now}):
            found = difference(f"{key}.{inner}", before.get(inner), now.get(inner))
            if found:
                return found
        return None
    return None if before == now else f"{key} was {before!r}, now {now!r}"


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, sort_keys=False, allow_nan=False) + "\n"


def _chunks(content: Any) -> Iterator[str]:
    """JSON piece by piece: a line an item of an iterator."""
    if isinstance(content, Iterator):
        yield from _list_chunks(content)
        yield "\n"
    elif isinstance(content, dict) and any(isinstance(value, Iterator) for value in content.values()):
        for number, (key, value) in enumerate(content.items()):
            yield f"{',' if number else '{'}\n{json.dumps(key)}: "
            yield from _list_chunks(iter(value)) if isinstance(value, list | Iterator) else [json.dumps(value)]
        yield "\n}\n"
    else:
        yield _json(content)


def _list_chunks(items: Iterator[Any]) -> Iterator[str]:
    separator = "["
    for item in items:
        yield f"{separator}\n{json.dumps(item, allow_nan=False)}"
        separator = ","
    yield "[]" if separator == "[" else "\n]"
