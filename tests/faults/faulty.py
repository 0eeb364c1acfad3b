"""A command line that can be run again and again, and come to grief; its first, undisturbed run is in `calm`."""

import json
import sqlite3
import subprocess
import time
from pathlib import Path


class Program:
    """See `driver`."""

    def __init__(self, process: subprocess.Popen, root: Path, line: list[str], after: str):
        self.process, self.root = process, root
        started = time.perf_counter()
        status, _ = self._ask([line, after])
        assert status == 0, process.stderr.read()
        self.seconds = time.perf_counter() - started
        self.expected = left(root / "calm")

    def run(self, folder: str, fault: list | tuple | None = None) -> int:
        """The exit status of a run in `folder`, resumed where there is one; −9 where it was killed."""
        return self.said(folder, fault)[0]

    def said(self, folder: str, fault: list | tuple | None = None) -> tuple[int, str]:
        """The same, and stderr."""
        return self._ask([folder, fault])

    def _ask(self, request: list) -> tuple[int, str]:
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        assert answer, self.process.stderr.read()
        return tuple(json.loads(answer))

    def check(self, folder: str) -> None:
        """A run that came through has the bytes and rows of the undisturbed one, none less and none twice."""
        assert left(self.root / folder) == self.expected, folder


def left(folder: Path) -> dict[str, object]:
    """What a command left: its files, and the rows of its ledgers."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name == "ledger.sqlite":
            with sqlite3.connect(path) as rows:
                found[name] = [
                    rows.execute(f"SELECT * FROM {table} ORDER BY id").fetchall() for table in ("images", "quality")
                ]
            rows.close()
        elif path.is_file() and path.suffix not in (".sqlite", ".sqlite-wal", ".sqlite-shm") and path.name != ".lock":
            found[name] = path.read_bytes()
    return found
