"""`detattack tune`: the hyper-parameters of attacks on a detector."""

import csv
import json
from pathlib import Path

import pytest

from tests.coco_squares import write_data

pytest.importorskip("optuna")

GOAL = ("--goal", "suppress:car")


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path, 3)


@pytest.fixture
def tune(cli, toy, data):
    """A search on the toy detector in `tuned/`."""

    def call(*arguments, trials=3):
        model = ("--model", f"{toy}:factory", "--device", "cpu", "--trials", trials, "--out", "tuned")
        return cli("tune", *data, *GOAL, "--max-iterations", 60, *model, *arguments)

    return call


def rows():
    return list(csv.DictReader(Path("tuned/trials.csv").read_text().splitlines()))


def test_the_best_config_gives_the_same_in_a_run(tune, cli, toy, data):
    said = tune("--methods", "fgsm,jnd", "--json")
    assert said.status == 0, said.err
    found = said.json["summary"]["methods"]
    assert [row["method"] for row in rows()] == 3 * ["fgsm"] + 3 * ["jnd"]
    for method in ("fgsm", "jnd"):
        model = ("--model", f"{toy}:factory", "--device", "cpu", "--out", method, "--json")
        run = cli("evaluate", *data, *GOAL, *model, "--config", f"tuned/best-{method}.yaml", "--quality", "quick")
        assert run.status == 0, run.err
        successes = [image for image in run.json["images"] if image["status"] == "success"]
        assert run.json["summary"]["success_rate"] == found[method]["success_rate"]
        mean = sum(image["quality"]["l2"] for image in successes) / len(successes)
        assert mean == pytest.approx(found[method]["l2"])
    model = ("--model", f"{toy}:factory", "--device", "cpu", "--out", "both", "--quiet")
    assert cli("compare", *data, *GOAL, *model, "--config", "tuned/best.yaml").status == 0


def test_a_radius_in_rms_keeps_its_value(tune):
    assert tune("--method", "pgd-l2", "--set", "norm=rms", "--set", "radius=0.05").status == 0
    assert "radius" not in rows()[0]


def test_what_was_found_is_never_worse_than_the_methods_own_settings(tune):
    assert tune("--method", "jnd").status == 0
    first, *rest = rows()
    assert float(first["step_size"]) == 0.15
    best = next(row for row in rows() if row["best"] == "1")
    assert float(best["score"]) <= min(float(row["score"]) for row in (first, *rest))


def test_a_table_says_what_was_found(tune):
    said = tune("--method", "fgsm", trials=2)
    assert said.status == 0, said.err
    assert "best by fewest failures, then smallest mean L2" in said.out
    assert "fgsm" in said.out
    assert "2/2" in said.err


def test_the_radius_is_searched_where_asked(tune):
    assert tune("--method", "pgd-linf", "--also", "radius", trials=2).status == 0
    assert len({row["radius"] for row in rows()}) == 2
    settings = json.loads(tune("--method", "pgd-linf", "--also", "radius", "--resume", "--json", trials=2).out)
    assert set(settings["summary"]["methods"]["pgd-linf"]["set"]) == {"step_size", "radius", "max_iterations"}


def test_another_goal_is_another_search(tune):
    assert tune("--method", "fgsm", trials=1).status == 0
    said = tune("--method", "fgsm", "--goal", "suppress:dog", "--resume", trials=1)
    assert (said.status, said.out) == (2, "")
    assert "config.goal was 'suppress:car', now 'suppress:dog'" in said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--methods", "fgsm,noise"), ("method noise", "no parameter")),
        (("--trials", 0), ("0 trials",)),
        (("--goal", "suppress:cow"), ("cow",)),
        (("--method", "deepfoul"), ("unknown method 'deepfoul'", "deepfool")),
    ],
)
def test_bad_input_is_one_line(refused, toy, data, arguments, words):
    refused("tune", *data, "--model", f"{toy}:factory", "--out", "tuned", *arguments, words=words)
