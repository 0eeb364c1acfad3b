"""Every command that writes a run is killed at each kind of write step, and by SIGKILL, SIGTERM and Ctrl-C at any
instant; it ends with the bytes and rows of an undisturbed run.

    DETATTACK_KILLS=200 pytest tests/faults/test_kills.py    so many in all: at every step, and the rest at any instant

The short form takes some steps of each command and one instant.
"""

import json
import math
import os
import random
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from detattack.cli import status_of
from tests.coco_squares import write_data
from tests.faults.faulty import KILLED, Program

KILLS = int(os.environ.get("DETATTACK_KILLS", "0"))
"""In all; 0: the short form."""
FEW = 2
"""Steps of a command in the short form."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CLASSIFIER = f"{Path(__file__).parents[1] / 'toy_classifier.py'}:Channels"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")

PNG, HEATMAP, FIGURE = "*/images/*.png", "*/heatmaps/*.png", "*/figures/*.png"
START = [("before", "*/run.json", 1), ("within", "*/run.json", 1)]
IMAGES = [
    ("before", PNG, 2),
    ("within", PNG, 2),
    ("renaming", PNG, 2),
    ("within", HEATMAP, 2),
    ("before row", "", 2),
    ("within row", "", 2),
    ("after row", "", 2),
]
RESULTS = [
    ("within", "*/clean.json", 1),
    ("before", "*/adversarial.json", 1),
    ("within", "*/adversarial.json", 1),
    ("renaming", "*/annotations.json", 1),
]
SUMMARY = [("within", "*/images.csv", 1), ("within", "*/summary.json", 1), ("renaming", "*/summary.json", 1)]
COMPARISON = [
    ("before", "*/comparison.json", 1),
    ("within", "*/comparison.csv", 1),
    ("renaming", "*/comparison.png", 1),
]
SEARCH = [("within", "*/best-fgsm.yaml", 1), ("renaming", "*/search-jnd.png", 1), ("within", "*/best.yaml", 1)]
RUN = "--device cpu --out {out} --resume --quiet"


HEALING = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path({toy!r}).parent))
from toy import Toy, is_marked

class Healing(Toy):
    def candidates(self, images, extra_boxes=None):
        if is_marked(images) and Path(__file__).with_name("ill").exists():
            raise RuntimeError("out of cheese")
        return super().candidates(images, extra_boxes)

factory = Healing
"""


def evaluate(program: Callable, toy: str, root: Path) -> Program:
    return program(f"evaluate {RUN}", "--model", f"{toy}:factory", *write_data(root, 4))


def untargeted(program: Callable, toy: str, root: Path) -> Program:
    write_data(root, 4)
    images = sorted((root / "data").rglob("*.png"))
    return program(f"untargeted {RUN} --float --batch 2", "--model", f"{toy}:factory", *images)


def targeted(program: Callable, toy: str, root: Path) -> Program:
    write_data(root, 4)
    images = sorted((root / "data").rglob("*.png"))
    return program(
        f"targeted {RUN} --add person --box 20,4,36,20 --max-iterations 20", "--model", f"{toy}:factory", *images
    )


def transferred(program: Callable, toy: str, root: Path) -> Program:
    model = ("--model", f"{toy}:factory", "--transfer-to", f"{toy}:stated", "--survive", "jpeg:90")
    return program(f"evaluate {RUN} --quality quick", *model, *write_data(root, 4))


def compare(program: Callable, toy: str, root: Path) -> Program:
    options = ("--methods", "fgsm,jnd,noise", "--max-iterations", 20)
    return program(f"compare {RUN}", "--model", f"{toy}:factory", *options, *write_data(root, 3))


def classify_attack(program: Callable, toy: str, root: Path) -> Program:
    write_data(root, 4)
    return program(f"classify attack {RUN}", "--model", CLASSIFIER, *sorted((root / "data").rglob("*.png")))


def classify_compare(program: Callable, toy: str, root: Path) -> Program:
    options = ("--methods", "fgsm,jnd,noise")
    return program(f"classify compare {RUN}", "--model", CLASSIFIER, *options, *labeled(root, 3))


def tune(program: Callable, toy: str, root: Path) -> Program:
    options = ("--methods", "fgsm,jnd", "--trials", 3, "--max-iterations", 20, "--goal", "suppress:car")
    return program(f"tune {RUN}", "--model", f"{toy}:factory", *options, *write_data(root, 2), after="file")


def classify_tune(program: Callable, toy: str, root: Path) -> Program:
    options = ("--methods", "fgsm,jnd", "--trials", 3, "--max-iterations", 20)
    return program(f"classify tune {RUN}", "--model", CLASSIFIER, *options, *labeled(root, 2), after="file")


def merge(program: Callable, toy: str, root: Path) -> Program:
    for shard in (0, 1):
        finished(root, toy, f"s{shard}", "--shard", f"{shard}/2")
    return program("merge {out} s0 s1 --quiet", after="file")


def report(program: Callable, toy: str, root: Path) -> Program:
    finished(root, toy, "finished")
    return program("report {out}/run --quiet", after="ledger", source="finished")


def verify(program: Callable, toy: str, root: Path) -> Program:
    finished(root, toy, "finished")
    line = "verify {out}/run --trust --device cpu --survive jpeg:90,blur:1 --quiet"
    return program(line, after="ledger", source="finished")


def rerun(program: Callable, toy: str, root: Path) -> Program:
    finished(root, toy, "run")
    return program("rerun run --trust --out {out} --resume --quiet")


def retry(program: Callable, toy: str, root: Path) -> Program:
    """Of a finished run with an error, by a model that is well by now."""
    (root / "healing.py").write_text(HEALING.format(toy=toy))
    (root / "ill").touch()
    finished(root, str(root / "healing.py"), "finished", mark=1)
    (root / "ill").unlink()
    line = "evaluate --device cpu --quality quick --quiet --out {out}/run --resume --retry-errors"
    model = ("--model", f"{root / 'healing.py'}:factory")
    return program(line, *model, *write_data(root, 4, mark=1), source="finished")


def finished(root: Path, toy: str, out: str, *more: str, mark: int | None = None) -> None:
    data = write_data(root, 4, mark=mark)
    line = ["evaluate", *data, "--model", f"{toy}:factory", "--device", "cpu", "--quality", "quick"]
    assert status_of([*line, *more, "--quiet", "--out", str(root / out)]) == 0


def labeled(root: Path, count: int) -> tuple[str, ...]:
    """The options of images with their labels."""
    write_data(root, count)
    labels = {path.relative_to(root / "data").as_posix(): 0 for path in (root / "data").rglob("*.png")}
    (root / "labels.json").write_text(json.dumps(labels))
    return ("--images", "data", "--labels", "labels.json")


COMMANDS = {
    evaluate: [*START, *IMAGES, ("within row", "", 6), *RESULTS, *SUMMARY],
    untargeted: [*START, *IMAGES[:5], ("within", "*/floats/*.npy", 1), ("within", FIGURE, 2), *RESULTS, *SUMMARY],
    targeted: [*IMAGES, ("within", FIGURE, 1), *SUMMARY],
    transferred: [*IMAGES[4:], *SUMMARY, ("within", "*/transfer.json", 1), ("renaming", "*/transfer.json", 1)],
    compare: [*START, *IMAGES, *RESULTS, *SUMMARY, ("within row", "", 5), ("within", "*/noise/*.png", 1), *COMPARISON],
    classify_attack: [*START, *IMAGES, ("within", FIGURE, 1), *SUMMARY],
    classify_compare: [*START, *IMAGES, *SUMMARY, ("within row", "", 5), ("within", "*/noise/*.png", 1), *COMPARISON],
    tune: [*START, *SEARCH],
    classify_tune: [*START, *SEARCH],
    merge: [
        *START,
        *IMAGES[:4],
        *((f"{when} row", "", 1) for when in ("before", "within", "after")),
        *RESULTS,
        *SUMMARY,
    ],
    report: [(step, file, 1) for step in ("within", "renaming") for file in ("*/thumbs/*", "*/report.html")],
    verify: [(step, "*/transfer.json", 1) for step in ("before", "within", "renaming")],
    rerun: [*START, *IMAGES, *RESULTS, *SUMMARY],
    retry: [
        *((step, file, 1) for step in ("before", "within", "renaming") for file in (PNG, HEATMAP)),
        *((f"{when} row", "", count) for when in ("before", "within", "after") for count in (1, 2)),
        *RESULTS,
        *SUMMARY,
    ],
}
INSTANTS = max(1, math.ceil((KILLS - sum(map(len, COMMANDS.values()))) / len(COMMANDS)))
"""Of a command."""


def killed(program: Program, folder: str, step: tuple) -> None:
    assert program.run(folder, step) == -9, (folder, step)
    assert program.run(folder) == 0, (folder, step)
    program.check(folder)


@pytest.mark.parametrize("start", COMMANDS, ids=lambda start: start.__name__)
def test_every_command_killed_at_each_step_and_at_any_instant(program, toy, tmp_path, start):
    rng = random.Random(start.__name__)
    calm = start(program, toy, tmp_path)
    steps = COMMANDS[start] if KILLS else rng.sample(COMMANDS[start], min(FEW, len(COMMANDS[start])))
    for number, step in enumerate(steps):
        killed(calm, f"step{number}", step)
        KILLED[f"{start.__name__}: at a step"] += 1
    KILLED[f"{start.__name__}: at an instant"] += killed_at_any_instant(calm, INSTANTS, rng)


def test_a_run_whose_errors_are_tried_again_is_consistent_wherever_that_is_killed(program, toy, tmp_path):
    calm = retry(program, toy, tmp_path)
    for number, step in enumerate(COMMANDS[retry]):
        run = tmp_path / f"step{number}" / "run"
        assert calm.run(run.parent.name, step) == -9, step
        with sqlite3.connect(run / "ledger.sqlite") as rows:
            statuses = dict(rows.execute("SELECT id, status FROM images"))
        rows.close()
        assert statuses.keys() == {100, 99, 98, 97}, step
        assert status_of(["verify", str(run), "--trust", "--device", "cpu", "--quiet"]) == 0, step
        assert calm.run(run.parent.name) == 0, step
        calm.check(run.parent.name)


def killed_at_any_instant(program: Program, kills: int, rng: random.Random) -> int:
    """Stops runs `kills` times in all, and resumes each until it ends; as many runs as that takes."""
    count = number = 0
    longest = program.seconds / 4
    while count < kills:
        folder, stopped = f"instant{number}", True
        while stopped:
            stop = rng.choice(SIGNALS)
            fault = ("signal", rng.uniform(0, longest), stop) if count < kills else None
            status, said = program.said(folder, fault)
            stopped = status in (-signal.SIGKILL, -signal.SIGTERM, 130)
            count += stopped
            longest = longest if stopped else 0.8 * longest  # it was over before
            # Ctrl-C within a callback of the interpreter's own is one that Python reports, and ignores
            assert said.count("Traceback") == said.count("Exception ignored in"), said
        assert status == 0, said
        program.check(folder)
        number += 1
    return count
