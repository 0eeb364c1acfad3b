"""The minimum-norm methods and `--perceptual` by their names on the command line, for detectors and classifiers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.coco_squares import write_data
from tests.linear_classifier import distance
from tests.toy_pictures import write_left

CLASSIFIER = Path(__file__).parents[1] / "linear_classifier.py"
METHODS = "jnd,jnd-min,ddn,fmn,cw,deepfool"


def rows_of(said):
    assert said.status == 0, said.err
    return {row["method"]: row for row in said.json["summary"]["methods"]}


def test_detectors(cli, toy, tmp_path):
    model = ("--model", f"{toy}:factory", "--device", "cpu", "--out", "cmp", "--json")
    rows = rows_of(cli("compare", "--methods", METHODS, *write_data(tmp_path, 3), *model))
    assert all(row["success_rate"] == 1.0 for row in rows.values())
    assert rows["jnd-min"]["median_l2"] <= 1.001 * min(row["median_l2"] for row in rows.values())
    for method in ("jnd-min", "deepfool"):
        assert cli("verify", f"cmp/{method}", "--trust").status == 0


@pytest.fixture
def pictures(tmp_path):
    return write_left(tmp_path / "pictures", 3)


def test_classifiers(cli, pictures):
    """A linear one, so the smallest change is known. All values count the same here, so that rounding has no better
    ones to choose."""
    model = ("--model", f"{CLASSIFIER}:factory", "--device", "cpu", "--out", "cmp", "--json")
    rows = rows_of(cli("classify", "compare", "--methods", METHODS, "--images", pictures, *model))
    assert all(row["success_rate"] == 1.0 for row in rows.values())
    assert rows["jnd-min"]["median_l2"] == min(row["median_l2"] for row in rows.values())
    for path in (pictures / "left").iterdir():
        before, after = (np.asarray(Image.open(p)) / 255 for p in (path, Path("cmp/jnd-min/images") / path.name))
        smallest = float(distance(torch.from_numpy(before).permute(2, 0, 1).float()))
        assert smallest <= np.linalg.norm(after - before) <= 1.05 * smallest


@pytest.mark.parametrize("method", ["jnd", "jnd-min"])
def test_perceptual_is_part_of_the_run_and_changes_it(cli, toy, tmp_path, method):
    model = ("--model", f"{toy}:factory", "--device", "cpu", "--method", method, "--quiet")
    for name, option in {"plain": (), "seen-less": ("--perceptual",)}.items():
        assert cli("evaluate", *write_data(tmp_path, 2), *model, *option, "--out", name).status == 0
    manifests = [json.loads(Path(name, "run.json").read_text()) for name in ("plain", "seen-less")]
    assert [one["config"]["attack"]["perceptual"] for one in manifests] == [False, True]
    plain, less = (Path(name, "images", "i0-100.png").read_bytes() for name in ("plain", "seen-less"))
    assert plain != less
