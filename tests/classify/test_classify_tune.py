"""`detattack classify tune` on a linear classifier, where what a step size leads to is known."""

import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detattack.cli import status_of
from detattack.datasets.image_io import read_image, to_tensor
from tests.linear_classifier import distance

pytest.importorskip("optuna")

CLASSIFIER = Path(__file__).parents[1] / "linear_classifier.py"
MOST = 20
"""Iterations."""


@pytest.fixture
def data(tmp_path):
    """Three gray images whose left half is brighter, by more and more."""
    folder = tmp_path / "data" / "left"
    folder.mkdir(parents=True)
    for brighter in (10, 20, 30):
        pixels = np.full((16, 16, 3), 120, np.uint8)
        pixels[:, :8] += brighter
        Image.fromarray(pixels).save(folder / f"by{brighter}.png")
    return tmp_path / "data"


@pytest.fixture
def classifier(tmp_path):
    return shutil.copy(CLASSIFIER, tmp_path / "linear.py")


@pytest.fixture
def tune(data, classifier, tmp_path, capsys):
    """A search in `tuned/`: status and what was printed."""

    def call(*arguments, out="tuned", factory="factory", model=True):
        spec = ("--model", f"{classifier}:{factory}") if model else ()
        given = ("--images", data, "--float", "--max-iterations", MOST, "--out", tmp_path / out, "--quiet", *spec)
        status = status_of(["classify", "tune", *map(str, (*given, *arguments))])
        return status, capsys.readouterr()

    return call


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def distances(data):
    return [float(distance(to_tensor(read_image(path).pixels).double())) for path in sorted(data.rglob("*.png"))]


def lengths_of_steps(data, size):
    """Of each image: as many steps as it takes to cross the boundary, and their length; None: too many."""
    counts = [math.floor(d / size) + 1 for d in distances(data)]
    return [(count, count * size) if count <= MOST else None for count in counts]


def test_every_trial_scores_what_is_known_and_the_best_is_the_best(tune, data, tmp_path):
    arguments = ("--method", "pgd-l2", "--set", "radius=8", "--sampler", "grid", "--trials", 12)
    assert tune(*arguments)[0] == 0
    found = rows(tmp_path / "tuned" / "trials.csv")
    assert len({row["step_size"] for row in found}) == 12
    for row in found:
        known = lengths_of_steps(data, float(row["step_size"]))
        assert int(row["failures"]) == known.count(None)
        successes = [one for one in known if one]
        if successes:
            assert float(row["k"]) == pytest.approx(np.mean([k for k, _ in successes]))
            assert float(row["l2"]) == pytest.approx(np.mean([length for _, length in successes]), abs=1e-4)
    best = min(found, key=lambda row: (int(row["failures"]), float(row["l2"] or 0)))
    assert [row["best"] for row in found] == ["1" if row is best else "0" for row in found]
    assert best["failures"] == "0"
    assert float(best["l2"]) < 0.5 * max(float(row["l2"]) for row in found if row["failures"] == "0")


def test_the_papers_objective_prefers_one_large_step_to_many_small_ones(tune, data, tmp_path):
    arguments = ("--method", "pgd-l2", "--set", "radius=8", "--sampler", "grid", "--trials", 12)
    assert tune(*arguments, "--objective", "paper")[0] == 0
    found = rows(tmp_path / "tuned" / "trials.csv")
    best = next(row for row in found if row["best"] == "1")
    assert best["score"] == best["paper"] == max((row["paper"] for row in found), key=float)
    assert float(best["k"]) <= 2
    assert float(best["l2"]) > min(float(row["l2"]) for row in found if row["failures"] == "0")


def test_every_method_has_the_same_number_of_trials_and_its_files(tune, tmp_path):
    methods = "jnd,baseline,fgsm,fgv"
    status, printed = tune("--methods", methods, "--trials", 3, "--json")
    assert status == 0, printed.err
    found = rows(tmp_path / "tuned" / "trials.csv")
    assert [row["method"] for row in found] == [name for name in methods.split(",") for _ in range(3)]
    summary = json.loads(printed.out)["summary"]
    assert summary["objective"] == "l2"
    for name in methods.split(","):
        best = [row for row in found if row["method"] == name and row["best"] == "1"]
        assert [float(row["score"]) for row in best] == [summary["methods"][name]["score"]]
        assert (tmp_path / "tuned" / f"best-{name}.yaml").is_file()
        assert Image.open(tmp_path / "tuned" / f"search-{name}.png").width > 600


def test_the_configs_are_taken_by_config(tune, data, classifier, tmp_path, capsys):
    assert tune("--methods", "fgsm,jnd", "--trials", 3, "--stop-confidence", 0.6)[0] == 0
    best = {row["method"]: row for row in rows(tmp_path / "tuned" / "trials.csv") if row["best"] == "1"}
    model = ("--model", f"{classifier}:factory", "--quiet")
    compared = ("--config", tmp_path / "tuned" / "best.yaml", "--images", data, "--out", tmp_path / "compared")
    assert status_of(["classify", "compare", *map(str, (*compared, *model))]) == 0, capsys.readouterr().err
    for name in ("fgsm", "jnd"):
        summary = json.loads((tmp_path / "compared" / name / "summary.json").read_text())
        assert summary["mean_l2"] == pytest.approx(float(best[name]["l2"]))
        assert summary["mean_k"] == pytest.approx(float(best[name]["k"]))
    image = next(data.rglob("*.png"))
    attacked = ("--config", tmp_path / "tuned" / "best-jnd.yaml", image, "--out", tmp_path / "attacked")
    assert status_of(["classify", "attack", *map(str, (*attacked, *model))]) == 0, capsys.readouterr().err
    attack = json.loads((tmp_path / "attacked" / "run.json").read_text())["config"]["attack"]
    assert attack["step_size"] == float(best["jnd"]["step_size"])
    assert (attack["levels"], attack["max_iterations"], attack["stop_confidence"]) == (None, MOST, 0.6)


def test_a_config_says_where_it_comes_from(tune, tmp_path):
    assert tune("--method", "fgsm", "--trials", 2, "--seed", 5)[0] == 0
    comment = [line for line in (tmp_path / "tuned" / "best-fgsm.yaml").read_text().splitlines() if line[0] == "#"]
    for words in ("fgsm: trial", "objective: l2", "2 trials a method, seed 5", "linear.py:factory", "data: "):
        assert any(words in line for line in comment)


def test_an_interrupted_search_is_resumed_to_the_same(tune, classifier, tmp_path):
    arguments = ("--methods", "fgsm,jnd", "--trials", 4)
    assert tune(*arguments, out="whole", factory="interrupted")[0] == 0
    interrupt = Path(classifier).with_name("interrupt")
    interrupt.write_text("40")
    status, printed = tune(*arguments, factory="interrupted")
    assert (status, printed.out) == (130, "")
    assert "--resume goes on" in printed.err
    assert not (tmp_path / "tuned" / "best.yaml").exists()
    interrupt.unlink()
    assert tune(*arguments, "--resume", factory="interrupted")[0] == 0
    for name in ("trials.csv", "best.yaml", "best-fgsm.yaml", "best-jnd.yaml", "search-jnd.png"):
        assert (tmp_path / "tuned" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_more_trials_are_added_to_those_that_are_there(tune, tmp_path):
    assert tune("--method", "jnd", "--trials", 4, out="whole")[0] == 0
    assert tune("--method", "jnd", "--trials", 2)[0] == 0
    assert tune("--method", "jnd", "--trials", 4, "--resume")[0] == 0
    assert (tmp_path / "tuned" / "trials.csv").read_bytes() == (tmp_path / "whole" / "trials.csv").read_bytes()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (("--seed", 1), "config.seed was 0, now 1"),
        (("--objective", "paper"), "objective was 'l2', now 'paper'"),
        (("--set", "max_iterations=3"), "methods.fgsm.attack.max_iterations was 20, now 3"),
        (("--sampler", "grid", "--trials", 3), "grid_trials was 2, now 3"),
        (("--limit", 2), "data was"),
        ((), "holds this run already; --resume continues it"),
    ],
)
def test_another_search_is_refused_naming_the_key(tune, changed, words):
    before = ("--method", "fgsm", "--trials", 2, *(("--sampler", "grid") if "grid" in changed else ()))
    assert tune(*before)[0] == 0
    status, printed = tune(*before, *changed, *(["--resume"] if changed else []))
    assert status == 2
    assert words in printed.err
    assert len(printed.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--method", "jmd"), "unknown method 'jmd': did you mean"),
        (("--methods", "jnd,jnd"), "--methods names 'jnd' twice"),
        (("--method", "noise"), "method noise: has no parameter that could be searched"),
        (("--method", "fgsm", "--set", "step_size=1"), "method fgsm: has no parameter that could be searched"),
        (("--trials", 0), "0 trials: at least one is needed"),
        (("--objective", "l1"), "unknown objective 'l1'"),
        (("--sampler", "random"), "unknown sampler 'random'"),
        (("--also", "radius"), "--also radius: none of the methods has one"),
        (("--skip", 3), "--skip 3: the data set has 3 images"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tune, tmp_path, arguments, words):
    status, printed = tune(*arguments)
    assert (status, printed.out) == (2, "")
    assert words in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not (tmp_path / "tuned").exists()


def test_images_that_are_wrong_already_leave_nothing_to_tune_on(tune, data):
    (data / "left").rename(data / "right")
    status, printed = tune("--method", "fgsm", "--trials", 2)
    assert status == 2
    assert "none of the images can be attacked" in printed.err
