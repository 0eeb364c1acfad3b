"""Images with nothing to attack: what is said of them, and that the advice is right."""

import csv
import json
import re
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from classify.summary import skipped_line as classified_line
from detattack.core.types import Category, Detections
from detattack.tasks.detection.goals import CleanImage, parse_goal
from detattack.tasks.detection.skipped import skip_reason, threshold_below
from tests.toy_classifier import NAMES

CATEGORIES = (Category("car", 3), Category("train", 7), Category("traffic light", 10))


def found(*items):
    boxes = torch.tensor([box for _, _, box in items], dtype=torch.float32).reshape(-1, 4)
    scores = torch.tensor([score for _, score, _ in items])
    return Detections(boxes, scores, torch.tensor([label for label, _, _ in items], dtype=torch.long))


HERE, THERE = (10, 10, 30, 30), (50, 50, 70, 70)


@pytest.mark.parametrize(
    ("goal", "items", "words"),
    [
        ("suppress:car", [(1, 0.564, HERE)], "no car above 0.5; seen: train 0.56"),
        ("suppress:car", [(1, 0.5601, HERE), (0, 0.31, THERE)], "no car above 0.5 (0.31 at most); seen: train 0.56"),
        ("suppress:car", [(1, 0.6, HERE), (1, 0.9, THERE), (2, 0.7, HERE)],
         "no car above 0.5; seen: train 0.90, traffic light 0.70"),
        ("suppress:car", [(1, 0.4, HERE)], "no car above 0.5; nothing else either"),
        ("suppress:all", [(1, 0.4, HERE), (0, 0.3, HERE)], "nothing above 0.5 (0.40 at most)"),
        ("suppress:all", [], "nothing above 0.5"),
        ("suppress:car@10,10,30,30", [(0, 0.9, THERE), (1, 0.8, HERE)],
         "no car above 0.5 at the box; seen: train 0.80"),
        ("mislabel:car->train", [(1, 0.8, HERE), (0, 0.2, HERE)],
         "no car above 0.5 (0.20 at most); seen: train 0.80"),
        ("inject:car@10,10,30,30", [(0, 0.93, HERE)], "car 0.93 is at the box already"),
    ],
)  # fmt: skip
def test_reasons(goal, items, words):
    clean = found(*items)
    target = parse_goal(goal).resolve(CATEGORIES, CleanImage(100, 100, clean.above(0.5)))
    assert skip_reason(target, clean, CATEGORIES, 0.5) == words


def test_the_reason_where_objects_are_the_annotated_ones():
    clean, nothing = found((0, 0.9, HERE)), found()
    target = parse_goal("degrade:all").resolve(CATEGORIES, CleanImage(100, 100, clean, annotated=nothing))
    assert skip_reason(target, clean, CATEGORIES, 0.5) == "no object that counts is annotated"


@pytest.mark.parametrize(
    ("goal", "seen", "goals"),
    [
        ("suppress:car", ["train"], ["suppress:train", "suppress:all"]),
        ("suppress:car", [], []),
        ("suppress:car@1,2,3,4", ["train"], ["suppress:train@1,2,3,4", "suppress:all@1,2,3,4"]),
        ("mislabel:car->train", ["train", "bus"], ["mislabel:bus->train"]),
        ("inject:car@center", [], ["inject:car@random"]),
    ],
)
def test_other_goals_are_of_the_same_kind(goal, seen, goals):
    assert [str(one) for one in parse_goal(goal).alternatives(seen)] == goals


@pytest.mark.parametrize("score", [0.499, 0.45, 0.31, 0.11, 0.1, 0.05, 0.012])
def test_the_score_is_above_the_threshold_that_is_advised(score):
    threshold = threshold_below(score)
    assert 0 < threshold < score
    assert len(f"{threshold:g}") <= 4


def test_noise_is_no_reason_for_a_lower_threshold():
    assert threshold_below(0.009) is None
    assert threshold_below(0.0) is None


# The commands


@pytest.fixture
def run(cli, toy):
    def call(command, *arguments, out="run"):
        return cli(command, *arguments, "--model", f"{toy}:factory", "--device", "cpu", "--out", out)

    return call


def advised(text: str) -> list[list[str]]:
    """The options at the end of a line, each as it is typed."""
    return [option.split() for option in text.rpartition(": ")[2].split(", ")]


def test_untargeted_names_what_is_seen_and_its_advice_works(run, picture):
    said = run("untargeted", picture("a", "dog@8,8"), "--max-iterations", 1)
    (line,) = [line for line in said.out.splitlines() if line.startswith("a:")]
    score = re.search(r"seen: dog (0\.\d\d): ", line)[1]
    assert line == f"a: no car above 0.5; seen: dog {score}: --suppress dog, --suppress all"
    for number, options in enumerate(advised(line)):
        again = run("untargeted", picture("a", "dog@8,8"), *options, "--json", out=f"again{number}")
        assert again.statuses == ["success"]
        assert again.json["images"][0]["reason"] == ""


def test_a_faint_one_needs_a_lower_threshold(run, picture):
    said = run("untargeted", picture("a", "faint car@8,8"))
    (line,) = [line for line in said.out.splitlines() if line.startswith("a:")]
    ((option, value),) = advised(line)
    assert option == "--score-threshold"
    assert run("untargeted", picture("a", "faint car@8,8"), option, value, "--json", out="low").statuses == ["success"]


def test_the_reason_is_in_ledger_and_json(run, picture):
    said = run("untargeted", picture("a", "dog@8,8"), "--json")
    reason = said.json["images"][0]["reason"]
    assert reason.startswith("no car above 0.5; seen: dog 0.")
    with sqlite3.connect("run/ledger.sqlite") as ledger:
        ((record,),) = ledger.execute("SELECT record FROM images").fetchall()
    assert json.loads(record)["reason"] == reason


def test_a_ledger_without_reasons_is_read_and_explained(run, picture, cli):
    run("untargeted", picture("a", "dog@8,8"))
    with sqlite3.connect("run/ledger.sqlite") as ledger:
        ((record,),) = ledger.execute("SELECT record FROM images").fetchall()
        ledger.execute("UPDATE images SET record = ?", (json.dumps(json.loads(record) | {"reason": ""}),))
    ledger.close()
    said = run("untargeted", picture("a", "dog@8,8"), "--resume")
    assert "a: no car above 0.5; seen: dog 0." in said.out
    assert cli("verify", "run", "--trust").status == 0


def test_targeted_says_what_is_at_the_box(run, picture):
    said = run("targeted", picture("a", "car@24,16"), "--add", "car")
    (line,) = [line for line in said.out.splitlines() if line.startswith("a:")]
    assert re.fullmatch(r"a: car 0\.\d\d is at the box already: --box random", line)
    again = run("targeted", picture("a", "car@24,16"), "--box", "random", "--max-iterations", 1, "--json", out="again")
    assert again.statuses == ["failure"]


def photos(picture):
    picture("in/a", "dog@8,8")
    picture("in/b", "dog@8,8", "faint car@40,16")
    return picture("in/c", "car@8,8").parent


def test_evaluate_counts_and_spells_goals(run, picture):
    folder = photos(picture)
    said = run("evaluate", "--images", folder, "--goal", "suppress:car", "--quality", "quick")
    (line,) = [line for line in said.out.splitlines() if "skipped" in line]
    assert line.startswith("2 images skipped: no car above 0.5 (fainter in 1); seen: dog in 2: ")
    first, second, third = advised(line)
    assert (first, second) == (["--goal", "suppress:dog"], ["--goal", "suppress:all"])
    again = run("evaluate", "--images", folder, "--goal", "suppress:car", *third, "--json", out="low")
    assert again.json["summary"]["nothing"] == 1


def test_nothing_is_said_where_all_are_attacked(run, picture):
    folder = picture("in/a", "car@8,8").parent
    said = run("evaluate", "--images", folder, "--goal", "suppress:car", "--quality", "quick")
    assert "skipped" not in said.out
    run("compare", "--images", folder, "--goal", "suppress:car", "--methods", "jnd", out="cmp")
    assert "skipped" not in json.loads(Path("cmp/comparison.json").read_text())
    assert "%" not in Path("cmp/comparison.tex").read_text().splitlines()[-1]


def test_a_comparison_says_how_many_are_attacked_and_why_not_more(run, picture):
    said = run("compare", "--images", photos(picture), "--goal", "suppress:car", "--methods", "jnd,fgsm", out="cmp")
    content = json.loads(Path("cmp/comparison.json").read_text())
    assert [row["attacked"] for row in content["methods"]] == [1, 1]
    assert content["skipped"].startswith("2 images skipped: no car above 0.5")
    assert content["skipped"] in said.out
    assert content["skipped"] in Path("cmp/comparison.md").read_text()
    assert f"% {content['skipped']}" in Path("cmp/comparison.tex").read_text().splitlines()
    table = list(csv.DictReader(Path("cmp/comparison.csv").read_text().splitlines()))
    assert [row["attacked"] for row in table] == ["1", "1"]


# Classifiers


@pytest.fixture
def wrong(tmp_path, monkeypatch):
    """Two images in the folder of a class that they are not of, and one that is in its own."""
    for name, channel in (("blue/a", 0), ("blue/b", 1), ("red/c", 0)):
        pixels = np.full((12, 12, 3), 90, np.uint8)
        pixels[..., channel] = 150
        path = tmp_path / "data" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "data"


def test_a_comparison_of_classifiers_says_why_images_are_skipped(cli, wrong):
    toy = Path(__file__).parents[1] / "toy_classifier.py"
    common = ("--images", wrong, "--methods", "jnd", "--model", f"{toy}:Channels", "--device", "cpu")
    said = cli("classify", "compare", *common, "--out", "cmp")
    assert said.status == 0, said.err
    line = "2 images skipped: the model is wrong on them untouched (--only-right takes others)"
    assert line in said.out
    content = json.loads(Path("cmp/comparison.json").read_text())
    assert (content["skipped"], content["methods"][0]["attacked"]) == (line, 1)
    with sqlite3.connect("cmp/jnd/ledger.sqlite") as ledger:
        records = [json.loads(text) for (text,) in ledger.execute("SELECT record FROM images")]
    reasons = {record["stem"]: record["reason"] for record in records}
    assert re.fullmatch(rf"taken for {NAMES[0]} [01]\.\d\d untouched, not for blue", reasons["a"])
    assert reasons["c"] == ""
    right = cli("classify", "compare", *common, "--only-right", "--out", "right")
    assert "skipped" not in right.out


def test_a_target_that_is_reached_already(cli, wrong):
    toy = Path(__file__).parents[1] / "toy_classifier.py"
    said = cli("classify", "attack", wrong / "blue" / "a.png", "--target", NAMES[0], "--model", f"{toy}:Channels",
               "--device", "cpu", "--out", "run")  # fmt: skip
    assert re.search(rf"a: taken for {NAMES[0]} [01]\.\d\d untouched, the target", said.out)


@pytest.mark.parametrize(
    ("already", "targeted", "line"),
    [
        (0, False, ""),
        (1, False, "1 image skipped: the model is wrong on it untouched (--only-right takes others)"),
        (1, True, "1 image skipped: is of the target class, or taken for it untouched"),
        (3, True, "3 images skipped: are of the target class, or taken for it untouched"),
    ],
)
def test_the_line_of_classifiers(already, targeted, line):
    assert classified_line({"already": already}, targeted) == line
