"""What command lines say, and several of them in one new process: most of what a start takes is to import torch."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

END = "\x1e"
"""Ends what a line says; the status follows on stderr."""
EACH = f"""
import json, sys
from detattack.cli import main
for line in json.loads(sys.argv[1]):
    try:
        main(line)
        status = 0
    except SystemExit as end:
        status = end.code
    print({END!r}, end="", flush=True)
    print({END!r}, status, {END!r}, sep="", end="", file=sys.stderr, flush=True)
"""


@dataclass(frozen=True)
class Said:
    """The end of a command: exit status, stdout and stderr."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """stdout, which has to be one JSON object and nothing else."""
        return json.loads(self.out)

    @property
    def statuses(self) -> list[str]:
        """Of the images, in order."""
        return [image["status"] for image in self.json["images"]]


def said_in_one_process(lines: Sequence[Sequence[object]], **options: Any) -> list[Said]:
    """What each line says, one after the other in a process of their own. options: of `subprocess.run`."""
    texts = json.dumps([[str(word) for word in line] for line in lines])
    done = subprocess.run(
        [sys.executable, "-c", EACH, texts], capture_output=True, encoding="utf-8", errors="replace", **options
    )
    assert done.returncode == 0, done.stderr
    out, err = done.stdout.split(END)[:-1], done.stderr.split(END)[:-1]
    return [Said(int(status), *both) for status, *both in zip(err[1::2], out, err[::2], strict=True)]
