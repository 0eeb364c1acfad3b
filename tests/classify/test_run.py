"""A classifier's run from the command line: statuses, books, files, resume, verify, and bad input."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from classify import task as run
from classify.record import ClassificationRecord
from detattack.cli import status_of
from detattack.datasets.image_io import read_image, to_tensor
from detattack.runs.folder import RunFolder
from detattack.workflows import budgets
from tests.toy_classifier import NAMES, nearest_boundary

CUT = """
from tests.toy_classifier import Channels

class Cut(Channels):
    def logits(self, images):
        return super().logits(images.detach())

factory = Cut
"""
BREAKING = """
from pathlib import Path
from tests.toy_classifier import Channels

class Breaking(Channels):
    calls = 0

    def logits(self, images):
        self.calls += 1
        if self.calls > 40 and not Path(__file__).with_name("well").exists():
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return super().logits(images)

factory = Breaking
"""
TOY = "tests/toy_classifier.py:Channels"
SIDE = 12


@pytest.fixture
def colors(tmp_path):
    """Twelve images of a class each, in class folders; `blue/wrong` is red in truth."""
    rng = np.random.default_rng(0)
    for i in range(12):
        channel = i % 3
        pixels = rng.integers(60, 140, (SIDE, SIDE, 3))
        pixels[..., channel] += 40
        folder = tmp_path / "data" / NAMES[channel]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"image{i:02d}.png")
    wrong = np.full((SIDE, SIDE, 3), 90, np.uint8)
    wrong[..., 0] = 200
    Image.fromarray(wrong).save(tmp_path / "data" / "blue" / "wrong.png")
    return tmp_path / "data"


def compare(capsys, *arguments):
    status = status_of(["classify", "compare", "--model", TOY, "--quiet", *map(str, arguments)])
    return status, capsys.readouterr()


def records(path) -> list[ClassificationRecord]:
    folder = RunFolder.open(path, ClassificationRecord)
    try:
        return folder.records()
    finally:
        folder.close()


def test_missing_images_are_in_no_rate(colors, tmp_path, capsys):
    rows = {f"red/image{i:02d}.png": "red" for i in range(0, 15, 3)}  # the last is not there
    (tmp_path / "labels.json").write_text(json.dumps(rows))
    given = ("--images", colors, "--labels", tmp_path / "labels.json", "--methods", "fgsm", "--strict")
    status, said = compare(capsys, *given, "--missing", "error", "--out", tmp_path / "cmp")
    assert (status, (tmp_path / "cmp").exists()) == (2, False)
    assert f"1 of the 5 labeled images is not in {colors} (the first: 'red/image12.png')" in said.err
    assert compare(capsys, *given, "--out", tmp_path / "cmp")[0] == 0
    assert len(records(tmp_path / "cmp" / "fgsm")) == 4


def test_every_method_but_the_control_succeeds_and_is_near_the_optimum(colors, tmp_path, capsys):
    methods = "jnd,deepfool,ddn,fgsm,fgv,baseline,noise"
    out = tmp_path / "out"
    status, printed = compare(capsys, "--images", colors, "--methods", methods, "--out", out, "--float")
    assert status == 0, printed.err
    for name in methods.split(","):
        found = {r.stem: r for r in records(out / name)}
        assert found["wrong"].status == "already"
        rest = [r for stem, r in found.items() if stem != "wrong"]
        assert [r.status for r in rest] == ["failure" if name == "noise" else "success"] * 12
        if name in ("jnd", "deepfool", "ddn"):
            for record in rest:
                best = nearest_boundary(to_tensor(read_image(colors / record.source).pixels))
                assert best <= record.quality["l2"] <= 1.1 * best, name
    table = (out / "comparison.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table[1:]] == methods.split(",")


def test_a_success_is_one_of_the_file(colors, tmp_path, capsys):
    out = tmp_path / "out"
    assert compare(capsys, "--images", colors, "--methods", "jnd", "--out", out)[0] == 0
    for record in records(out / "jnd"):
        image = to_tensor(read_image(out / "jnd" / "images" / f"{record.stem}.png").pixels)
        predicted = int(image.flatten(1).mean(1).argmax())
        assert record.adversarial["labels"][0] == record.file_label == predicted
        if record.status == "success":
            assert predicted != record.label
            assert record.file_success


def test_a_float_result_is_judged_on_floats_and_its_file_apart(colors, tmp_path, capsys):
    out = tmp_path / "out"
    assert compare(capsys, "--images", colors, "--methods", "jnd", "--float", "--out", out)[0] == 0
    for record in records(out / "jnd"):
        if record.status != "success":
            continue
        floats = torch.from_numpy(np.load(out / "jnd" / "floats" / f"{record.stem}.npy"))
        file = to_tensor(read_image(out / "jnd" / "images" / f"{record.stem}.png").pixels)
        assert int(floats.flatten(1).mean(1).argmax()) != record.label
        assert record.file_success == (int(file.flatten(1).mean(1).argmax()) != record.label)
        assert set(record.file_quality) == set(record.quality)


def test_a_target_is_what_the_image_becomes(colors, tmp_path, capsys):
    out = tmp_path / "out"
    status, _ = compare(capsys, "--images", colors, "--methods", "jnd,deepfool,fgsm", "--target", "green", "--out", out)
    assert status == 0
    for name in ("jnd", "deepfool", "fgsm"):
        for record in records(out / name):
            assert record.status == ("already" if record.label == 1 else "success")
            assert record.adversarial["labels"][0] == 1


@pytest.mark.parametrize("wanted", [0.5, 0.9])
def test_it_goes_on_until_the_wrong_class_has_the_confidence(colors, tmp_path, capsys, wanted):
    out = tmp_path / "out"
    arguments = ("--images", colors, "--methods", "jnd,baseline", "--stop-confidence", wanted, "--out", out)
    assert compare(capsys, *arguments, "--set", "l2_weight=0")[0] == 0
    for name in ("jnd", "baseline"):
        won = [r for r in records(out / name) if r.status == "success"]
        assert len(won) == 12
        assert all(r.confidence_after >= wanted for r in won)
        assert all(r.trace["confidence"][-2] < wanted for r in won if len(r.trace["confidence"]) > 1)
    assert status_of(["verify", str(out / "jnd"), "--trust"]) == 0


def test_past_k_where_the_budget_is_to_be_used_up(colors, tmp_path, capsys):
    out = tmp_path / "out"
    settings = ("--set", "stop=budget", "--max-iterations", "30", "--limit", "3")
    assert compare(capsys, "--images", colors, "--methods", "fgsm", "--out", out, *settings)[0] == 0
    for record in records(out / "fgsm"):
        assert len(record.trace["confidence"]) == 31
        assert 0 < record.k < 30


def test_accuracy_under_each_budget(colors, tmp_path, capsys, monkeypatch):
    drawn = []
    monkeypatch.setattr(budgets, "_write_figure", lambda out, rows, curve: drawn.append(curve.label))
    out = tmp_path / "out"
    line = ("evaluate", "--task", "classify", "--model", TOY, "--images", colors, "--method", "pgd-linf", "--quiet")
    assert status_of([*map(str, line), "--budget", "linf:2,200", "--passes", "20", "--out", str(out)]) == 0
    rows = json.loads((out / "robustness.json").read_text())["budgets"]
    for row in rows:
        found = records(out / row["budget"].replace(":", "-"))
        right = [NAMES.index(Path(r.source).parent.name) == r.predicted_attacked for r in found]
        assert (row["accuracy_clean"], row["accuracy"]) == (12 / 13, sum(right) / 13)
    assert rows[0]["accuracy"] == 12 / 13 > rows[1]["accuracy"]
    heading = (out / "robustness.md").read_text().splitlines()[0]
    assert "| accuracy clean | accuracy | broken |" in heading
    assert "AP" not in heading
    assert drawn == ["accuracy under attack"]


def test_only_the_right_ones_after_the_first(colors, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ("--images", colors, "--methods", "fgsm", "--only-right", "--skip", "5", "--limit", "4", "--out", out)
    assert compare(capsys, *arguments)[0] == 0
    found = records(out / "fgsm")
    assert len(found) == 4
    assert "wrong" not in {r.stem for r in found}
    summary = json.loads((out / "fgsm" / "summary.json").read_text())
    assert summary["accuracy"]["rate"] == 1.0


def test_batches_change_nothing_that_counts(colors, tmp_path, capsys):
    for batch in (1, 5):
        assert (
            compare(capsys, "--images", colors, "--batch", batch, "--methods", "jnd", "--out", tmp_path / f"{batch}")[0]
            == 0
        )
    one, five = (records(tmp_path / str(batch) / "jnd") for batch in (1, 5))
    assert [r.status for r in one] == [r.status for r in five]
    for a, b in zip(one, five, strict=True):
        if a.quality:
            assert a.quality["l2"] == pytest.approx(b.quality["l2"], rel=0.01)


def test_a_finished_run_is_verified_and_an_altered_file_named(colors, tmp_path, capsys):
    out = tmp_path / "out"
    assert compare(capsys, "--images", colors, "--methods", "jnd", "--out", out)[0] == 0
    assert status_of(["verify", str(out / "jnd"), "--trust"]) == 0
    file = out / "jnd" / "images" / "image04.png"
    pixels = np.asarray(Image.open(file)).copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(file)
    assert status_of(["verify", str(out / "jnd"), "--trust"]) == 1
    assert "images/image04.png" in capsys.readouterr().err


def test_a_run_goes_on_where_it_stopped(colors, tmp_path, capsys):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    arguments = ("--images", colors, "--methods", "jnd", "--batch", "2")
    assert compare(capsys, *arguments, "--out", whole)[0] == 0
    assert compare(capsys, *arguments, "--out", parts)[0] == 0
    with closing(sqlite3.connect(parts / "jnd" / "ledger.sqlite")) as ledger, ledger:
        ledger.execute("DELETE FROM images WHERE id > 6")
    for record in records(whole / "jnd")[8:11]:
        (parts / "jnd" / "images" / f"{record.stem}.png").unlink()
    assert compare(capsys, *arguments, "--out", parts, "--resume")[0] == 0
    for file in (whole / "jnd" / "images").iterdir():
        assert file.read_bytes() == (parts / "jnd" / "images" / file.name).read_bytes()
    one, other = (json.loads((p / "jnd" / "summary.json").read_text()) for p in (whole, parts))
    assert {**one, "timing": 0} == {**other, "timing": 0}
    status, printed = compare(capsys, *arguments, "--set", "step_size=0.5", "--out", parts, "--resume")
    assert status == 2
    assert "config.attack.step_size" in printed.err


def test_an_image_without_numbers_is_an_error_and_the_rest_goes_on(colors, tmp_path, capsys):
    Image.fromarray(np.full((SIDE, SIDE, 3), 10, np.uint8)).save(colors / "red" / "dark.png")
    (colors / "red" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    Image.fromarray(np.full((3, 20, 3), 99, np.uint8)).save(colors / "red" / "small.png")
    out = tmp_path / "out"
    arguments = ["--images", str(colors), "--methods", "jnd", "--out", str(out), "--quiet"]
    assert status_of(["classify", "compare", "--model", "tests/toy_classifier.py:Nan", *arguments]) == 0
    found = {r.stem: r for r in records(out / "jnd")}
    assert [found[s].status for s in ("dark", "broken", "small", "image00")] == ["error"] * 3 + ["success"]
    assert "not finite" in found["dark"].reason
    assert "takes 4 pixels and up" in found["small"].reason


def test_attack_names_what_an_image_was_and_became(colors, tmp_path, capsys):
    out = tmp_path / "out"
    image = str(colors / "red" / "image00.png")
    assert status_of(["classify", "attack", image, "--model", TOY, "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (one,) = found["images"]
    assert NAMES[one["clean"]["labels"][0]] == "red"
    assert NAMES[one["adversarial"]["labels"][0]] != "red"
    assert one["label"] == -1
    assert (out / "figures" / "image00.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "gren"), "did you mean 'green'"),
        (("--target", "7"), "unknown class '7'"),
        (("--methods", "jnd,deepfol"), "did you mean 'deepfool'"),
        (("--methods", "jnd,jnd"), "names 'jnd' twice"),
        (("--methods", "fgsm", "--set", "step=deepfool"), "a method of its own"),
        (("--methods", "fgsm", "--set", "fgv.step_size=1"), "'fgv' is not among the methods"),
        (("--classes", "1"), "classes"),
        (("--stop-confidence", "1.5"), "stop-confidence"),
        (("--skip", "13"), "--skip 13: the data set has 13 images"),
        (("--only-right", "--limit", "13"), "12 images that channels gets right"),
        (("--labels", "nowhere.json"), "nowhere.json"),
        (("--preprocess", "crop=4"), "its factory brings"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(colors, tmp_path, capsys, arguments, message):
    out = tmp_path / "out"
    status, printed = compare(capsys, "--images", colors, "--out", out, *arguments)
    assert status == 2
    assert message in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert not out.exists()


def test_unknown_class_folders_name_the_nearest_class(tmp_path, capsys):
    folder = tmp_path / "data" / "gren"
    folder.mkdir(parents=True)
    Image.fromarray(np.full((SIDE, SIDE, 3), 99, np.uint8)).save(folder / "a.png")
    status, printed = compare(capsys, "--images", tmp_path / "data", "--out", tmp_path / "out")
    assert status == 2
    assert "'gren'" in printed.err
    assert "did you mean 'green'" in printed.err
    assert not (tmp_path / "out").exists()


def test_the_shards_of_a_classifiers_run_become_the_run(colors, tmp_path, capsys):
    data = ["--task", "classify", "--model", TOY, "--images", str(colors), "--method", "fgsm", "--quiet"]
    for more in (["whole"], ["s0", "--shard", "0/2"], ["s1", "--shard", "1/2"]):
        more[0] = str(tmp_path / more[0])
        assert status_of(["evaluate", *data, "--batch", "2", "--out", *more]) == 0
    folders = [str(tmp_path / name) for name in ("merged", "s0", "s1")]
    assert status_of(["merge", *folders, "--quiet"]) == 0
    for name in ("whole", "merged"):
        assert status_of(["verify", str(tmp_path / name), "--trust"]) == 0
    whole, merged = (sorted((tmp_path / name / "images").iterdir()) for name in ("whole", "merged"))
    assert [path.read_bytes() for path in whole] == [path.read_bytes() for path in merged]
    assert len(whole) > 1


def test_labels_are_resolved_once_a_run(colors, tmp_path, capsys, monkeypatch):
    calls = []
    resolve = run.resolve_labels
    monkeypatch.setattr(run, "resolve_labels", lambda *given: calls.append(given) or resolve(*given))
    status, printed = compare(capsys, "--images", colors, "--methods", "fgsm", "--out", tmp_path / "out", "--batch", 3)
    assert status == 0, printed.err
    assert len(records(tmp_path / "out" / "fgsm")) == 13  # in more than four batches
    assert len(calls) == 1


def test_a_model_without_a_gradient_is_refused(colors, tmp_path, capsys):
    (tmp_path / "cut.py").write_text(CUT)
    line = ["--model", f"{tmp_path / 'cut.py'}:factory", "--images", colors, "--methods", "fgsm"]
    status = status_of(["classify", "compare", *map(str, line), "--out", str(tmp_path / "out"), "--quiet"])
    assert status == 2
    assert "lets no gradient through to the image" in capsys.readouterr().err
    assert records(tmp_path / "out" / "fgsm") == []


def test_a_device_that_breaks_ends_the_run(colors, tmp_path, capsys):
    (tmp_path / "breaking.py").write_text(BREAKING)
    line = ["--model", f"{tmp_path / 'breaking.py'}:factory", "--images", colors, "--methods", "fgsm", "--batch", "3"]
    line = ["classify", "compare", *map(str, line), "--out", str(tmp_path / "out"), "--quiet"]
    assert status_of(line) == 1
    assert "the device failed" in capsys.readouterr().err
    assert 0 < len(records(tmp_path / "out" / "fgsm")) < 13
    (tmp_path / "well").touch()
    assert status_of([*line, "--resume"]) == 0
    assert {r.status for r in records(tmp_path / "out" / "fgsm")} <= {"success", "already"}
