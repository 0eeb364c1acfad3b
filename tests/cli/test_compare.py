"""`detattack compare`: several methods over the same images, in one table with paired differences."""

import csv
import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detattack.runs.folder import RunFolder
from detattack.tasks.columns import Column
from detattack.tasks.detection.record import DetectionRecord
from detattack.tasks.detection.task import DETECTION
from detattack.workflows.compare import (
    Curve,
    Method,
    curve,
    differences,
    largest_distance,
    markdown_table,
    paired_difference,
    read_method,
    to_latex,
)
from tests.coco_squares import made, write_data

# The command


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path, 4)


@pytest.fixture
def compare(cli, toy):
    """A comparison on the toy detector in `cmp/`, as JSON."""

    def call(*arguments, methods="jnd,fgsm,pgd-linf,noise", factory="factory"):
        model = ("--model", f"{toy}:{factory}", "--device", "cpu", "--out", "cmp", "--json")
        return cli("compare", "--methods", methods, *arguments, *model)

    return call


def read(path):
    return json.loads(Path(path).read_text())


def rows_without_timing():
    rows = read("cmp/comparison.json")["methods"]
    return [{key: value for key, value in row.items() if key != "seconds_per_image"} for row in rows]


def test_one_table_in_four_formats_and_a_figure(compare, data):
    said = compare(*data, "--set", "pgd-linf.radius=0.5", "--score-threshold", 0.05)
    assert said.status == 0, said.err
    rows = {row["method"]: row for row in said.json["summary"]["methods"]}
    assert list(rows) == ["jnd", "fgsm", "pgd-linf", "noise"]
    assert rows["jnd"]["success_rate"] == rows["pgd-linf"]["success_rate"] == 1.0
    assert rows["noise"]["success_rate"] == 0.0
    assert rows["jnd"]["median_l2"] < rows["fgsm"]["median_l2"]
    assert rows["jnd"]["ap_clean"] > 0.9
    assert rows["jnd"]["ap_adversarial"] == 0
    assert said.json["summary"] == read("cmp/comparison.json")
    table = list(csv.DictReader(Path("cmp/comparison.csv").read_text().splitlines()))
    assert [row["method"] for row in table] == list(rows)
    assert float(table[0]["median_l2"]) == rows["jnd"]["median_l2"]
    assert "| jnd | 100.0% |" in Path("cmp/comparison.md").read_text()
    assert r"100.0\%" in Path("cmp/comparison.tex").read_text()
    assert Image.open("cmp/comparison.png").width > 1000
    assert Path("cmp/comparison.pdf").read_bytes().startswith(b"%PDF")


def test_one_method_at_several_radii(compare, data, cli):
    methods = "jnd,pgd-linf@2.5,pgd-linf@8,pgd-linf"
    said = compare(*data, "--float", "--set", "pgd-linf@2.5.max_iterations=7", methods=methods)
    assert said.status == 0, said.err
    names = methods.split(",")
    assert [row["method"] for row in said.json["summary"]["methods"]] == names
    assert list(said.json["summary"]["curves"]) == names
    attacks = {name: read(f"cmp/{name}/run.json")["config"]["attack"] for name in names}
    assert {name: attack["name"] for name, attack in attacks.items()} == {name: name for name in names}
    assert attacks["pgd-linf@2.5"]["radius"] == pytest.approx(2.5 / 255)
    assert [attacks[name]["max_iterations"] for name in names[1:]] == [7, 100, 100]
    for suffix, cell in (("md", "| pgd-linf@2.5 |"), ("csv", "\npgd-linf@2.5,"), ("tex", "\npgd-linf@2.5 &")):
        assert cell in Path(f"cmp/comparison.{suffix}").read_text()
    assert cli("verify", "cmp/pgd-linf@8", "--trust").status == 0
    assert compare(*data, "--float", "--set", "pgd-linf@2.5.max_iterations=7", "--resume", methods=methods).status == 0


def test_each_method_is_a_run_of_the_same_images(compare, data, cli):
    assert compare(*data, methods="jnd,fgsm").status == 0
    manifests = [read(f"cmp/{name}/run.json") for name in ("jnd", "fgsm")]
    assert manifests[0]["data"] == manifests[1]["data"]
    assert [m["config"]["attack"]["name"] for m in manifests] == ["jnd", "fgsm"]
    assert cli("verify", "cmp/fgsm", "--trust").status == 0


def test_noise_has_the_l2_of_the_jnd_run_of_the_same_image(compare, data):
    compare(*data, "--set", "jnd.step_size=0.4", methods="noise,jnd")
    lengths = dict(read("cmp/noise/run.json")["lengths"])
    assert len(lengths) == 3
    assert [row["method"] for row in read("cmp/comparison.json")["methods"]] == ["noise", "jnd"]
    with (
        closing(RunFolder.open(Path("cmp/noise"), DetectionRecord)) as noise,
        closing(RunFolder.open(Path("cmp/jnd"), DetectionRecord)) as jnd,
    ):
        wanted = {r.id: r.quality["l2"] for r in jnd.iterate() if r.quality}
        got = {r.id: r.quality["l2"] for r in noise.iterate() if r.quality}
    assert lengths == wanted
    assert got == pytest.approx(wanted, rel=0.02)
    assert all(got[i] >= wanted[i] - 1e-6 for i in wanted)


HEALING = '''
class Healing(Toy):
    """Fails once."""

    def candidates(self, images, extra_boxes=None):
        ill = Path(__file__).with_name("ill")
        if is_marked(images) and ill.exists():
            ill.unlink()
            raise RuntimeError("out of cheese")
        return super().candidates(images, extra_boxes)
'''


def test_errors_tried_again_change_the_lengths_of_the_control(cli, toy, tmp_path):
    (tmp_path / "healing.py").write_text(Path(toy).read_text() + HEALING)
    line = ("compare", *write_data(tmp_path, 4, mark=1), "--goal", "suppress:car", "--device", "cpu", "--quiet")
    line = (*line, "--methods", "jnd,noise", "--model", "healing.py:Healing", "--quality", "all")
    assert cli(*line, "--out", "whole").status == 0
    (tmp_path / "ill").touch()
    assert cli(*line, "--out", "cmp").status == 0
    assert [read(f"cmp/{name}/summary.json")["error"] for name in ("jnd", "noise")] == [1, 0]
    assert cli(*line, "--out", "cmp", "--retry-errors").status == 2
    assert cli(*line, "--out", "cmp", "--resume", "--retry-errors").status == 0
    for name in ("jnd", "noise"):
        assert made(tmp_path / "cmp" / name) == made(tmp_path / "whole" / name)
        assert read(f"cmp/{name}/run.json")["lengths"] == read(f"whole/{name}/run.json")["lengths"]
        assert cli("verify", f"cmp/{name}", "--trust", "--device", "cpu").status == 0


def test_a_comparison_is_resumed_to_the_same_bytes(compare, data, toy):
    assert compare(*data, methods="jnd,noise").status == 0
    before = {name: made(Path("cmp") / name) for name in ("jnd", "noise")}
    table = rows_without_timing()
    said = compare(*data, methods="jnd,noise")
    assert said.status == 2
    assert "--resume" in said.err
    for path in (Path("cmp/comparison.json"), Path("cmp/noise/summary.json")):
        path.unlink()
    assert compare(*data, "--resume", methods="jnd,noise").status == 0
    assert {name: made(Path("cmp") / name) for name in ("jnd", "noise")} == before
    assert rows_without_timing() == table


def test_without_annotations_there_is_no_ap(compare, data):
    rows = compare(*data[:2], methods="jnd").json["summary"]["methods"]
    assert rows[0]["ap_clean"] is None
    assert "| - | - |" in Path("cmp/comparison.md").read_text()


def test_missing_images_are_said_once_for_all_methods(compare, data, tmp_path):
    (tmp_path / "data/0/i0.png").unlink()
    said = compare(*data, "--missing", "error", methods="jnd,fgsm")
    assert (said.status, said.out) == (2, "")
    assert "1 of the 4 annotated images is not in" in said.err
    said = compare(*data, methods="jnd,fgsm")
    assert said.status == 0
    assert " ".join(said.err.split()).count("1 of the 4 annotated images is not in") == 1
    for method in ("jnd", "fgsm"):
        summary = read(f"cmp/{method}/summary.json")
        assert (summary["images"], summary["error"], summary["ap"]["images"]) == (3, 0, 3)


def test_strict(compare, tmp_path):
    data = write_data(tmp_path, 3, mark=0)
    assert compare(*data, methods="fgsm", factory="raising").status == 0
    assert compare(*data, "--resume", "--strict", methods="fgsm", factory="raising").status == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--methods", "jnd,jdn"), ("'jdn'", "jnd")),
        (("--methods", "jnd,jnd"), ("'jnd' twice",)),
        (("--methods", ""), ("method",)),
        (("--methods", "jnd", "--set", "fgsm.step_size=1"), ("'fgsm' is not among",)),
        (("--methods", "jnd", "--set", "stepsize=1"), ("stepsize", "step_size")),
        (("--methods", "pgd-linf", "--set", "pgd-linf.radius=-1"), ("radius",)),
        (("--methods", "pgd-linf@4,pgd-linf@4.0"), ("'pgd-linf@4' twice",)),
        (("--methods", "jnd,fgsm@4"), ("'fgsm@4'", "no radius")),
        (("--methods", "pgd-linf@300"), ("pgd-linf@300", "255")),
        (("--methods", "pgd-linf@4", "--set", "pgd-linf@8.step_size=1"), ("'pgd-linf@8' is not among",)),
        (("--methods", "pgd-linf@4", "--set", "pgd-linf@4.stepsize=1"), ("stepsize", "step_size")),
        (("--methods", "pgd-linf@4", "--set", "radius=0.1"), ("pgd-linf@4", "radius already")),
    ],
)
def test_bad_input(refused, toy, data, arguments, words):
    refused("compare", *data, "--model", f"{toy}:factory", *arguments, "--out", "cmp", words=words)


# The arithmetic


def method(name, **values):
    """Values by measure, a list over images 1, 2, ..."""
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return Method(name, {}, dict(enumerate(rows, 1)), {})


def test_differences_are_over_images_where_both_succeed():
    first = method("a", success=[1, 1, 0, 1], l2=[1.0, 2.0, 9.0, 3.0])
    other = method("b", success=[1, 1, 1, 0], l2=[2.0, 5.0, 1.0, 1.0])
    found = differences([first, other])["b"]
    assert (found["l2"]["images"], found["l2"]["mean"]) == (2, 2.0)
    assert (found["success"]["images"], found["success"]["mean"]) == (4, 0.0)
    assert found["psnr"] == {"images": 0, "mean": None, "interval": None}


def test_the_interval_covers_the_mean_and_is_seeded():
    rng = np.random.default_rng(0)
    others = rng.normal(10, 3, 200)
    values = others + rng.normal(1, 2, 200)
    found = paired_difference(values, others)
    low, high = found["interval"]
    assert found == paired_difference(values, others)
    assert high - low == pytest.approx(2 * 1.96 * np.std(values - others) / np.sqrt(200), rel=0.1)
    assert low < found["mean"] < high
    assert low > 0


def test_a_curve_holds_what_a_budget_reaches(compare, data):
    compare(*data, "--score-threshold", 0.05, methods="jnd")
    found = Curve(**read("cmp/comparison.json")["curves"]["jnd"])
    summary = read("cmp/jnd/summary.json")
    assert (found.distances[0], found.success[0]) == (0, 0)
    assert found.success[-1] == 1.0
    assert found.ap[0] == pytest.approx(summary["ap"]["clean"]["ap"], abs=1e-9)
    assert found.ap[-1] == pytest.approx(summary["ap"]["adversarial"]["ap"], abs=1e-9)
    assert list(found.success) == sorted(found.success)


def test_the_curve_of_a_budget_ends_at_the_ap_that_is_left(cli, toy, data, tmp_path):
    """All images are attacked, also those whose goal does not hold: scores above τ still, and below what AP counts."""
    line = ("evaluate", *data, "--model", f"{toy}:factory", "--goal", "degrade:all", "--method", "pgd-linf", "--quiet")
    spent = ("--budget", "linf:26", "--passes", 10, "--score-threshold", 0.01, "--out", "spent")
    assert cli(*line, *spent).status == 0
    with closing(RunFolder.open(tmp_path / "spent", DETECTION.record_type)) as folder:
        found = read_method("pgd-linf", folder)
        traced = curve(found, folder, DETECTION, DETECTION.annotations_in(folder), largest_distance([found]))
    assert found.summary["success_rate"] == traced.success[-1] == 0
    assert traced.ap[0] == found.summary["ap"]["clean"]["ap"] == 1
    assert traced.ap[-1] == found.summary["ap"]["adversarial"]["ap"] == 0


def test_latex_escapes():
    row = dict.fromkeys(("success_low", "success_high", "median_k", "median_l2", "median_linf", "median_psnr"))
    row |= dict.fromkeys(("attacked", "median_ssim", "ap_clean", "ap_adversarial"))
    row |= dict.fromkeys(("median_forwards", "median_backwards"))
    text = to_latex([{"method": "a_b", "success_rate": 0.5, "seconds_per_image": None, **row}], DETECTION.columns)
    assert r"a\_b & 50.0\% & - &" in text


def test_names_obey_neither_latex_nor_markdown():
    rows, columns = [{"model": r"~/a|b#1^{2}$\x.py", "l2": 0.5}], [Column("model", "model"), Column("l2", "L∞", ".1f")]
    written = r"\textasciitilde{}/a|b\#1\textasciicircum{}\{2\}\$\textbackslash{}x.py & 0.5 \\"
    assert to_latex(rows, columns).splitlines()[2:5] == [r"model & L$_\infty$ \\", r"\midrule", written]
    assert markdown_table(rows, columns).splitlines()[2] == r"| ~/a\|b#1^{2}$\x.py | 0.5 |"
