"""`--budget`: all of a change of a given size is spent, and the worst image is kept; of one budget or of several."""

import contextlib
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detattack.cli import status_of
from detattack.datasets.image_io import read_image
from detattack.metrics.image_quality import MEASURES
from tests.coco_squares import made, write_data

CURVE_FILES = (
    "robustness.json",
    "robustness.csv",
    "robustness.md",
    "robustness.tex",
    "robustness.png",
    "robustness.pdf",
)


def read(path):
    return json.loads(Path(path).read_text())


def measured(run: Path) -> float:
    """AP by a call of its own."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(run / "annotations.json"))
        for annotation in truth.dataset["annotations"]:
            annotation["id"] += 1  # pycocotools takes a match with the annotation 0 for no match
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(str(run / "adversarial.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, -1]
    return float(precision[precision > -1].mean())


# Rendered scenes and the demo detector


@pytest.fixture(scope="module")
def stepped(tmp_path_factory) -> Path:
    """A finished run with two budgets, which no test changes."""
    out = tmp_path_factory.mktemp("stepped") / "run"
    line = ["evaluate", "--scenes", "2", "--goal", "degrade:all", "--method", "ensemble", "--budget", "linf:2,1"]
    assert (
        status_of([*line, "--passes", "6", "--quality", "quick", "--device", "cpu", "--quiet", "--out", str(out)]) == 0
    )
    return out


def test_each_budget_has_a_run_and_all_have_one_table(stepped):
    assert {path.name for path in stepped.iterdir()} == {"linf-1", "linf-2", ".lock", *CURVE_FILES}
    rows = read(stepped / "robustness.json")["budgets"]
    assert [row["budget"] for row in rows] == ["linf:1", "linf:2"]
    for row, size in zip(rows, (1, 2), strict=True):
        run = stepped / f"linf-{size}"
        summary = read(run / "summary.json")
        assert (summary["kind"], summary["budget"], summary["floats"]) == ("budget", f"linf:{size}", False)
        assert row["ap"] == pytest.approx(measured(run), abs=1e-9)
        assert row["ap"] == summary["ap"]["adversarial"]["ap"]
        assert row["ap_clean"] == summary["ap"]["clean"]["ap"] > row["ap"]
        assert row["recall"] == summary["above_threshold"]["adversarial"]["recall"]
        assert summary["change"]["linf"]["max"] == pytest.approx(size / 255)
        assert summary["passes"]["backwards"]["max"] <= 6
        assert row["judged"] == "8-bit files"
    assert rows[0]["ap"] >= rows[1]["ap"]
    assert read(stepped / "linf-2" / "run.json")["start"] == "linf-1"
    assert read(stepped / "linf-1" / "run.json").get("start") is None


def test_the_table_is_the_same_in_each_format(stepped):
    rows = read(stepped / "robustness.json")["budgets"]
    for name in ("robustness.csv", "robustness.md", "robustness.tex"):
        text = (stepped / name).read_text()
        for row in rows:
            assert row["budget"] in text
            assert f"{row['ap']:.4f}"[:5] in text
    assert Image.open(stepped / "robustness.png").size[0] > 500
    assert (stepped / "robustness.pdf").read_bytes().startswith(b"%PDF")


def test_verify_agrees_with_each_run(stepped, cli, tmp_path):
    own = shutil.copytree(stepped, tmp_path / "run")
    for name in ("linf-1", "linf-2"):
        said = cli("verify", own / name, "--device", "cpu")
        assert (said.status, "2" in said.out) == (0, True), said.err


def test_a_run_that_starts_from_another_is_repeated_to_the_same_bytes(stepped, cli, tmp_path):
    own = shutil.copytree(stepped, tmp_path / "run")
    said = cli("rerun", own / "linf-2", "--device", "cpu", "--quiet", "--out", "again")
    assert said.status == 0, said.err
    assert said.out.endswith(": identical bytes\n")


def test_a_run_without_the_one_that_it_starts_from_is_not_repeated(stepped, refused, cli, tmp_path):
    alone = shutil.copytree(stepped / "linf-2", tmp_path / "moved" / "linf-2")
    refused("rerun", alone, "--device", "cpu", "--out", "again", words=("linf-1", "not beside it"))
    assert cli("verify", alone, "--device", "cpu").status == 0  # which needs none


@pytest.mark.parametrize("start", ["../linf-1", "/tmp", "linf-1/..", "", 3])
def test_a_start_that_is_no_name_of_a_budget_is_refused(stepped, cli, tmp_path, start):
    own = shutil.copytree(stepped, tmp_path / "run") / "linf-2"
    (own / "run.json").write_text(json.dumps(read(own / "run.json") | {"start": start}))
    for line in (("rerun", own, "--out", "again"), ("verify", own)):
        said = cli(*line, "--device", "cpu")
        assert said.status == 2
        assert len(said.err.splitlines()) == 1


def test_a_finished_run_has_nothing_to_resume(stepped, cli, tmp_path):
    own = shutil.copytree(stepped, tmp_path / "run")
    before = {name: (own / name).read_bytes() for name in CURVE_FILES}
    for name in CURVE_FILES:
        (own / name).unlink()
    line = ["evaluate", "--scenes", 2, "--goal", "degrade:all", "--method", "ensemble", "--budget", "linf:1,2"]
    line += ["--passes", 6, "--quality", "quick", "--device", "cpu", "--out", "run"]
    assert cli(*line, "--quiet").status == 2  # it does not say --resume
    assert cli(*line, "--resume", "--quiet").status == 0
    assert {name: (own / name).read_bytes() for name in CURVE_FILES} == before


# Pictures with annotations, and a detector of colored squares


@pytest.fixture
def evaluate(cli, toy):
    def call(
        *arguments,
        factory="factory",
        out="run",
        goal="degrade:all",
        method="ensemble",
        passes=10,
        command="evaluate",
        quality="quick",
    ):
        methods = ("--method", method) if command == "evaluate" else ("--methods", method)
        common = ("--model", f"{toy}:{factory}", "--quality", quality, "--device", "cpu", "--batch", 1)
        limit = () if passes is None else ("--passes", passes)
        return cli(command, *arguments, *common, "--goal", goal, *methods, *limit, "--out", out)

    return call


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path, 3)


@pytest.mark.parametrize("budget", ["linf:40", "l2:8", "rms:30"])
def test_one_budget_is_one_run(evaluate, cli, data, tmp_path, budget):
    said = evaluate(*data, "--budget", budget, "--json")
    assert said.status == 0, said.err
    summary = said.json["summary"]
    assert (summary["kind"], summary["budget"]) == ("budget", budget)
    assert summary["ap"]["adversarial"]["ap"] < summary["ap"]["clean"]["ap"]
    norm, size = budget.split(":")
    limit = float(size) / (255 if norm == "linf" else 1)
    assert 0 < summary["change"][norm]["max"] <= limit * (1 + 1e-6)
    assert summary["change"][norm]["max"] >= 0.9 * limit
    assert summary["passes"]["backwards"]["max"] <= 10
    assert not Path("run/robustness.json").exists()
    assert cli("verify", "run", "--trust", "--device", "cpu").status == 0
    again = cli("rerun", "run", "--trust", "--quiet", "--out", "again")
    assert again.out.endswith(": identical bytes\n")


def test_images_with_nothing_to_attack_are_attacked_and_keep_their_status(evaluate, data):
    """The last image is empty: what is false there costs AP, too."""
    said = evaluate(*data, "--budget", "linf:90", "--json", passes=60)
    images = {image["id"]: image for image in said.json["images"]}
    summary = said.json["summary"]
    assert images[98]["status"] == "nothing"
    assert images[98]["backwards"] > 0
    assert images[98]["quality"]["linf"] > 0
    assert (summary["nothing"], summary["attacked"]) == (1, 2)
    found = [row for row in read("run/adversarial.json") if row["image_id"] == 98]
    assert found


def test_without_a_budget_such_images_are_left_alone(evaluate, data, tmp_path):
    said = evaluate(*data, "--json", method="jnd", passes=None)
    empty = next(image for image in said.json["images"] if image["id"] == 98)
    assert (empty["status"], empty["backwards"]) == ("nothing", 0)
    assert said.json["summary"]["kind"] == "first success"


def test_floats_are_judged_as_floats(evaluate, cli, data):
    said = evaluate(*data, "--budget", "linf:0.5", "--float", "--json")
    assert said.status == 0, said.err
    summary = said.json["summary"]
    assert (summary["floats"], summary["budget"]) == (True, "linf:0.5")
    assert 0 < summary["change"]["linf"]["max"] <= 0.5 / 255 + 1e-6
    assert cli("verify", "run", "--trust", "--device", "cpu").status == 0


def test_of_several_budgets_those_below_a_gray_level_are_judged_on_floats_and_that_is_said(evaluate, cli, data):
    said = evaluate(*data, "--budget", "linf:0.5,2", "--json")
    assert said.status == 0, said.err
    assert "NOTE: linf:0.5: below one gray level, judged on floats" in said.err
    rows = said.json["summary"]["budgets"]
    assert [row["judged"] for row in rows] == ["floats", "8-bit files"]
    assert list(Path("run/linf-0.5/floats").rglob("*.npy"))
    assert not Path("run/linf-2/floats").exists()
    for name in ("linf-0.5", "linf-2"):
        assert cli("verify", f"run/{name}", "--trust", "--device", "cpu").status == 0
    again = cli("rerun", "run/linf-2", "--trust", "--quiet", "--out", "again")
    assert again.out.endswith(": identical bytes\n")


def test_an_interrupted_run_goes_on_to_the_same_bytes(cli, toy, tmp_path):
    """Interrupted within the first budget, and again within the second, which begins where the first ended."""
    own = Path(shutil.copy(toy, tmp_path / "toy.py"))
    data = write_data(tmp_path, 3, mark=1)
    line = ["evaluate", *data, "--model", f"{own}:interrupted", "--goal", "degrade:all", "--method", "ensemble"]
    line += ["--budget", "rms:4,8", "--passes", 8, "--quality", "quick", "--device", "cpu", "--batch", 1]
    assert cli(*line, "--out", "whole").status == 0
    (tmp_path / "interrupt").touch()
    said = cli(*line, "--out", "run")
    assert said.status == 130
    assert said.out == ""
    assert "--out run --resume" in said.err.splitlines()[-1]
    assert not Path("run/rms-8").exists()
    assert cli(*line, "--out", "run", "--resume").status == 130
    (tmp_path / "interrupt").unlink()
    assert cli(*line, "--out", "run", "--resume").status == 0
    for budget in ("rms-4", "rms-8"):
        assert made(tmp_path / "run" / budget) == made(tmp_path / "whole" / budget)
    for name in CURVE_FILES:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    shutil.rmtree("run/rms-8")
    (tmp_path / "interrupt").touch()
    assert cli(*line, "--out", "run", "--resume").status == 130
    (tmp_path / "interrupt").unlink()
    assert cli(*line, "--out", "run", "--resume").status == 0
    assert made(tmp_path / "run" / "rms-8") == made(tmp_path / "whole" / "rms-8")


def test_several_methods_have_a_folder_each(evaluate, data):
    said = evaluate(*data, "--budget", "linf:20,40", method="pgd-linf,fgsm", command="compare")
    assert said.status == 0, said.err
    rows = read("run/robustness.json")["budgets"]
    assert [(row["method"], row["budget"]) for row in rows] == [
        *(("pgd-linf", "linf:20"), ("pgd-linf", "linf:40")),
        *(("fgsm", "linf:20"), ("fgsm", "linf:40")),
    ]
    for row in rows:
        run = Path("run") / row["method"] / row["budget"].replace(":", "-")
        assert row["ap"] == pytest.approx(read(run / "summary.json")["ap"]["adversarial"]["ap"])
    assert re.search(r"^pgd-linf +linf:20 ", said.out, re.MULTILINE)
    assert read("run/fgsm/linf-40/run.json")["start"] == "linf-20"


def test_single_images(cli, toy, picture):
    paths = picture("a", "car@8,8", "dog@40,24"), picture("b", "dog@8,24")
    line = (
        "untargeted",
        *paths,
        "--model",
        f"{toy}:factory",
        "--degrade",
        "--method",
        "ensemble",
        "--budget",
        "linf:40",
    )
    said = cli(*line, "--passes", 8, "--out", "run", "--json")
    assert said.status == 0, said.err
    assert read("run/run.json")["config"]["goal"] == "degrade:all"
    assert said.json["summary"]["budget"] == "linf:40"
    for path in paths:
        difference = read_image(Path("run/images") / path.name).pixels.astype(int) - read_image(path).pixels.astype(int)
        assert 0 < np.abs(difference).max() <= 40
    assert cli("verify", "run", "--trust").status == 0
    assert cli("untargeted", *paths, "--model", f"{toy}:factory", "--degrade", "--out", "first").status == 0


def test_an_object_appears_within_a_budget(cli, toy, picture):
    path = picture("a", "dog@40,24")
    line = ("targeted", path, "--model", f"{toy}:factory", "--box", "8,8,24,24", "--method", "ensemble", "--passes", 8)
    said = cli(*line, "--budget", "linf:40", "--out", "run", "--json")
    assert said.status == 0, said.err
    assert (said.json["summary"]["kind"], said.json["summary"]["budget"]) == ("budget", "linf:40")
    (image,) = said.json["images"]
    assert image["confidence_after"] > image["confidence_before"]
    table = cli(*line, "--budget", "linf:40", "--out", "run", "--resume").out
    answer = "yes" if image["status"] == "success" else "no"
    assert re.search(rf"image +broken +worst.*\na +{answer} ", table)
    difference = read_image(Path("run/images") / path.name).pixels.astype(int) - read_image(path).pixels.astype(int)
    assert 0 < np.abs(difference).max() <= 40
    assert cli("verify", "run", "--trust").status == 0


@pytest.mark.parametrize(("reference", "expected"), [("annotations", "nothing"), ("detections", "failure")])
def test_what_the_objects_are_can_be_chosen(evaluate, tmp_path, reference, expected):
    """In the pictures is a dog more than anybody has annotated: to the annotations there is nothing of it to miss."""
    data = write_data(tmp_path, 2)
    content = read(tmp_path / "instances.json")
    content["annotations"] = [row for row in content["annotations"] if row["category_id"] != 40]
    (tmp_path / "instances.json").write_text(json.dumps(content))
    said = evaluate(*data, "--budget", "linf:1", "--reference", reference, "--json", goal="degrade:dog")
    assert next(image for image in said.json["images"] if image["id"] == 100)["status"] == expected


def test_every_attacked_image_is_measured_in_full(evaluate, tmp_path):
    """Also one in which nothing is to be broken: a budget is spent on it, too."""
    data = write_data(tmp_path, 2)
    said = evaluate(*data, "--budget", "linf:20", "--json", passes=4, quality="all")
    attacked = [image for image in said.json["images"] if image["quality"]]
    assert "nothing" in {image["status"] for image in attacked}
    assert {tuple(image["quality"]) for image in attacked} == {tuple(MEASURES)}


def test_a_loss_can_be_named(evaluate, data):
    said = evaluate(*data, "--budget", "linf:20", "--loss", "unmatch,vanish", "--json", passes=2)
    assert said.status == 0, said.err
    assert read("run/run.json")["config"]["loss"] == ["unmatch", "vanish"]
    assert said.json["summary"]["passes"]["backwards"]["max"] == 2


def test_floods_and_nearest_images_of_the_new_goals(evaluate, cli, data):
    """Without a budget the goals are as any other: the first success."""
    said = evaluate(*data, "--json", goal="flood:2", method="jnd", passes=None)
    assert said.status == 0, said.err
    assert said.json["summary"]["success"] == 3
    said = evaluate(*data, "--json", goal="degrade:all", method="jnd", passes=None, out="degraded")
    assert said.json["summary"]["success"] == 2
    for run in ("run", "degraded"):
        assert cli("verify", run, "--trust", "--device", "cpu").status == 0
        assert cli("report", run).status == 0


# Bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--budget", "linf:0"), ("linf:0", "above 0")),
        (("--budget", "linf:-2"), ("'-2'", "above 0")),
        (("--budget", "linf:300"), ("300", "255")),
        (("--budget", "rms:256"), ("256", "255")),
        (("--budget", "lin:2"), ("'lin'", "linf")),
        (("--budget", "2"), ("not of the form", "linf:2")),
        (("--budget", "linf:2,2"), ("linf:2", "twice")),
        (("--budget", "linf:0.5"), ("linf:0.5", "--float")),
        (("--budget", "linf:0.25,0.5"), ("linf:0.5", "--float")),
        (("--budget", "l2:0.001"), ("l2:0.001", "--float")),
        (("--budget", "linf:2", "--method", "deepfool"), ("deepfool", "spends no budget")),
        (("--budget", "linf:2", "--method", "noise"), ("noise", "spends no budget")),
        (("--budget", "linf:2", "--method", "jnd"), ("jnd", "spends no budget")),
        (("--budget", "l2:2", "--method", "pgd-linf"), ("pgd-linf", "another norm", "pgd-l2")),
        (("--budget", "linf:2", "--method", "pgd-linf@4"), ("pgd-linf@4", "radius in its name")),
        (("--budget", "linf:2", "--passes", "1"), ("1 pass an image", "too few")),
        (("--budget", "linf:2", "--passes", "0"), ("--passes", "greater than or equal to 1")),
        (("--budget", "linf:2", "--passes", "9", "--max-iterations", "9"), ("--passes", "--max-iterations")),
        (("--method", "ensemble", "--passes", "1"), ("1 pass an image", "too few")),
        (("--method", "jnd-min", "--passes", "1"), ("--passes 1", "jnd-min", "2 at least")),
        (("--budget", "linf:2", "--loss", "unmach"), ("'unmach'", "unmatch")),
        (("--budget", "linf:2", "--loss", "miss,unmatch,miss"), ("loss miss", "twice")),
        (("--goal", "suppress:all", "--loss", "unmatch", "--method", "jnd"), ("unmatch", "suppress:all")),
        (("--goal", "suppress:all", "--reference", "detections"), ("--reference", "suppress:all")),
        (("--goal", "degrade:cat"), ("'cat'", "car")),
        (("--goal", "degrade:car@1,2,3,4"), ("degrade",)),
        (("--goal", "flood:0"), ("flood", "10000")),
        (("--budget", "linf:1,2", "--transfer-to", "demo"), ("--transfer-to", "one --budget")),
        (("--budget", "linf:1,2", "--survive", "jpeg:90"), ("--survive", "one --budget")),
    ],
)
def test_bad_input(refused, toy, data, arguments, words):
    line = {"--goal": "degrade:all", "--method": "ensemble"}
    own = [part for name, value in line.items() if name not in arguments for part in (name, value)]
    refused("evaluate", *data, *own, *arguments, "--model", f"{toy}:factory", "--out", "run", words=words)


def test_annotations_that_share_no_class_with_the_model(refused, toy, data, tmp_path):
    content = read(tmp_path / "instances.json")
    for category, name in zip(content["categories"], ("kite", "boat", "tie", "cup"), strict=True):
        category["name"] = name
    (tmp_path / "instances.json").write_text(json.dumps(content))
    line = ("evaluate", *data, "--goal", "degrade:all", "--method", "ensemble", "--budget", "linf:2")
    refused(*line, "--model", f"{toy}:factory", "--out", "run", words=("no class name in common", "'kite'"))


def test_annotations_as_a_reference_that_are_not_there(refused, toy, data, picture):
    model = ("--model", f"{toy}:factory", "--out", "run", "--reference", "annotations")
    words = ("--reference annotations", "has none")
    refused("evaluate", *data[:2], "--goal", "degrade:all", *model, words=words)
    refused("untargeted", picture("a", "car@8,8"), "--degrade", *model, words=words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--degrade", "--suppress", "car"), ("--degrade", "--suppress")),
        (("--degrade", "--as", "dog"), ("--degrade", "--as")),
        (("--degrade", "--box", "1,2,30,40"), ("--degrade", "--box")),
        (("--degrade", "--budget", "linf:1,2", "--method", "ensemble"), ("linf:1,2", "evaluate and compare")),
        (("--degrade", "--budget", "linf:0.5", "--method", "ensemble"), ("linf:0.5", "--float")),
        (("--degrade", "--budget", "linf:2"), ("jnd", "spends no budget")),
        (("--loss", "miss"), ("miss", "suppress:car")),
        (("--reference", "detections"), ("--reference", "suppress:car")),
    ],
)
def test_bad_input_on_single_images(refused, toy, picture, arguments, words):
    line = ("untargeted", picture("a", "car@8,8"), *arguments, "--model", f"{toy}:factory", "--out", "run")
    refused(*line, words=words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--methods", "ensemble,jnd", "--budget", "linf:2"), ("jnd", "spends no budget")),
        (("--methods", "ensemble,pgd-linf", "--budget", "l2:2"), ("pgd-linf", "another norm")),
        (("--methods", "ensemble", "--budget", "linf:0.5"), ("linf:0.5", "--float")),
        (("--methods", "fgsm,ensemble", "--budget", "linf:2", "--passes", "1"), ("1 pass an image", "too few")),
        (("--methods", "fgsm,ensemble", "--passes", "1"), ("1 pass an image", "too few")),
    ],
)
def test_bad_input_of_a_comparison(refused, toy, data, arguments, words):
    line = ("compare", *data, "--goal", "degrade:all", *arguments, "--model", f"{toy}:factory", "--out", "run")
    refused(*line, words=words)


def test_a_folder_that_holds_another_budget(evaluate, data):
    assert evaluate(*data, "--budget", "linf:2").status == 0
    said = evaluate(*data, "--budget", "linf:4", "--resume")
    assert said.status == 2
    assert len(said.err.splitlines()) == 1
