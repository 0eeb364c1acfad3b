"""A command line that can be run again and again, and come to grief; its first, undisturbed run is in `calm`."""

import json
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

KILLED: Counter[str] = Counter()
"""How often each command was killed, at a step or at an instant, and went on to the same bytes."""


class Program:
    """See `driver`."""

    def __init__(self, driver: subprocess.Popen, root: Path, line: list[str], after: str, source: str | None):
        self.driver, self.root, self.source = driver, root, source
        self._prepare("calm")
        started = time.perf_counter()
        assert self._ask([str(root), line, after]) == 0
        self.seconds = time.perf_counter() - started
        self.expected = left(root / "calm")

    def run(self, folder: str, fault: list | tuple | None = None) -> int:
        """The exit status of a run in `folder`, resumed where there is one; −9 where it was killed."""
        return self.said(folder, fault)[0]

    def said(self, folder: str, fault: list | tuple | None = None) -> tuple[int, str]:
        """The same, and stderr."""
        self._prepare(folder)
        status, said = self._ask([folder, fault])
        return status, said

    def _prepare(self, folder: str) -> None:
        if self.source and not (self.root / folder).exists():
            shutil.copytree(self.root / self.source, self.root / folder / "run")

    def _ask(self, request: list) -> Any:
        print(json.dumps(request), file=self.driver.stdin, flush=True)
        return json.loads(self.driver.stdout.readline())

    def check(self, folder: str) -> None:
        """A run that came through has the bytes and rows of the undisturbed one, none less and none twice."""
        found = left(self.root / folder)
        names = sorted(found.keys() | self.expected.keys())
        assert [name for name in names if found.get(name) != self.expected.get(name)] == [], folder


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
