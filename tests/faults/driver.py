"""Runs command lines over and over in forked copies of one process, each of which may come to grief at work.

Each line on stdin is answered on stdout, both in JSON:

    [ROOT, LINE, AFTER]    the command line LINE, in which `{out}` stands for the output folder, runs undisturbed in the
                           folder ROOT, with `calm` for its output; its exit status
    [FOLDER, FAULT]        the same line runs with another output folder; [STATUS, STDERR], where −9 is a SIGKILL

AFTER is what ends the start-up, `row`, `file` or `ledger`: the first commit, the first file that is written, or the
ledger that is opened to be read. FAULT is null, or

    ["signal", SECONDS, NUMBER]     a signal so long after the start-up
    [STEP, PATTERN, COUNT]          SIGKILL at the COUNT-th such step: `before` a file of that pattern is written,
                                    `within` its bytes, `renaming` it; `before row`, `within row`, `after row`
    ["largest file", BYTES]         no file may be larger: a disk that is full
    ["user", NUMBER]                who may write nothing here
    ["clock", SEED]                 a wall clock that jumps by days
    ["shared"]                      nothing; the folder is another process's too

Production code knows nothing of it: what writes is wrapped here. Time stands still, so that runs can be compared to the
last byte, timings included.
"""

import contextlib
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from fnmatch import fnmatch

from detattack.cli import status_of
from detattack.core import files
from detattack.report import page
from detattack.runs import folder as runs
from detattack.runs import ledger
from detattack.tasks import image_table


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
        write, replace, transaction = files.write_chunks_atomic, os.replace, ledger.Ledger.transaction

        def dying_within(chunks):
            for chunk in chunks:
                yield chunk[: len(chunk) // 2]
                die()

        def chunks_written(path, chunks, sync=True):
            self.take("before", path)
            write(path, dying_within(chunks) if self.due("within", path) else chunks, sync)

        def replaced(old, new):
            self.take("renaming", new)
            replace(old, new)

        @contextlib.contextmanager
        def committed(one):
            self.take("before row")
            with transaction(one):
                yield
                self.take("within row")
            self.take("after row")

        for module in (files, runs, page, image_table):
            module.write_chunks_atomic = chunks_written
        os.replace = replaced
        ledger.Ledger.transaction = committed


def tell_of_start(after: str, pipe: int) -> None:
    """A byte into the pipe after the first commit, file or opened ledger of this process."""
    place, name = {
        "row": (runs.RunFolder, "commit"),
        "file": (os, "replace"),
        "ledger": (runs.Ledger, "open"),
    }[after]
    original = getattr(place, name)

    def told(*arguments):
        result = original(*arguments)
        os.write(pipe, b"!")
        return result

    setattr(place, name, told)


def prepare(fault: list | None) -> None:
    """What is done to this process before it starts its work."""
    if fault is None or fault[0] in ("signal", "shared"):
        return
    if fault[0] == "largest file":
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault[1], fault[1]))
    elif fault[0] == "user":
        os.setgid(fault[1])
        os.setuid(fault[1])
    elif fault[0] == "clock":
        rng, clock = random.Random(fault[1]), time.time
        time.time = lambda: clock() + rng.uniform(-1, 1) * 10 * 86400
        time.time_ns = lambda: int(time.time() * 1e9)
    else:
        Steps(*fault).wrap_all()


def run(line: list[str], after: str, folder: str, fault: list | None) -> list:
    """Exit status and stderr of one run in a process of its own."""
    ready, told = os.pipe()
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if not child:
            os.dup2(said.fileno(), 2)
            prepare(fault)
            tell_of_start(after, told)
            os._exit(command(line, folder))
        os.close(told)
        if fault and fault[0] == "signal" and os.read(ready, 1):
            time.sleep(fault[1])
            os.kill(child, fault[2])
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.close(ready)
        said.seek(0)
        return [status, said.read().decode(errors="replace")]


def command(line: list[str], folder: str) -> int:
    status = status_of([part.replace("{out}", folder) for part in line])
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    time.perf_counter = lambda: 0.0
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a command prints is no answer
    for request in map(json.loads, sys.stdin):
        if len(request) == 3:
            root, line, after = request
            os.chdir(root)
            answer = command(line, "calm")  # in this process: what it imports is there for those that come to grief
        else:
            answer = run(line, after, *request)
        print(json.dumps(answer), file=answers, flush=True)
