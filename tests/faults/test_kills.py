"""Runs that are killed with SIGKILL, at every kind of write step and at any instant, end with the same bytes."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from coco_squares import made, write_data

HERE = Path(__file__).parent
KILLS = int(os.environ.get("DETATTACK_KILLS", "4"))
"""At random instants; 25 take some five minutes."""
PNG, HEATMAP = "*/images/*.png", "*/heatmaps/*.png"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")


class Program:
    """A command line that can be run again and again, and killed; its first, undisturbed run is in `calm`."""

    def __init__(self, process: subprocess.Popen):
        self.process = process
        started = time.perf_counter()
        assert self.status() == 0, process.stderr.read()
        self.seconds = time.perf_counter() - started

    def run(self, folder: str, crash: float | tuple | None = None) -> int:
        """The exit status of a run in `folder`, resumed where there is one; −9 where it was killed."""
        print(json.dumps([folder, crash]), file=self.process.stdin, flush=True)
        return self.status()

    def status(self) -> int:
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        return int(line)


@pytest.fixture
def program(toy, tmp_path) -> Iterator:
    """Starts an evaluation with the toy detector in an empty folder: `program("--scenes", 60)`."""
    environment = os.environ | {"PYTHONPATH": str(HERE.parent.parent), "OMP_NUM_THREADS": "1"}
    processes = []

    def start(*arguments: object) -> Program:
        line = [sys.executable, str(HERE / "driver.py"), "evaluate", "--model", f"{toy}:factory", "--device", "cpu"]
        line += map(str, arguments)
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        processes.append(subprocess.Popen(line, cwd=tmp_path, env=environment, text=True, **pipes))
        return Program(processes[-1])

    yield start
    for process in processes:
        process.kill()
        process.communicate()


STEPS = {
    "before the manifest": ("before", "*/run.json", 1),
    "within the manifest": ("within", "*/run.json", 1),
    "before the PNG": ("before", PNG, 2),
    "within the PNG": ("within", PNG, 2),
    "while the PNG is renamed": ("renaming", PNG, 2),
    "within the heatmap": ("within", HEATMAP, 2),
    "between PNG and row": ("before row", "", 2),
    "within the transaction": ("within row", "", 2),
    "after the row": ("after row", "", 2),
    "within a measure's transaction": ("within row", "", 6),
    "within clean.json": ("within", "*/clean.json", 1),
    "before adversarial.json": ("before", "*/adversarial.json", 1),
    "within adversarial.json": ("within", "*/adversarial.json", 1),
    "while annotations.json is renamed": ("renaming", "*/annotations.json", 1),
    "within the summary": ("within", "*/summary.json", 1),
    "while the summary is renamed": ("renaming", "*/summary.json", 1),
}


def test_a_kill_at_each_step(program, tmp_path):
    evaluation = program(*write_data(tmp_path), "--limit", 4)
    expected = made(tmp_path / "calm")
    for number, (name, crash) in enumerate(STEPS.items()):
        assert evaluation.run(f"run{number}", crash) == -9, name
        assert evaluation.run(f"run{number}") == 0, name
        assert made(tmp_path / f"run{number}") == expected, name


@pytest.mark.slow
def test_sixty_images_killed_at_each_step_and_at_any_instant(program, tmp_path):
    """The 60 images come out successful, failed and with nothing to attack."""
    sixty = program("--scenes", 60, "--max-iterations", 10, "--quality", "quick", "--batch", 1)
    expected = made(tmp_path / "calm")
    assert len(list((tmp_path / "calm" / "images").iterdir())) == 60
    killed = {name: sixty.run("steps", crash) for name, crash in STEPS.items() if "measure" not in name}
    assert killed == dict.fromkeys(killed, -9)
    assert sixty.run("steps") == 0
    assert made(tmp_path / "steps") == expected
    assert killed_at_any_instant(sixty, KILLS, tmp_path, expected) == KILLS


def killed_at_any_instant(program: Program, kills: int, root: Path, expected: dict[str, bytes]) -> int:
    """Kills runs `kills` times in all, and resumes each until it ends; as many runs as that takes."""
    rng = random.Random(0)
    count = number = 0
    while count < kills:
        folder, status = f"instant{number}", -9
        while status == -9:
            crash = rng.uniform(0, program.seconds / 4) if count < kills else None
            status = program.run(folder, crash)
            count += status == -9
        assert status == 0
        assert made(root / folder) == expected, folder
        number += 1
    return count
