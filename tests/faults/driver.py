"""Runs the command line over and over in forked copies of one process, each of which may be killed at work.

    python driver.py ARGUMENT...

For each line on stdin, `[FOLDER, CRASH]` in JSON, the command runs with `--out FOLDER --resume`, and the exit status
comes back on stdout, −9 where it was killed. CRASH is None (runs to its end), a number (SIGKILL so many seconds after
the first row of this process), or `[STEP, PATTERN, COUNT]`: SIGKILL at the COUNT-th such step.

STEP: `before` a file of that pattern is written, `within` its bytes, `renaming` it; or `before row`, `within row`,
`after row` of the ledger. Production code knows nothing of it: what writes is wrapped here.
"""

import contextlib
import json
import os
import signal
import sys
import time
from fnmatch import fnmatch

from detattack import files, runs
from detattack.cli import status_of


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Steps:
    """Counts the steps of one kind, and dies at the appointed one."""

    def __init__(self, step: str, pattern: str, count: int):
        self.step, self.pattern, self.left = step, pattern, count

    def due(self, step: str, path: object = "") -> bool:
        """Whether this is the one."""
        if step != self.step or not fnmatch(str(path), self.pattern):
            return False
        self.left -= 1
        return self.left == 0

    def take(self, step: str, path: object = "") -> None:
        if self.due(step, path):
            die()

    def wrap_all(self) -> None:
        """Wraps everything that writes."""
        write, replace, transaction = files.write_chunks_atomic, os.replace, runs.BaseRunFolder._transaction

        def dying_within(chunks):
            for chunk in chunks:
                yield chunk[: len(chunk) // 2]
                die()

        def chunks_written(path, chunks):
            self.take("before", path)
            write(path, dying_within(chunks) if self.due("within", path) else chunks)

        def replaced(old, new):
            self.take("renaming", new)
            replace(old, new)

        @contextlib.contextmanager
        def committed(folder):
            self.take("before row")
            with transaction(folder):
                yield
                self.take("within row")
            self.take("after row")

        files.write_chunks_atomic = runs.write_chunks_atomic = chunks_written
        os.replace = replaced
        runs.BaseRunFolder._transaction = committed


def tell_of_first_row(pipe: int) -> None:
    """A byte into the pipe after the first commit of this process."""
    commit = runs.BaseRunFolder.commit

    def told(folder, outcomes):
        commit(folder, outcomes)
        os.write(pipe, b"!")

    runs.BaseRunFolder.commit = told


def run(folder: str, crash: float | list | None) -> int:
    """The exit status of one run in a process of its own."""
    ready, told = os.pipe()
    child = os.fork()
    if not child:
        if isinstance(crash, list):
            Steps(*crash).wrap_all()
        tell_of_first_row(told)
        os._exit(command(folder))
    os.close(told)
    if isinstance(crash, float) and os.read(ready, 1):
        time.sleep(crash)
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(ready)
    return status


def command(folder: str) -> int:
    return status_of([*sys.argv[1:], "--out", folder, "--resume", "--quiet"])


if __name__ == "__main__":
    print(command("calm"), flush=True)  # in this process, so that what it imports is there for those that are killed
    for line in sys.stdin:
        print(run(*json.loads(line)), flush=True)
