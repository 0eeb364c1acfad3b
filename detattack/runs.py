"""The run folder: manifest, ledger, and files that are whole before the ledger speaks of them.

run.json       what was run: config, versions, seeds, threads, fingerprints of model and data
ledger.sqlite  a row an image, committed after the image's files are safely on disk
images/ heatmaps/ figures/ floats/    per image
clean.json adversarial.json annotations.json summary.json    made from the ledger at any time
"""

import io
import json
import os
import platform
import sqlite3
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from detattack import __version__
from detattack.errors import InputError
from detattack.files import TEMPORARY_PREFIX, write_bytes_atomic, write_text_atomic
from detattack.job import Outcome, Record, record_from_json, record_to_json

MANIFEST, LEDGER = "run.json", "ledger.sqlite"
PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "pillow", "pycocotools")
DECIDING = ("config", "model", "data")
"""The keys of the manifest that a resumed run must share with the one it continues."""


class RunFolder:
    """A run folder that is open for writing (`create`, `resume`) or reading (`open`)."""

    def __init__(self, path: Path, manifest: dict[str, Any]):
        self.path = path
        self.manifest = manifest
        self._ledger = sqlite3.connect(path / LEDGER)
        self._ledger.execute("PRAGMA journal_mode=WAL")
        self._ledger.execute("PRAGMA synchronous=FULL")
        self._ledger.execute(
            "CREATE TABLE IF NOT EXISTS images (id INTEGER PRIMARY KEY, stem TEXT, status TEXT, record TEXT)"
        )

    @classmethod
    def create(cls, path: Path, manifest: dict[str, Any], resume: bool = False) -> "RunFolder":
        """A new run folder, or, with `resume`, the one that is there if it is of the same run.

        Raises `InputError` for a folder that holds anything else, or that cannot be written.
        """
        try:
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                return cls._continue(path, manifest, resume)
            for folder in ("images", "heatmaps"):
                (path / folder).mkdir(parents=True, exist_ok=True)
            write_text_atomic(path / MANIFEST, _json(manifest))
            return cls(path, manifest)
        except (OSError, sqlite3.OperationalError) as error:
            raise InputError(f"output folder {path}: cannot be written ({error})") from error

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing run. Raises `InputError` where there is none."""
        if not (path / MANIFEST).is_file() or not (path / LEDGER).is_file():
            raise InputError(f"{path}: not a run folder (no {MANIFEST} or {LEDGER})")
        return cls(path, _read_manifest(path))

    @classmethod
    def _continue(cls, path: Path, manifest: dict[str, Any], resume: bool) -> "RunFolder":
        if not path.is_dir():
            raise InputError(f"output folder {path}: is a file")
        if not (path / MANIFEST).is_file():
            raise InputError(f"output folder {path}: not empty, and not a run folder")
        before = _read_manifest(path)
        differing = [_difference(key, before.get(key), manifest[key]) for key in DECIDING]
        for difference in filter(None, differing):
            raise InputError(f"output folder {path}: holds another run: {difference}")
        if not resume:
            raise InputError(f"output folder {path}: holds this run already; --resume continues it")
        for folder in (path, *(d for d in path.iterdir() if d.is_dir())):
            for left in folder.glob(f"{TEMPORARY_PREFIX}*"):
                left.unlink()
        return cls(path, before)

    def done(self) -> set[int]:
        """Ids of the images that are finished."""
        return {row[0] for row in self._ledger.execute("SELECT id FROM images")}

    def records(self) -> list[Record]:
        """All finished images, by id."""
        rows = self._ledger.execute("SELECT record FROM images ORDER BY id")
        return [record_from_json(json.loads(row[0])) for row in rows]

    def commit(self, outcomes: Iterable[Outcome]) -> None:
        """Files first, then the rows of the whole batch in one transaction."""
        outcomes = list(outcomes)
        for outcome in outcomes:
            self._write_files(outcome)
        rows = [(o.record.id, o.record.stem, o.record.status, json.dumps(record_to_json(o.record))) for o in outcomes]
        with self._ledger:
            self._ledger.executemany("INSERT INTO images VALUES (?, ?, ?, ?)", rows)

    def write_json(self, name: str, content: Any) -> None:
        """One of the files that are made from the ledger."""
        write_text_atomic(self.path / name, _json(content))

    def close(self) -> None:
        """Closes the ledger."""
        self._ledger.close()

    def _write_files(self, outcome: Outcome) -> None:
        from detattack.images import write_png
        from detattack.report.figures import difference_map, heatmap

        if outcome.pixels is None or outcome.original is None:
            return
        stem = outcome.record.stem
        shown: np.ndarray = outcome.pixels
        if outcome.floats is not None:
            (self.path / "floats").mkdir(exist_ok=True)
            buffer = io.BytesIO()
            np.save(buffer, outcome.floats)
            write_bytes_atomic(self.path / "floats" / f"{stem}.npy", buffer.getvalue())
            shown = outcome.floats.transpose(1, 2, 0)
        write_png(self.path / "heatmaps" / f"{stem}.png", heatmap(difference_map(outcome.original, shown)))
        write_bytes_atomic(self.path / "images" / f"{stem}.png", outcome.png)


def make_manifest(config: dict[str, Any], model: str, data: str) -> dict[str, Any]:
    """What `run.json` holds. model, data: fingerprints."""
    import torch

    return {
        "detattack": __version__,
        "config": config,
        "model": model,
        "data": data,
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
        return json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path / MANIFEST}: cannot be read ({error})") from error


def _difference(key: str, before: Any, now: Any) -> str | None:
    """The first place where two JSON values differ, as text; None where they are the same."""
    if isinstance(before, dict) and isinstance(now, dict):
        for inner in sorted({*before, *now}):
            found = _difference(f"{key}.{inner}", before.get(inner), now.get(inner))
            if found:
                return found
        return None
    return None if before == now else f"{key} was {before!r}, now {now!r}"


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, sort_keys=False, allow_nan=False) + "\n"
