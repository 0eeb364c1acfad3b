"""Own goal, loss, step rule, measure, corruption, data format and task: files of others, run by the CLI and API."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands import said_in_one_process

HERE = Path(__file__).parent
OWN = ("own_goal", "own_loss", "own_step", "own_measure", "own_corruption", "own_data")
TWO_CARS = ("car@8,8", "car@40,24", "dog@8,32")


def environment(plugins) -> dict[str, str]:
    """Of a process that is to know plugins."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE.parent)]),
        "DETATTACK_PLUGINS": os.pathsep.join(str(HERE / f"{name}.py") for name in plugins),
    }


@pytest.fixture
def run(tmp_path):
    """Runs the program, or Python code, in a process of its own, with plugins: what they register stays there."""

    def run(*arguments, plugins=OWN, code=None):
        line = [sys.executable, "-c", code] if code else [sys.executable, "-m", "detattack", *map(str, arguments)]
        return subprocess.run(line, cwd=tmp_path, env=environment(plugins), capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def said(tmp_path):
    """What command lines say, one after the other in a process of their own."""

    def said(*lines, plugins=OWN):
        return said_in_one_process(lines, cwd=tmp_path, env=environment(plugins))

    return said


@pytest.mark.parametrize("name", OWN)
def test_each_takes_at_most_30_lines(name):
    lines = (HERE / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 30


def test_everything_own_through_the_command_line(said, picture, toy, tmp_path):
    """One run has all of it; `verify`, `rerun`, `report` and `compare` know it as well."""
    image = picture("photos/a", *TWO_CARS)
    data = ("--images", image.parent, "--model", f"{toy}:factory", "--quality", "quick")
    robust = ("--robust-to", "fog:0.05")
    evaluated, *others, compared = said(
        ("evaluate", "--goal", "atmost:car:1", "--method", "mi", *robust, *data, "--out", "run", "--json"),
        ("verify", "run", "--trust"),
        ("rerun", "run", "--out", "again", "--trust"),
        ("report", "run"),
        ("compare", "--goal", "vanish-top:car", "--methods", "mi,fgsm", *data, "--out", "both", "--json"),
    )
    assert evaluated.status == 0, evaluated.err
    (row,) = evaluated.json["images"]
    assert (row["status"], row["goal"], row["survives"]) == ("success", "atmost:car:1", {"fog:0.05": True})
    assert 0 < row["quality"]["p99"] <= 255
    assert evaluated.json["summary"]["median_p99"] == row["quality"]["p99"]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["config"]["attack"]["step"] == "momentum"
    assert [other.status for other in others] == [0, 0, 0], others
    assert "P99, gray levels" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert [one["success_rate"] for one in compared.json["summary"]["methods"]] == [1, 1]


@pytest.fixture
def table(picture):
    """A folder of a picture of two cars and a dog, and a table of them beside it."""
    image = picture("photos/a", *TWO_CARS)
    rows = ["a.png,car,8,8,24,24", "a.png,car,40,24,56,40", "a.png,dog,8,32,24,48"]
    image.with_name("boxes.csv").write_text("\n".join(["image,class,x1,y1,x2,y2", *rows]))
    return image.parent


def test_an_own_data_format(run, said, table, toy, tmp_path):
    model = ("--model", f"{toy}:factory")
    evaluated, again, misspelled, nowhere = said(
        ("evaluate", "--images", table, "--format", "table", *model, "--out", "run", "--json", "--limit", "1"),
        ("rerun", "run", "--out", "again", "--trust"),
        ("evaluate", "--images", table, "--format", "tabl", *model),
        ("evaluate", "--format", "table", *model),
    )
    assert evaluated.status == 0, evaluated.err
    assert evaluated.json["summary"]["ap"]["clean"]["ap"] == 1
    assert json.loads((tmp_path / "run" / "run.json").read_text())["origin"]["format"] == "table"
    assert again.status == 0, again.err
    unknown = "detattack: unknown data format 'tabl': did you mean 'table'?\n"
    assert (misspelled.status, misspelled.err) == (2, unknown)
    assert (nowhere.status, nowhere.err) == (2, "detattack: --format needs --images, what is of that format\n")
    code = f"""
import sys; sys.path.insert(0, {str(HERE)!r})
import own_data
from pathlib import Path
from detattack.datasets.open import open_dataset
from detattack.datasets.source import DatasetSource
data = open_dataset(DatasetSource(images={str(table)!r}, format="table"))
print(len(data.samples), [a["bbox"] for a in data.annotations])
"""
    expected = "1 [[8.0, 8.0, 16.0, 16.0], [40.0, 24.0, 16.0, 16.0], [8.0, 32.0, 16.0, 16.0]]\n"
    assert run(code=code, plugins=()).stdout == expected


def test_an_own_task_through_every_workflow(said, tmp_path):
    """Four images, one of them dark already: the six commands know the task by its name alone."""
    task = HERE / "own_task.py"
    assert len(task.read_text(encoding="utf-8").splitlines()) <= 120
    (tmp_path / "images").mkdir()
    for i in range(4):
        pixels = np.random.default_rng(i).integers(20, 60, (32, 48, 3), dtype=np.uint8)
        pixels[4 : 4 + 7 * i, 8:40] = 160
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
    data = ["--task", "count", "--images", "images", "--batch", "1", "--quiet"]
    commands = [
        ["evaluate", *data, "--out", "run"],
        ["compare", *data, "--methods", "jnd,fgsm,deepfool", "--out", "both"],
        ["verify", "run", "--json"],
        ["rerun", "run", "--out", "again", "--quiet"],
        ["evaluate", *data, "--shard", "0/2", "--out", "s0"],
        ["evaluate", *data, "--shard", "1/2", "--out", "s1"],
        ["merge", "whole", "s0", "s1", "--quiet"],
        ["report", "run", "--quiet"],
        ["evaluate", *data, "--out", "run", "--resume"],
    ]
    for command, done in zip(commands, said(*commands, plugins=["own_task"]), strict=True):
        assert done.status == 0, (command, done.err)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["success"], summary["nothing"], summary["bright_left"]) == (3, 1, 459)
    table = (tmp_path / "both" / "comparison.csv").read_text().splitlines()
    assert table[0].endswith("bright_left")
    for name in ("again", "whole"):
        for image in (tmp_path / "run" / "images").iterdir():
            assert image.read_bytes() == (tmp_path / name / "images" / image.name).read_bytes()
    assert "<h1><bdi>count</bdi></h1>" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_help_and_hints_name_them(said):
    helped, misspelled, wrong, rule = said(
        ("evaluate", "--help"),
        ("evaluate", "--goal", "atmos:car:1"),
        ("evaluate", "--goal", "atmost:car:x"),
        ("evaluate", "--set", "step=momentu"),
    )
    assert "mi." in " ".join(helped.out.replace("│", " ").split())
    assert "did you mean 'atmost'" in misspelled.err
    assert (wrong.status, wrong.err) == (2, "detattack: goal 'atmost:car:x': not of the form atmost:CLASS:N\n")
    assert "unknown step rule 'momentu': did you mean 'momentum'" in rule.err


def test_own_goal_and_step_through_the_api(run, toy):
    code = f"""
import sys; sys.path.insert(0, {str(HERE)!r})
import own_goal, own_loss, own_step, own_measure
from detattack.api import attack, load_detector
from tests.toy_pictures import squares
detector = load_detector({f"{toy}:factory"!r}, "cpu")
for goal, method in (("atmost:car:1", "mi"), ("vanish-top:car", "jnd"), ("atmost:car:2", "jnd")):
    record = attack(squares(*{TWO_CARS!r}), detector, goal, method).record
    print(record.goal, record.status, "p99" in record.quality)
"""
    done = run(code=code, plugins=())
    assert done.stdout.splitlines() == [
        "atmost:car:1 success True",
        "vanish-top:car success True",
        "atmost:car:2 already False",
    ], done.stderr


def test_a_search_knows_the_range_of_an_own_rule(run):
    code = f"""
import sys; sys.path.insert(0, {str(HERE)!r})
import own_step
from detattack.engine.presets import PRESETS
from detattack.workflows.search import make_space
print(make_space(PRESETS["mi"]).ranges)
"""
    assert run(code=code, plugins=()).stdout == "{'step_size': Range(low=0.0001, high=0.1)}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be imported (FileNotFoundError: no such file)"),
        ("1 / 0", "cannot be imported (ZeroDivisionError: division by zero)"),
        (
            "from detattack.engine.presets import PRESETS, register_method\nregister_method(PRESETS['jnd'])",
            "cannot be imported (InputError: method 'jnd': is registered already)",
        ),
    ],
)
def test_a_plugin_that_fails_is_one_line_of_bad_input(run, tmp_path, text, said):
    file = tmp_path / "broken.py"
    if text:
        file.write_text(text)
    done = run("models", "list", plugins=(file.with_suffix(""),))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"detattack: plugin {file}: {said}\n")


FAILING = """
import numpy as np
from dataclasses import dataclass, replace
from detattack.datasets.base import folder_dataset
from detattack.datasets.open import register_format
from detattack.metrics.image_quality import register_measure
from detattack.tasks.detection.goals import Suppress, register_goal

@register_format("raises")
def raises(images, annotations):
    return {}["a.png"]

@register_format("none")
def none(images, annotations):
    pass

@register_format("empty")
def empty(images, annotations):
    return replace(folder_dataset(images), samples=())

@register_measure("half", quick=True)
def half(original, adversarial):
    return np.float32(0.5)

@register_measure("fails")
def fails(original, adversarial):
    raise ValueError("no window fits")

@register_goal
@dataclass(frozen=True)
class Vague(Suppress):
    kind = "vague"
    losses = ("vanis",)
"""


def test_what_fails_in_a_plugin_is_named_in_one_line(picture, toy, tmp_path):
    """A reader, a slow measure, the loss of a goal; a measure may give any number, such as NumPy's."""
    image = picture("photos/a", *TWO_CARS)
    (tmp_path / "failing.py").write_text(FAILING)
    line = ("evaluate", "--images", image.parent, "--model", f"{toy}:factory", "--goal")
    raised, none, empty, vague, quick, slow = said_in_one_process(
        (
            *((*line, "suppress:car", "--format", name, "--out", "none") for name in ("raises", "none", "empty")),
            (*line, "vague:car", "--out", "none"),
            (*line, "suppress:car", "--out", "run", "--quality", "quick", "--json"),
            (*line, "suppress:car", "--out", "all", "--quality", "all", "--quiet"),
        ),
        cwd=tmp_path,
        env=environment(()) | {"DETATTACK_PLUGINS": "failing.py"},
    )
    folder = f"images {image.parent}: the reader of the format"
    for said, words in (
        (raised, f"{folder} raises fails (KeyError: 'a.png')"),
        (none, f"{folder} none gives no Dataset, but None"),
        (empty, f"{folder} empty finds no image"),
        (vague, "unknown loss 'vanis': did you mean 'vanish'?"),
        (slow, f"{image}: quality measure fails: fails on this image (ValueError: no window fits)"),
    ):
        assert (said.status, said.out, said.err) == (2, "", f"detattack: {words}\n")
    assert not (tmp_path / "none").exists()
    assert quick.json["images"][0]["quality"]["half"] == 0.5
