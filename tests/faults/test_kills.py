"""Every command that writes a run is killed at each kind of write step, and by SIGKILL, SIGTERM and Ctrl-C at any
instant; it ends with the bytes and rows of an undisturbed run.

    DETATTACK_KILLS=12 pytest tests/faults/test_kills.py -s      at every step, and so many at any instant a command

The short form takes some steps of each command and one instant.
"""

import json
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from coco_squares import write_data
from faulty import Program

from detattack.cli import status_of

KILLS = int(os.environ.get("DETATTACK_KILLS", "0"))
"""At random instants, a command; 0: the short form."""
FEW = 3
"""Steps of a command in the short form."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CLASSIFIER = f"{Path(__file__).parents[1] / 'toy_classifier.py'}:Channels"
COUNTS: Counter[str] = Counter()

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
SUMMARY = [("within", "*/summary.json", 1), ("renaming", "*/summary.json", 1)]
RUN = "--device cpu --out {out} --resume --quiet"


def evaluate(program: Callable, toy: str, root: Path) -> Program:
    return program(f"evaluate {RUN}", "--model", f"{toy}:factory", *write_data(root, 4))


def untargeted(program: Callable, toy: str, root: Path) -> Program:
    write_data(root, 4)
    images = sorted((root / "data").rglob("*.png"))
    return program(f"untargeted {RUN} --float --batch 2", "--model", f"{toy}:factory", *images)


def targeted(program: Callable, toy: str, root: Path) -> Program:
    write_data(root, 4)
    images = sorted((root / "data").rglob("*.png"))
    return program(f"targeted {RUN} --add person --box 20,4,36,20", "--model", f"{toy}:factory", *images)


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
    write_data(root, 3)
    labels = {path.relative_to(root / "data").as_posix(): 0 for path in (root / "data").rglob("*.png")}
    (root / "labels.json").write_text(json.dumps(labels))
    options = ("--images", "data", "--labels", "labels.json", "--methods", "fgsm,jnd,noise")
    return program(f"classify compare {RUN}", "--model", CLASSIFIER, *options)


def tune(program: Callable, toy: str, root: Path) -> Program:
    options = ("--methods", "fgsm,jnd", "--trials", 3, "--max-iterations", 20, "--goal", "suppress:car")
    return program(f"tune {RUN}", "--model", f"{toy}:factory", *options, *write_data(root, 2), after="file")


def merge(program: Callable, toy: str, root: Path) -> Program:
    data = write_data(root, 4)
    for shard in (0, 1):
        line = ["evaluate", *data, "--model", f"{toy}:factory", "--device", "cpu", "--quality", "quick", "--quiet"]
        assert status_of([*line, "--shard", f"{shard}/2", "--out", str(root / f"s{shard}")]) == 0
    return program("merge {out} s0 s1 --quiet", after="file")


def report(program: Callable, toy: str, root: Path) -> Program:
    line = [
        "evaluate",
        *write_data(root, 4),
        "--model",
        f"{toy}:factory",
        "--device",
        "cpu",
        "--quality",
        "quick",
        "--quiet",
    ]
    assert status_of([*line, "--out", str(root / "run")]) == 0
    for copy in ("calm", "step0", "step1", *(f"instant{i}" for i in range(KILLS + 2))):
        shutil.copytree(root / "run", root / copy)
    return program("report {out} --quiet", after="file")


def rerun(program: Callable, toy: str, root: Path) -> Program:
    line = [
        "evaluate",
        *write_data(root, 4),
        "--model",
        f"{toy}:factory",
        "--device",
        "cpu",
        "--quality",
        "quick",
        "--quiet",
    ]
    assert status_of([*line, "--out", str(root / "run")]) == 0
    return program("rerun run --trust --out {out} --resume --quiet")


COMMANDS = {
    evaluate: [*START, *IMAGES, ("within row", "", 6), *RESULTS, *SUMMARY],
    untargeted: [*START, *IMAGES[:5], ("within", "*/floats/*.npy", 1), ("within", FIGURE, 2), *RESULTS, *SUMMARY],
    targeted: [*IMAGES, ("within", FIGURE, 1), *SUMMARY],
    transferred: [*IMAGES[4:], *SUMMARY, ("within", "*/transfer.json", 1), ("renaming", "*/transfer.json", 1)],
    compare: [*START, *IMAGES, *RESULTS, *SUMMARY, ("within row", "", 5), ("renaming", "*/noise/summary.json", 1)],
    classify_attack: [*START, *IMAGES, ("within", FIGURE, 1), *SUMMARY],
    classify_compare: [*START, *IMAGES, *SUMMARY, ("within row", "", 5), ("renaming", "*/noise/summary.json", 1)],
    tune: START,
    merge: [
        *START,
        *IMAGES[:4],
        ("before row", "", 1),
        ("within row", "", 2),
        ("after row", "", 1),
        *RESULTS,
        *SUMMARY,
    ],
    report: [("renaming", "*/thumbs/*", 2), ("renaming", "*/report.html", 1)],
    rerun: [*START, *IMAGES, *RESULTS, *SUMMARY],
}


def killed(program: Program, folder: str, step: tuple) -> None:
    assert program.run(folder, step) == -9, (folder, step)
    assert program.run(folder) == 0, (folder, step)
    program.check(folder)


def test_an_evaluation_killed_at_some_steps(program, toy, tmp_path):
    """The short form."""
    calm = evaluate(program, toy, tmp_path)
    for number, step in enumerate([START[1], IMAGES[2], IMAGES[4], IMAGES[5], RESULTS[2], SUMMARY[1]]):
        killed(calm, f"step{number}", step)


@pytest.mark.slow
@pytest.mark.parametrize("start", COMMANDS, ids=lambda start: start.__name__)
def test_every_command_killed_at_each_step_and_at_any_instant(program, toy, tmp_path, start):
    rng = random.Random(start.__name__)
    calm = start(program, toy, tmp_path)
    steps = COMMANDS[start] if KILLS else rng.sample(COMMANDS[start], min(FEW, len(COMMANDS[start])))
    for number, step in enumerate(steps):
        killed(calm, f"step{number}", step)
        COUNTS[f"{start.__name__}: at a step"] += 1
    COUNTS[f"{start.__name__}: at an instant"] += killed_at_any_instant(calm, KILLS or 1, rng)


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
            assert "Traceback" not in said, said
        assert status == 0, said
        program.check(folder)
        number += 1
    return count


def test_the_count(capsys):
    """Not a test of its own: how many there were."""
    with capsys.disabled():
        for line, count in sorted(COUNTS.items()):
            print(f"{line} {count}")
        print(f"{sum(COUNTS.values())} kills: none lost, none twice, no byte differs")
