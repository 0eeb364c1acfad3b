"""The paper's tables and figures, from the command line to the numbers in their files."""

import csv
import json
import os
import shutil
import statistics
import tarfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from classify.paper import config as configs
from classify.paper import densities, running
from classify.paper.config import NAMES, Runs, Variant, load
from classify.paper.names import METRICS
from classify.paper.order import agreement, order
from classify.record import ClassificationRecord
from detattack.cli import status_of
from detattack.core.errors import InputError
from detattack.runs.folder import RunFolder
from tests.toy_classifier import NAMES as COLORS

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("DETATTACK_SHARED", ROOT / ".." / "shared")).resolve()
CIFAR10 = SHARED / "data" / "cifar10-test.tar.gz"
IMAGENET = SHARED / "data" / "imagenet-400"
TOY = ROOT / "tests" / "toy_classifier.py"

needs_cifar10 = pytest.mark.skipif(not CIFAR10.is_file(), reason="needs CIFAR-10 (DETATTACK_SHARED)")
needs_imagenet = pytest.mark.skipif(not IMAGENET.is_dir(), reason="needs ImageNet photos (DETATTACK_SHARED)")


def records(folder: Path) -> list[ClassificationRecord]:
    with closing(RunFolder.open(folder, ClassificationRecord)) as opened:
        return opened.records()


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """Runs `detattack reproduce` in an empty folder: the status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def reproduce(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = status_of(["reproduce", *map(str, arguments)])
        return status, *capsys.readouterr()

    return reproduce


# The files in configs/paper


@pytest.mark.parametrize("name", NAMES)
def test_every_config_holds_together(name):
    experiment = load(name)
    assert experiment.title.startswith(name.replace("table", "Table ").replace("fig", "Figure "))
    if experiment.kind == "detection":
        return
    _, runs = running.runs_of(name, experiment)
    for row, asked in runs.rows.items():
        for variant in runs.variants.values():
            running.attack_of(row, asked, variant)
    assert set(experiment.rows or ()) <= set(runs.rows)
    assert set(experiment.variants or ()) <= set(runs.variants)
    assert set(experiment.metrics) <= set(METRICS)
    for published in (experiment.paper, *(variant.paper for variant in runs.variants.values())):
        assert set(published) <= set(METRICS)
        assert {row for stated in published.values() for row in stated} <= set(runs.rows)


def test_tables_state_what_the_paper_does():
    assert load("table1").paper["ssim"] == {
        "baseline": 0.953,
        "jnd": 0.998,
        "fgsm": 0.989,
        "fgv": 0.985,
        "deepfool": 0.991,
    }
    assert load("table2").paper["l2"] == {"jnd": 0.21, "fgsm": 0.70, "fgv": 1.12, "deepfool": 0.54}
    runs = load("table3").runs
    assert isinstance(runs, Runs)
    assert [variant.stop_confidence for variant in runs.variants.values()] == [0.25, 0.6]
    assert runs.images == 500
    assert runs.variants["float-0.60"].paper["k"]["jnd"] == 125.2
    assert load("table5").paper["linf"]["jnd"] == 0.0002
    imagenet = load("table4").runs
    assert isinstance(imagenet, Runs)
    assert (imagenet.images, imagenet.skip, imagenet.rows["deepfool-1000"].images) == (200, 59, 50)


def test_a_config_names_no_place_of_this_machine():
    for path in configs.configs_folder().glob("*.yaml"):
        assert "../" not in path.read_text()
        assert ": /" not in path.read_text()


# The order of the methods


def test_the_same_order_the_reverse_and_one_pair_swapped():
    paper = {"a": 1.0, "b": 2.0, "c": 3.0}
    same = agreement({"a": 10, "b": 20, "c": 21}, paper)
    assert (same.pairs, same.differing, same.tau) == (3, (), 1)
    assert agreement({"a": 3, "b": 2, "c": 1}, paper).tau == -1
    swapped = agreement({"a": 1, "b": 3, "c": 2}, paper)
    assert swapped.differing == (("c", "b"),)
    assert swapped.tau == pytest.approx(1 / 3)


def test_ties_in_ours_differ_and_ties_in_the_papers_do_not_count():
    tied = agreement({"a": 1, "b": 1}, {"a": 1, "b": 2})
    assert (tied.pairs, tied.differing, tied.ties, tied.tau) == (1, (("b", "a"),), 1, 0)
    assert agreement({"a": 1, "b": 2}, {"a": 5, "b": 5}).tau is None


def test_methods_that_one_side_lacks_are_left_out():
    found = agreement({"a": 1, "b": 2, "new": 0}, {"a": 1, "b": 2, "gone": 3})
    assert (found.pairs, found.tau) == (1, 1)


def test_the_order_is_over_the_images_on_which_all_succeed():
    """On image 2, the hard one, b fails: over its own successes a would look worse than b."""
    methods = {
        "a": {1: {"success": 1, "l2": 1.0}, 2: {"success": 1, "l2": 9.0}},
        "b": {1: {"success": 1, "l2": 2.0}, 2: {"success": 0, "l2": 0.5}},
        "not in the paper": {1: {"success": 0, "l2": 0.1}},
    }
    found = order(methods, {"l2": {"a": 1, "b": 2}})
    assert found.images == 1
    assert found.by_metric["l2"].tau == 1
    nothing = order({"a": {1: {"success": 0}}, "b": {1: {"success": 1, "l2": 1}}}, {"l2": {"a": 1, "b": 2}})
    assert (nothing.images, nothing.by_metric["l2"].tau) == (0, None)


# Densities


def test_a_density_has_the_area_one_and_a_reflected_one_has_it_above_zero():
    values = np.random.default_rng(0).exponential(1, 500)
    for at, reflected in ((np.linspace(-3, 15, 4000), False), (np.linspace(0, 15, 4000), True)):
        assert np.trapezoid(densities.density(values, at, reflected), at) == pytest.approx(1, abs=0.01)


def test_the_density_of_many_normal_values_is_normal():
    values = np.random.default_rng(0).normal(size=20000)
    at = np.linspace(-2, 2, 9)
    np.testing.assert_allclose(densities.density(values, at), np.exp(-(at**2) / 2) / np.sqrt(2 * np.pi), atol=0.02)


def test_equal_values_have_a_density():
    assert np.isfinite(densities.density(np.ones(5), np.linspace(0, 2, 5))).all()


# From the command line, on a classifier of colors


@pytest.fixture
def colors(tmp_path):
    """Nine images, three of a class, in class folders."""
    rng = np.random.default_rng(0)
    for i in range(9):
        pixels = rng.integers(60, 140, (12, 12, 3))
        pixels[..., i % 3] += 40 + 5 * i
        folder = tmp_path / "data" / COLORS[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"image{i:02d}.png")
    return tmp_path / "data"


TOY_ROWS: dict[str, dict] = {
    "baseline": {"set": {"step_size": 0.02}},
    "jnd": {},
    "fgsm": {"set": {"step_size": 0.004}},
    "deepfool": {"classes": 10},
    "deepfool-few": {"method": "deepfool", "images": 3, "batch": 1},
    "noise": {"variants": ["float"]},
}
"""What is run on nine images in the place of the rows of Table 4."""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The configs with other rows for ImageNet, and no image left out."""
    folder = tmp_path / "configs"
    shutil.copytree(configs.configs_folder(), folder)
    for name in ("table4", "table5", "fig4"):
        content = yaml.safe_load((folder / f"{name}.yaml").read_text())
        for metric, stated in content.get("paper", {}).items():
            content["paper"][metric] = {row: value for row, value in stated.items() if row in TOY_ROWS}
        if name != "table5":
            content["runs"] |= {"skip": 0, "every": 1, "images": 9}
        if name == "table4":
            content["runs"]["rows"] = TOY_ROWS
        if name == "fig4":
            content["runs"]["rows"]["jnd"]["set"] |= {"step_size": 0.2, "l2_weight": 0.001}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    monkeypatch.setattr(configs, "configs_folder", lambda: folder)
    return folder


@pytest.fixture
def toy(call, colors, small):
    """`reproduce` on the nine images."""

    def reproduce(*arguments: object) -> tuple[int, str, str]:
        return call(*arguments, "--imagenet", colors, "--imagenet-model", f"{TOY}:Channels")

    return reproduce


def expected(folder: Path, key: str) -> float | None:
    """The mean of a measure over the successes of a run."""
    wins = [record for record in records(folder) if record.status == "success"]
    values = [record.k if key == "k" else record.quality[key] for record in wins]
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def test_a_table_has_the_numbers_of_its_runs(toy, tmp_path):
    status, out, err = toy("table4", "table5", "--out", "paper")
    assert status == 0, err
    judged = {"floats": "float", "8-bit": "8-bit"}
    for name, metrics in (("table4", load("table4").metrics), ("table5", load("table5").metrics)):
        rows = rows_of(tmp_path / "paper" / name / f"{name}.csv")
        assert [row["method"] for row in rows] == [*TOY_ROWS, *(row for row in TOY_ROWS if row != "noise")]
        for row in rows:
            folder = tmp_path / "paper" / "table4" / "runs" / judged[row["judged"]] / row["method"]
            own = records(folder)
            count = TOY_ROWS[row["method"]].get("images", 9)
            assert int(row["images"]) == len(own) == count
            assert float(row["success_rate"]) == sum(r.status == "success" for r in own) / count
            assert float(row["file_success_rate"]) == pytest.approx(sum(r.file_success for r in own) / count)
            assert float(row["seconds_per_image"]) == pytest.approx(statistics.fmean(r.seconds for r in own))
            for metric in (*metrics, "k"):
                mean = expected(folder, metric)
                assert row[metric] == "" if mean is None else float(row[metric]) == pytest.approx(mean), metric
                if metric != "k":
                    stated = load(name).paper[metric].get(row["method"])
                    assert row[f"{metric}_paper"] == ("" if stated is None else str(stated))
        for suffix in ("md", "tex", "json", "png", "pdf"):
            assert (tmp_path / "paper" / name / f"{name}.{suffix}").stat().st_size > 200
    told = json.loads((tmp_path / "paper" / "table5" / "table5.json").read_text())
    assert told["model"]["fingerprint"] in out
    assert told["data"]["fingerprint"] in out
    assert told["orders"]["floats"]["images"] == 9
    assert told["orders"]["floats"]["l2"]["pairs"] == 3
    assert "NOT A RESULT" not in out


def test_a_second_call_runs_nothing_and_writes_the_same_bytes(toy, tmp_path, monkeypatch):
    figures = ("table4", "table5", "fig3", "fig4")
    assert toy(*figures, "--out", "paper", "--quiet")[0] == 0
    before = {path: path.read_bytes() for name in figures for path in (tmp_path / "paper" / name).glob("*.*")}

    def never(*arguments: object) -> None:
        raise AssertionError("ran again")

    monkeypatch.setattr("detattack.tasks.experiment.attack_batch", never)
    monkeypatch.setattr("detattack.runs.measure.measure", never)
    assert toy(*figures, "--out", "paper", "--quiet")[0] == 0
    assert {path: path.read_bytes() for path in before} == before
    assert {path.suffix for path in before if path.name != ".lock"} == {".csv", ".md", ".tex", ".json", ".png", ".pdf"}


def test_interrupted_it_says_how_to_go_on_and_goes_on(toy, tmp_path, monkeypatch):
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("detattack.tasks.experiment.attack_batch", interrupt)
        status, _, err = toy("fig3", "--out", "paper")
    assert status == 130
    assert "the same command goes on" in err
    assert toy("fig3", "--out", "paper")[0] == 0
    rows = rows_of(tmp_path / "paper" / "fig3" / "fig3.csv")
    assert {row["method"] for row in rows} == {"jnd", "baseline"}
    assert len({row["was"] for row in rows}) == 3  # one image of each class


def test_fewer_images_are_said_loudly_and_kept_apart(toy, tmp_path):
    status, out, err = toy("table5", "--limit", 3)
    assert status == 0, err
    assert "NOTE: --limit 3" in err
    assert "NOT A RESULT TO PUBLISH: 3 images (--limit) in the place of 9" in out
    assert (tmp_path / "runs" / "paper-first-3" / "table5" / "table5.csv").is_file()
    assert (tmp_path / "runs" / "paper-first-3" / "table4" / "runs" / "float" / "jnd" / "run.json").is_file()
    status, _, err = toy("table5", "--limit", 2, "--out", "runs/paper-first-3")
    assert (status, len([line for line in err.splitlines() if line.startswith("detattack:")])) == (2, 1)
    assert "holds another run: data was" in err


def test_runs_on_a_part_of_the_images_can_be_repeated(toy, small):
    """One on each second image, and one on the first three of those of the table."""
    path = small / "fig4.yaml"
    content = yaml.safe_load(path.read_text())
    content["runs"] |= {"skip": 1, "every": 2, "images": 3}
    path.write_text(yaml.safe_dump(content))
    assert toy("fig4", "table5", "--out", "paper", "--quiet")[0] == 0
    for number, run in enumerate(("fig4/runs/float/jnd", "table4/runs/float/deepfool-few")):
        assert status_of(["rerun", f"paper/{run}", "--trust", "--out", f"again{number}", "--quiet"]) == 0, run


def test_json_is_one_object(toy):
    status, out, _ = toy("fig4", "--json", "--quiet", "--out", "paper")
    found = json.loads(out)
    assert status == 0
    assert found["run"] == "paper"
    rows = found["summary"]["fig4"]["rows"]
    assert len({row["image"] for row in rows}) == load("fig4").samples
    for image in {row["image"] for row in rows}:
        rise = [row["confidence"] for row in rows if row["image"] == image]
        k = next(row["k"] for row in rows if row["image"] == image)
        assert len(rise) == 121  # on past K, to the end
        assert 0 < k < 120
        assert rise[k] == pytest.approx(0.5, abs=0.1)  # three classes, of which two share nearly all
        assert rise[k - 1] < rise[k] < rise[-1]


def test_bad_input(call, tmp_path, colors, small, monkeypatch):
    monkeypatch.setenv("DETATTACK_SHARED", str(tmp_path / "nowhere"))
    checkout = tmp_path / "cifar10"
    checkout.mkdir()
    (checkout / "prepare.py").touch()
    for arguments, words in (
        (("table6",), ("table6", "did you mean 'table1'")),
        (("table1",), ("CIFAR-10", "detattack data prepare cifar10", "--cifar10")),
        (("table1", "--cifar10", checkout), ("is not in", "detattack data prepare cifar10")),
        (("table4", "--imagenet", colors), ("weights", "no such file", "--imagenet-weights")),
        (("table4", "--imagenet-model", f"{TOY}:Channels"), ("ImageNet", "--imagenet")),
        (("fig1", "--cifar10", tmp_path / "gone"), ("no folder", "gone")),
    ):
        status, out, err = call(*arguments, "--out", "paper", "--quiet")
        assert (status, out, len(err.splitlines())) == (2, "", 1), err
        assert all(word in err for word in words), err
        assert not (tmp_path / "paper").exists()


def test_a_config_that_cannot_be(small):
    path = small / "table5.yaml"
    content = yaml.safe_load(path.read_text())
    for change, word in (({"metrics": 3}, "metrics"), ({"color": 1}, "color"), ({"runs": None}, "runs")):
        path.write_text(yaml.safe_dump(content | change))
        with pytest.raises(InputError, match=word):
            load("table5")


def test_a_confidence_and_floats_are_the_variants():
    row = configs.Row(method="fgsm", set={"step_size": 0.01})
    attack = running.attack_of("anything", row, Variant(title="", floats=True, stop_confidence=0.6))
    assert (attack.name, attack.step_size, attack.levels) == ("fgsm", 0.01, None)
    assert (attack.stop, attack.stop_confidence) == ("confidence", 0.6)
    assert running.attack_of("fgsm", configs.Row(), Variant(title="")).levels == 256


# On real images


@pytest.fixture(scope="session")
def cifar10(tmp_path_factory):
    """The first test images of each class of CIFAR-10."""
    folder = tmp_path_factory.mktemp("cifar10")
    with tarfile.open(CIFAR10) as archive:
        for info in archive:
            name = Path(info.name)
            if info.isfile() and name.stem.isdecimal() and int(name.stem) < 2:
                target = folder / "test" / name.parent.name / name.name
                target.parent.mkdir(parents=True, exist_ok=True)
                content = archive.extractfile(info)
                assert content is not None
                target.write_bytes(content.read())
    return folder


@needs_cifar10
@pytest.mark.slow
def test_table_3_and_figure_2_on_cifar10(call, cifar10, tmp_path):
    status, out, err = call("table3", "fig2", "--cifar10", cifar10, "--limit", 3, "--out", "paper")
    assert status == 0, err
    runs = tmp_path / "paper" / "table3" / "runs"
    for method in ("fgsm", "jnd"):
        low, high = ({r.id: r for r in records(runs / f"float-{c}" / method)} for c in ("0.25", "0.60"))
        assert low.keys() == high.keys()
        for image, record in high.items():
            assert record.label == record.leaves
            if record.status == "success":
                assert record.confidence_after >= 0.6
                assert record.k >= low[image].k
    for suffix in ("png", "pdf", "csv", "md", "json"):
        assert (tmp_path / "paper" / "fig2" / f"fig2.{suffix}").is_file()
    assert "CIFAR-10" in out


@needs_cifar10
@pytest.mark.slow
def test_densities_are_of_the_runs_of_table_1(call, cifar10, tmp_path):
    status, out, err = call("fig8", "fig7", "fig1", "--cifar10", cifar10, "--limit", 4, "--out", "paper")
    assert status == 0, err
    runs = tmp_path / "paper" / "table1" / "runs" / "float"
    assert sorted(path.name for path in runs.iterdir()) == ["baseline", "deepfool", "fgsm", "fgv", "jnd"]
    for row in rows_of(tmp_path / "paper" / "fig8" / "fig8.csv"):
        record = next(r for r in records(runs / row["method"]) if r.id == int(row["image"]))
        assert float(row["value"]) == pytest.approx((record.quality["l2"] or 0) ** 2)
    for row in rows_of(tmp_path / "paper" / "fig7" / "fig7.csv"):
        record = next(r for r in records(runs / row["method"]) if r.id == int(row["image"]))
        assert float(row["value"]) == pytest.approx(record.quality["kl_histogram"])


@needs_imagenet
@pytest.mark.slow
def test_figure_3_on_imagenet_leaves_out_the_images_for_tuning(call, tmp_path, monkeypatch):
    monkeypatch.setenv("DETATTACK_SHARED", str(SHARED))
    status, out, err = call("fig3", "--limit", 2, "--out", "paper")
    assert status == 0, err
    assert "after the first 59" in out
    assert "squeezenet1_1" in out
    found = records(tmp_path / "paper" / "table4" / "runs" / "float" / "jnd")
    assert [record.status for record in found] == ["success"] * 2
    assert min(record.id for record in found) > 59


@pytest.mark.slow
def test_figures_of_the_embedded_detector(call, tmp_path):
    status, out, err = call("fig6", "--out", "paper")
    assert status == 0, err
    rows = rows_of(tmp_path / "paper" / "fig6" / "fig6.csv")
    assert {row["method"] for row in rows} == {"jnd", "fgsm", "fgv"}
    assert {row["image"] for row in rows if row["shown"] == "yes"} == {
        next(row["image"] for row in rows if row["status"] == "success")
    }
    assert (tmp_path / "paper" / "fig6" / "fig6.pdf").is_file()
    assert "suppress:car" in out
