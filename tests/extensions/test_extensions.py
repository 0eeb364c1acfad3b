"""Own goal, loss, step rule and measure, each a file outside of the package, through the command line and the API."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OWN = ("own_goal", "own_loss", "own_step", "own_measure")
TWO_CARS = ("car@8,8", "car@40,24", "dog@8,32")


@pytest.fixture
def run(tmp_path):
    """Runs the program, or Python code, in a process of its own, with plugins: what they register stays there."""

    def run(*arguments, plugins=OWN, code=None):
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE.parent)]),
            "DETATTACK_PLUGINS": os.pathsep.join(str(HERE / f"{name}.py") for name in plugins),
        }
        line = [sys.executable, "-c", code] if code else [sys.executable, "-m", "detattack", *map(str, arguments)]
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("name", OWN)
def test_each_takes_at_most_30_lines(name):
    lines = (HERE / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 30


def test_everything_own_through_the_command_line(run, picture, toy, tmp_path):
    """One run has all of it; `verify`, `rerun`, `report` and `compare` know it as well."""
    image = picture("photos/a", *TWO_CARS)
    data = ("--images", image.parent, "--model", f"{toy}:factory", "--quality", "quick")
    done = run("evaluate", "--goal", "atmost:car:1", "--method", "mi", *data, "--out", "run", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (row,) = found["images"]
    assert (row["status"], row["goal"]) == ("success", "atmost:car:1")
    assert 0 < row["quality"]["rms"] <= 16
    assert found["summary"]["median_rms"] == row["quality"]["rms"]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["config"]["attack"]["step"] == "momentum"
    for command in (("verify", "run", "--trust"), ("rerun", "run", "--out", "again", "--trust"), ("report", "run")):
        assert (done := run(*command)).returncode == 0, (command, done.stderr)
    assert "RMS, gray levels" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    done = run("compare", "--goal", "vanish-top:car", "--methods", "mi,fgsm", *data, "--out", "both", "--json")
    assert [one["success_rate"] for one in json.loads(done.stdout)["summary"]["methods"]] == [1, 1]


def test_help_and_hints_name_them(run):
    assert "mi." in " ".join(run("evaluate", "--help").stdout.replace("│", " ").split())
    assert "did you mean 'atmost'" in run("evaluate", "--goal", "atmos:car:1").stderr
    done = run("evaluate", "--goal", "atmost:car:x")
    assert (done.returncode, done.stderr) == (2, "detattack: goal 'atmost:car:x': not of the form atmost:CLASS:N\n")
    assert "unknown step rule 'momentu': did you mean 'momentum'" in run("evaluate", "--set", "step=momentu").stderr


def test_own_goal_and_step_through_the_api(run, toy):
    code = f"""
import sys; sys.path.insert(0, {str(HERE)!r})
import own_goal, own_loss, own_step, own_measure
from detattack.api import attack, load_detector
from tests.toy_pictures import squares
detector = load_detector({f"{toy}:factory"!r}, "cpu")
for goal, method in (("atmost:car:1", "mi"), ("vanish-top:car", "jnd"), ("atmost:car:2", "jnd")):
    record = attack(squares(*{TWO_CARS!r}), detector, goal, method).record
    print(record.goal, record.status, "rms" in record.quality)
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
