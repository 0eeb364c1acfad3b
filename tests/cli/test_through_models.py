"""`--through-models`: several detectors attacked at once, whose classes differ."""

import json

import pytest
from PIL import Image

from tests.cli.test_transfer import TOY
from tests.toy_pictures import squares

OTHERS = """
from tests.toy_detector import Toy
from detattack.types import Category

class Blunt(Toy):
    name = "blunt"
    categories = (Category("person", 1), Category("car", 2), Category("dog", 3))
    def __init__(self, device):
        super().__init__(device)
        self.network.weight.copy_(self.network.weight[[2, 0, 1]].clone())
        self.network.bias[:] = -4.0  # sees squares that stand out by 0.2 already

class NoDogs(Toy):
    name, categories = "no-dogs", (Category("car", 3), Category("cat", 17), Category("person", 1))
"""


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(squares(f"car@{8 * i},16", seed=i)).save(folder / f"p{i}.png")
    (tmp_path / "others.py").write_text(OTHERS)
    return folder


@pytest.fixture
def through(toy):
    """Two detectors that number their classes in ways of their own; the second sees more."""
    return f"{toy}:factory,others.py:Blunt"


@pytest.mark.parametrize("method", ["jnd", "ensemble"])
def test_the_goal_holds_for_each(cli, pictures, through, toy, method):
    budget = ("--budget", "linf:60", "--passes", 60) if method != "jnd" else ()
    goal = ("--goal", "degrade:car" if method == "ensemble" else "suppress:car", "--method", method, *budget)
    data = ("--images", "pictures", "--quality", "quick", "--out", "run", "--json")
    said = cli("evaluate", *data, "--through-models", through, *goal)
    assert said.status == 0, said.err
    assert said.statuses == ["success"] * 3
    assert cli("verify", "run", "--trust").status == 0
    for model in (f"{toy}:factory", "others.py:Blunt"):
        (row,) = cli("verify", "run", "--model", model, "--json", "--quiet").json["transfer"]
        assert row["success"]["successes"] == 3


def test_passes_are_those_of_all_models(cli, pictures, through):
    data = ("--images", "pictures", "--quality", "quick", "--goal", "degrade:car", "--budget", "linf:4", "--passes", 12)
    for out, models in (("two", ("--through-models", through)), ("random", ("--model", f"{TOY}+noise:3"))):
        said = cli("evaluate", *data, *models, "--method", "pgd-linf", "--out", out, "--json")
        assert said.json["summary"]["passes"]["backwards"]["max"] == 12


def test_a_model_that_cannot_be_hashed(cli, pictures, toy, tmp_path):
    (tmp_path / "unhashable.py").write_text(f"{OTHERS}\nclass Same(Blunt):\n    __hash__ = None\n")
    line = ("evaluate", "--images", "pictures", "--through-models", f"{toy}:factory,unhashable.py:Same")
    assert cli(*line, "--quality", "quick", "--goal", "suppress:car", "--json").statuses == ["success"] * 3


def test_one_model_alone_leaves_the_other(cli, pictures, toy):
    data = ("--images", "pictures", "--quality", "quick", "--goal", "suppress:car", "--out", "run", "--json")
    assert cli("evaluate", *data, "--model", f"{toy}:factory").statuses == ["success"] * 3
    (row,) = cli("verify", "run", "--model", "others.py:Blunt", "--json", "--quiet").json["transfer"]
    assert row["success"]["successes"] == 0


def test_single_images_and_what_a_run_says_of_its_models(cli, pictures, through, tmp_path):
    said = cli(
        "untargeted", "pictures/p0.png", "--through-models", through, "--suppress", "car", "--out", "a", "--json"
    )
    assert said.statuses == ["success"]
    assert json.loads((tmp_path / "a" / "run.json").read_text())["config"]["through_models"] == through.split(",")
    assert cli("verify", "a").status == 2, "the files of its models run code"
    targeted = ("targeted", "pictures/p1.png", "--through-models", through, "--add", "person", "--box", "40,8,56,24")
    assert cli(*targeted, "--out", "b", "--json").statuses == ["success"]
    assert cli("verify", "b", "--trust").status == 0
    assert cli("rerun", "b", "--trust", "--out", "c").status == 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--through-models", "demo"), ("two models at least",)),
        (("--through-models", "demo,demo"), ("'demo' is named twice",)),
        (("--through-models", "demo,demmo"), ("unknown model 'demmo'",)),
        (("--through-models", "demo,demo-ssd", "--weights", "none"), ("--weights goes with one --model",)),
        (("--through-models", "demo,demo-ssd", "--model", "demo-detr"), ("--model and --through-models exclude",)),
        (("--through-models", "{toy}:factory,others.py:NoDogs"), ("model no-dogs", "unknown class 'dog'")),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(refused, pictures, toy, more, words):
    more = tuple(one.replace("{toy}", toy) for one in more)
    refused("evaluate", "--images", "pictures", "--goal", "suppress:dog", "--out", "run", *more, words=words)
