"""A run's files before another detector and after changes: `verify --model --survive`, `evaluate --transfer-to`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.coco_squares import write_data

HERE = Path(__file__).parents[1]
TOY = f"{HERE / 'toy_detector.py'}:Toy"

OTHERS = """
from tests.toy_detector import Toy

class Blunt(Toy):
    name = "blunt"
    def __init__(self, device):
        super().__init__(device)
        self.network.bias[:] = -4.0  # sees squares that stand out by 0.2 already

class Blind(Toy):
    name = "blind"
    def __init__(self, device):
        super().__init__(device)
        self.network.bias[:] = -1000.0

class OtherClasses(Toy):
    name, categories = "other", Toy.categories[1:] + Toy.categories[1:2]
"""


@pytest.fixture
def pictures(tmp_path):
    """Four images with a red square that stands out by 0.6: cars."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(4):
        pixels = np.full((48, 64, 3), 80, np.uint8)
        pixels[16:32, 8 * i + 8 : 8 * i + 24, 0] = 233
        Image.fromarray(pixels).save(folder / f"car{i}.png")
    return folder


@pytest.fixture
def others(tmp_path):
    path = tmp_path / "others.py"
    path.write_text(OTHERS)
    return path


def attack(cli, pictures, *more):
    arguments = ("evaluate", "--images", pictures, "--goal", "suppress:car", "--model", TOY, "--out", "run", "--quiet")
    said = cli(*arguments, *more)
    assert said.status == 0, said.err


def test_on_the_same_detector_all_is_left(cli, pictures):
    attack(cli, pictures)
    said = cli("verify", "run", "--model", TOY, "--json", "--quiet")
    (row,) = said.json["transfer"]
    assert (row["model"], row["change"]) == ("toy", "none")
    assert (row["success"]["successes"], row["success"]["trials"], row["already"]) == (4, 4, 0)


def test_a_detector_with_a_lower_bar_still_sees_them_and_one_that_sees_nothing_is_counted_apart(cli, pictures, others):
    attack(cli, pictures)
    blunt = cli("verify", "run", "--model", f"{others}:Blunt", "--json", "--quiet").json["transfer"][0]
    assert (blunt["success"]["successes"], blunt["success"]["trials"], blunt["already"]) == (0, 4, 0)
    blind = cli("verify", "run", "--model", f"{others}:Blind", "--json", "--quiet").json["transfer"][0]
    assert (blind["success"]["trials"], blind["already"]) == (0, 4)


def test_a_detector_without_the_class_is_refused(cli, pictures, others):
    attack(cli, pictures)
    said = cli("verify", "run", "--model", f"{others}:OtherClasses", "--quiet")
    assert said.status == 2
    assert "'car'" in said.err


def test_the_matrix_of_evaluate(cli, pictures, others):
    attack(cli, pictures, "--transfer-to", f"{others}:Blunt,{others}:Blind", "--survive", "jpeg:95,blur:2")
    rows = json.loads(Path("run/transfer.json").read_text())
    assert [(r["model"], r["change"]) for r in rows] == [
        (model, change) for model in ("toy", "blunt", "blind") for change in ("none", "jpeg:95", "blur:2")
    ]
    blurred = rows[2]
    assert blurred["already"] + blurred["success"]["trials"] == 4


def test_after_a_shift_boxes_are_where_it_takes_them(cli, tmp_path):
    """Before and after, AP is that of the untouched files, and the box that is asked for moves along."""
    data = write_data(tmp_path, 3)
    line = ("evaluate", *data, "--goal", "inject:car@center", "--robust-to", "shift:8", "--model", TOY, "--out", "run")
    assert cli(*line, "--quiet", "--quality", "quick").status == 0
    plain, shifted = cli("verify", "run", "--model", TOY, "--survive", "shift:8", "--json", "--quiet").json["transfer"]
    assert shifted["success"] == plain["success"]
    assert shifted["ap"]["clean"]["ap"] == pytest.approx(plain["ap"]["clean"]["ap"])
    assert plain["ap"]["clean"]["ap"] > 0.5


def test_a_change_that_an_image_is_too_small_for(cli, pictures):
    attack(cli, pictures)
    plain, cropped = cli("verify", "run", "--model", TOY, "--survive", "crop:24", "--json").json["transfer"]
    assert [(one["unread"], one["unfit"]) for one in (plain, cropped)] == [(0, 0), (0, 4)]
    line = ("evaluate", "--images", pictures, "--goal", "suppress:car", "--model", TOY, "--robust-to", "crop:24")
    said = cli(*line, "--out", "robust", "--json")
    assert (said.status, said.statuses) == (0, ["error"] * 4)
    assert said.json["images"][0]["reason"] == "corruption crop:24: nothing is left of an image of 64x48"


def test_what_a_budget_was_spent_on_is_all_scored(cli, tmp_path):
    """Images that hold nothing, or nothing that is found, too, as in the run's own AP."""
    data = write_data(tmp_path, 3)
    line = ("evaluate", *data, "--goal", "degrade:all", "--budget", "linf:4", "--passes", 2, "--method", "pgd-linf")
    said = cli(*line, "--model", TOY, "--out", "run", "--json", "--quality", "quick")
    (row,) = cli("verify", "run", "--model", TOY, "--json", "--quiet").json["transfer"]
    assert row["ap"]["images"] == 3
    assert row["ap"]["clean"]["ap"] == said.json["summary"]["ap"]["clean"]["ap"]


def test_an_original_that_is_gone_is_counted(cli, pictures):
    attack(cli, pictures)
    (pictures / "car2.png").unlink()
    row = cli("verify", "run", "--model", TOY, "--json", "--quiet").json["transfer"][0]
    assert (row["unread"], row["success"]["trials"]) == (1, 3)


def test_scenes_are_rendered_again(cli):
    said = cli("untargeted", "--scenes", 1, "--seed", 3, "--method", "fgsm", "--out", "run", "--quiet")
    assert said.status == 0, said.err
    row = cli("verify", "run", "--survive", "blur:1", "--json", "--quiet").json["transfer"][0]
    assert (row["model"], row["unread"]) == ("demo", 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--survive", "jpg:90"), "did you mean 'jpeg'"),
        (("--weights", "x"), "go with --model"),
        (("--model", "demi"), "did you mean 'demo'"),
    ],
)
def test_bad_input(cli, pictures, arguments, message):
    attack(cli, pictures)
    said = cli("verify", "run", *arguments)
    assert said.status == 2
    assert message in said.err


def test_an_original_that_is_another_by_now_is_left_out(cli, pictures):
    attack(cli, pictures)
    pixels = np.array(Image.open(pictures / "car1.png"))
    pixels[40:, :8] += 9
    Image.fromarray(pixels).save(pictures / "car1.png")
    said = cli("verify", "run", "--trust", "--survive", "jpeg:90")
    assert said.status == 0
    assert "1 image left out: the original is gone or has changed" in said.out
    rows = json.loads(Path("run/transfer.json").read_text())
    assert [(row["unread"], row["success"]["trials"]) for row in rows] == [(1, 3), (1, 3)]


def test_other_classifiers_judge_what_a_classifier_was_attacked_with(cli, pictures):
    classifiers = HERE / "toy_classifier.py"
    line = ("evaluate", "--task", "classify", "--images", pictures, "--model", f"{classifiers}:Channels", "--quality")
    refused = cli(*line, "quick", "--out", "run", "--transfer-to", "demo")
    assert (refused.status, Path("run").exists()) == (2, False)
    assert "unknown classifier 'demo'" in refused.err
    said = cli(*line, "quick", "--out", "run", "--max-iterations", 3, "--transfer-to", f"{classifiers}:Channels")
    assert said.status == 0, said.err
    assert len(json.loads(Path("run/transfer.json").read_text())) == 2
