"""The ledger: a SQLite file with a row an image, committed once the image's files are safely on the disk.

A file that is damaged, or of somebody else's making, is reported and left as it is: nothing is rebuilt over it.
"""

import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Self

from detattack.core.errors import InputError

LEDGER = "ledger.sqlite"
TABLES = {
    "images": "id INTEGER PRIMARY KEY, status TEXT, record TEXT",
    "quality": "id INTEGER PRIMARY KEY, measures TEXT",
}
FAILED = "status = 'error'"
"""As a condition of SQL."""
Row = tuple[int, str, dict[str, Any]]
"""Id, status and record of an image."""
_FAULTS = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises of a damaged file; its messages quote names that need not be text."""


class Ledger:
    """An open ledger: `create` to write, `open` to read."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def create(cls, path: Path, new: bool) -> Self:
        """Create a ledger to be written, which has to be there unless it may be `new`.

        Raises `InputError` where it is not, or is damaged.
        """
        with _opened(path, "mode=rwc" if new else "mode=rw") as connection:
            ledger = cls(path, connection)
            if ledger._check() != {*TABLES} and not new:
                raise InputError(f"{path}: damaged, its tables are gone")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            for name, columns in TABLES.items():
                connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")
            return ledger

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a ledger to be read, also where nothing can be written. Raises `InputError`."""
        if not path.is_file():
            raise InputError(f"{path.parent}: not a run folder (no {path.name})")
        with _opened(path, _reading_mode(path)) as connection:
            ledger = cls(path, connection)
            if ledger._check() != {*TABLES}:
                raise InputError(f"{path}: damaged, its tables are gone")
            return ledger

    def ids(self, where: str = "TRUE") -> set[int]:
        """Ids of the images for which a condition of SQL holds."""
        with self._reading():
            return {row[0] for row in self._connection.execute(f"SELECT id FROM images WHERE {where}")}

    def rows(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Record and slow measures of each image, by id. Raises `InputError` for a row that holds no JSON."""
        query = "SELECT id, record, measures FROM images LEFT JOIN quality USING (id) ORDER BY id"
        with self._reading():
            for number, record, measures in self._connection.execute(query):
                try:
                    yield json.loads(record), json.loads(measures or "{}")
                except (ValueError, TypeError, RecursionError) as error:
                    raise InputError(f"{self.path}: damaged, the row of image {number} is no JSON ({error})") from error

    def add(self, rows: Iterable[Row]) -> None:
        """Commit the rows of a batch together; each replaces the image's row where that is an error."""
        texts = [(number, status, json.dumps(record)) for number, status, record in rows]
        with self.transaction():
            self._connection.executemany(f"DELETE FROM images WHERE id = ? AND {FAILED}", [row[:1] for row in texts])
            self._connection.executemany("INSERT INTO images VALUES (?, ?, ?)", texts)

    def withdraw_files(self, ids: Iterable[int]) -> None:
        """Commit that these images, where they are errors, promise no file: another is about to take its place."""
        query = f"SELECT record, id FROM images WHERE id = ? AND {FAILED}"
        rows = [row for number in ids for row in self._connection.execute(query, (number,))]
        if rows:
            bare = [(json.dumps({**json.loads(record), "digest": "", "floats_digest": ""}), i) for record, i in rows]
            with self.transaction():
                self._connection.executemany("UPDATE images SET record = ? WHERE id = ?", bare)

    def remove(self, ids: Collection[int]) -> None:
        """Commit that these images are not done."""
        with self.transaction():
            for table in TABLES:
                self._connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(number,) for number in ids])

    def add_quality(self, image_id: int, measures: Mapping[str, float | None]) -> None:
        """Commit the slow measures of one image."""
        with self.transaction():
            self._connection.execute("INSERT OR REPLACE INTO quality VALUES (?, ?)", (image_id, json.dumps(measures)))

    def take_over(self, other: "Ledger") -> None:
        """Commit all rows of another ledger, also where some are here already."""
        with self.transaction():
            for table, columns in TABLES.items():
                rows = other._connection.execute(f"SELECT * FROM {table}")
                marks = ", ".join("?" * (columns.count(",") + 1))
                self._connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Raises OSError where the disk is full."""
        try:
            with self._connection:
                yield
        except _FAULTS as error:
            raise OSError(f"{self.path}: cannot be written ({error})") from error

    def _check(self) -> set[str]:
        """List the tables that are there.

        Raises `InputError` where pages are damaged, or the file holds what a ledger has not: it may come from anybody,
        and views and triggers are code.
        """
        self._connection.execute("PRAGMA trusted_schema=OFF")
        (found,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise InputError(f"{self.path}: damaged ({found})")
        there = self._connection.execute("SELECT type, name FROM sqlite_master").fetchall()
        for kind, name in there:
            if kind != "table" or name not in TABLES:
                raise InputError(f"{self.path}: not a ledger (it has the {kind} {name!r})")
        return {name for _, name in there}

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except _FAULTS as error:
            raise InputError(f"{self.path}: damaged ({error})") from error


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """Open a connection, closed again where what is done with it fails. Raises `InputError`."""
    with ExitStack() as stack:
        try:
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)
            yield stack.enter_context(closing(connection))
        except _FAULTS as error:
            raise InputError(f"{path}: cannot be opened ({error})") from error
        stack.pop_all()


def _reading_mode(path: Path) -> str:
    """Where nothing can be written SQLite has to be told, or it wants to make a write-ahead log of its own."""
    if os.access(path.parent, os.W_OK) and os.access(path, os.W_OK):
        return "mode=rw"
    return "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
