"""The run folder: manifest, ledger, and files that are whole before the ledger speaks of them.

run.json       what was run: config, versions, seeds, threads, fingerprints of model and data
ledger.sqlite  a row an image, committed after the image's files are safely on disk; the slow measures of quality
images/ heatmaps/ figures/ floats/    per image
clean.json adversarial.json annotations.json images.csv summary.json    made from the ledger at any time
.lock          held by the one process that writes here

A run folder may come from anybody: what is read from it is checked, and nothing in it may be a link.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, Self

import numpy as np

from detattack.core.errors import InputError
from detattack.core.files import (
    LOCK,
    is_temporary,
    locked,
    refuse_links,
    sweep,
    sync_folder,
    write_bytes_atomic,
    write_chunks_atomic,
    write_text_atomic,
)
from detattack.runs.ledger import FAILED, LEDGER, Ledger
from detattack.runs.manifest import (
    ALL_MEASURES,
    DECIDING,
    MANIFEST,
    conditions,
    differences,
    mixed,
    read_manifest,
    task_of,
)
from detattack.runs.record import Outcome, R, packed

PER_IMAGE = ("images", "heatmaps", "floats", "figures")
"""The subfolders with files of single images."""
SUMMARY = "summary.json"
_ATTACKED = "status IN ('success', 'failure')"


class RunFolder(Generic[R]):
    """A run folder that is open for writing (`create`) or reading (`open`), whatever the task.

    - path: the folder
    - record_type: of the rows of its ledger, those of one task
    - manifest: what its `run.json` holds
    """

    def __init__(
        self, path: Path, record_type: type[R], manifest: dict[str, Any], ledger: Ledger, held: ExitStack
    ) -> None:
        self.path = path
        self.record_type = record_type
        self.manifest = manifest
        self._ledger = ledger
        self._held = held
        self._conditions: list[str] = []

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @classmethod
    def create(cls, path: Path, record_type: type[R], manifest: dict[str, Any], resume: bool = False) -> Self:
        """Create a run folder, or, with `resume`, continue the one that is there if it is of the same run.

        A control's images whose target L2 norm is another by now, since the reference was attacked again, are to be
        done again. All measures of quality that a manifest asks for are asked for from then on.

        Raises `InputError` for a folder that holds anything else, or that cannot be written.
        """
        with ExitStack() as held:
            before = held.enter_context(claimed(path, manifest, resume, [key for key in DECIDING if key != "lengths"]))
            ledger = held.enter_context(closing(Ledger.create(path / LEDGER, new=not _has_images(path))))
            sync_folder(path)
            folder = cls(path, record_type, before, ledger, held)
            folder._conditions = conditions(before, manifest) if before is not manifest else []
            for _ in folder.iterate():  # a damaged row is reported before anything is added to it
                pass
            folder._renew_target_l2(manifest.get("lengths"))
            if manifest.get(ALL_MEASURES) and not folder.manifest.get(ALL_MEASURES):
                folder.mark_unfinished()
                folder._renew(ALL_MEASURES, True)
            folder._held = held.pop_all()
            return folder

    @classmethod
    def open(cls, path: Path, record_type: type[R]) -> Self:
        """Open an existing run to be read. Raises `InputError` where there is none, or it is of another task."""
        manifest = read_manifest(path)
        if task_of(manifest) != record_type.task:
            raise InputError(f"{path}: is a run of another task ({task_of(manifest)})")
        refuse_links(path)
        held = ExitStack()
        return cls(path, record_type, manifest, held.enter_context(closing(Ledger.open(path / LEDGER))), held)

    def done(self, errors: bool = True) -> set[int]:
        """Ids of the images that are finished; without `errors`, of those alone that are no error."""
        return self._ledger.ids("TRUE" if errors else f"NOT {FAILED}")

    def has_attacked(self) -> bool:
        """Whether an image was attacked, with or without success, and is finished."""
        return bool(self._ledger.ids(_ATTACKED))

    def records(self) -> list[R]:
        """All finished images, by id."""
        return list(self.iterate())

    def iterate(self) -> Iterator[R]:
        """Yield the same one by one, so that any number of them takes no more memory than one."""
        for record, measures in self._ledger.rows():
            try:
                yield self.record_type.from_json({**record, "quality": record["quality"] | measures})
            except (ValueError, TypeError, LookupError) as error:
                raise InputError(f"{self.path / LEDGER}: damaged, a row is no record ({error})") from error

    def unmeasured(self) -> list[R]:
        """Attacked images, bare of what is long, whose full quality is not in the ledger yet."""
        ids = self._ledger.ids("id NOT IN (SELECT id FROM quality)")
        return [r.short() for r in self.iterate() if r.quality and r.id in ids]

    def add_quality(self, image_id: int, measures: dict[str, float | None]) -> None:
        """Commit the full quality of one image."""
        self._ledger.add_quality(image_id, measures)

    def take_over(self, other: "RunFolder[R]") -> None:
        """Commit all rows of another run; their files are here already."""
        self._ledger.take_over(other._ledger)

    def commit(self, outcomes: Sequence[Outcome[R]]) -> None:
        """Files first, then the rows of the whole batch in one transaction, in place of rows that are errors."""
        self._ledger.withdraw_files(outcome.record.id for outcome in outcomes)
        records = [self._write_files(outcome) for outcome in outcomes]
        self._ledger.add((record.id, record.status, record.as_json()) for record in records)

    def mark_unfinished(self) -> None:
        """Remove the summary, and note under which other conditions the rest is.

        The summary says that all images are done.
        """
        (self.path / SUMMARY).unlink(missing_ok=True)
        noted = mixed(self.manifest, self._conditions)
        if noted is not self.manifest:
            self._renew("notes", noted["notes"])

    def write_json(self, name: str, content: Any) -> None:
        """Write one of the files that are made from the ledger.

        Iterators, at the top or one level below, are written item by item.
        """
        write_chunks_atomic(self.path / name, (chunk.encode() for chunk in _chunks(content)))

    def read_json(self, name: str) -> Any:
        """One of those files. Raises `InputError`."""
        try:
            return json.loads((self.path / name).read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{self.path / name}: cannot be read ({error})") from error

    def close(self) -> None:
        """Close the ledger, and let go of the folder."""
        self._held.close()

    def _renew_target_l2(self, target_l2: list[Any] | None) -> None:
        """Make these the target L2 norms of the run. Raises `InputError` where only one of old and new has any."""
        before = self.manifest.get("lengths")
        if before == target_l2:
            return
        if before is None or target_l2 is None:
            found = next(differences("lengths", before, target_l2))
            raise InputError(f"output folder {self.path}: holds another run: {found}")
        old: dict[int, float] = dict(before)
        new: dict[int, float] = dict(target_l2)
        self.mark_unfinished()
        self._ledger.remove({number for number in old | new if old.get(number) != new.get(number)})
        self._renew("lengths", target_l2)  # last: where that fails, it is all done again

    def _renew(self, key: str, value: Any) -> None:
        """Write another value of a key into the manifest."""
        self.manifest = {**self.manifest, key: value}
        write_text_atomic(self.path / MANIFEST, _json(self.manifest))

    def _write_files(self, outcome: Outcome[R]) -> R:
        """Write the files of one image; return its record, with the digest of what is written from here."""
        outcome = packed(outcome)
        record = outcome.record
        if not outcome.png:
            return record
        stem = record.stem
        for folder in ("images", "heatmaps", *(["floats"] if outcome.floats is not None else [])):
            (self.path / folder).mkdir(exist_ok=True)
        if outcome.floats is not None:
            buffer = io.BytesIO()
            np.save(buffer, outcome.floats)
            write_bytes_atomic(self.path / "floats" / f"{stem}.npy", buffer.getvalue())
            record = replace(record, floats_digest=hashlib.sha256(buffer.getvalue()).hexdigest())
        write_bytes_atomic(self.path / "heatmaps" / f"{stem}.png", outcome.heatmap)
        write_bytes_atomic(self.path / "images" / f"{stem}.png", outcome.png)
        return record


@contextmanager
def claimed(
    path: Path, manifest: dict[str, Any], resume: bool, deciding: Sequence[str] = DECIDING
) -> Iterator[dict[str, Any]]:
    """Make a folder that of the run of a manifest, or, with `resume`, continue it, and hold it until left.

    Yields its manifest, new or old. deciding: the keys that an old manifest must share. Raises `InputError` for a
    folder that holds anything else, that another process is at work in, or that cannot be written.
    """
    with ExitStack() as held:
        try:
            _claimed_before(path, manifest, resume, deciding)  # what is refused is left without a trace
            path.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(path))
            before = _claimed_before(path, manifest, resume, deciding)  # whoever held it may have made it a run
            sweep(path)
            if before is None:
                # First, so that a run that is interrupted here is known for what it is.
                write_text_atomic(path / MANIFEST, _json(manifest))
        except OSError as error:
            raise InputError(f"output folder {path}: cannot be written ({error})") from error
        yield before or manifest


def _claimed_before(
    path: Path, manifest: dict[str, Any], resume: bool, deciding: Sequence[str]
) -> dict[str, Any] | None:
    """Read the manifest of the run that a folder holds, if it is the one to be continued; None: the folder is free.

    Raises `InputError` for any other.
    """
    if not path.exists():
        return None
    if not path.is_dir():
        raise InputError(f"output folder {path}: is a file")
    if not any(_lasting(path)):
        return None
    if not (path / MANIFEST).is_file():
        raise InputError(f"output folder {path}: not empty, and not a run folder")
    before = read_manifest(path)
    for key in deciding:
        for found in differences(key, before.get(key), manifest.get(key)):
            raise InputError(f"output folder {path}: holds another run: {found}")
    if not resume:
        raise InputError(f"output folder {path}: holds this run already; --resume continues it")
    refuse_links(path)
    return before


def _has_images(path: Path) -> bool:
    """Whether images were written, which is never before the ledger was."""
    return (path / "images").is_dir() and any(_lasting(path / "images"))


def _lasting(path: Path) -> Iterator[Path]:
    """Yield what is in a folder, but for unfinished files and the lock."""
    return (entry for entry in path.iterdir() if not is_temporary(entry) and entry.name != LOCK)


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
