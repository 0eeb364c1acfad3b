"""`--robust-to` and `--within` from the command line: what is claimed holds on the files, for every method."""

import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from detattack.api import attack
from detattack.core.errors import InputError
from detattack.datasets.image_io import to_tensor
from tests.cli.test_transfer import TOY
from tests.toy_detector import Toy

METHODS = (
    *("jnd", "jnd-paper", "jnd-min", "baseline", "fgsm", "fgv", "pgd-linf", "pgd-l2", "ddn", "fmn", "cw", "deepfool"),
    *("noise", "square"),
)
GOALS = ("suppress:car", "inject:car@40,4,56,20", "mislabel:car->dog", "degrade:all", "flood:2")
CORRUPTIONS = "jpeg:75,blur:1,resize:0.5+jpeg:90"


def jpeg(pixels, quality):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer).convert("RGB"))


def half(pixels):
    small = cv2.resize(pixels, (pixels.shape[1] // 2, pixels.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, pixels.shape[1::-1], interpolation=cv2.INTER_LINEAR)


VARIANTS = {
    "jpeg:75": lambda pixels: jpeg(pixels, 75),
    "blur:1": lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 1),
    "resize:0.5+jpeg:90": lambda pixels: jpeg(half(pixels), 90),
}


@pytest.fixture
def pictures(tmp_path):
    """Two images of 64x48 with a red square of 16 pixels that stands out: a car."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(60, 100, (48, 64, 3)).astype(np.uint8)
        pixels[24:40, 8 * i + 8 : 8 * i + 24, 0] = 233
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def pixels_of(path):
    return np.array(Image.open(path).convert("RGB"))


def cars(pixels):
    found = Toy("cpu").detect(to_tensor(np.ascontiguousarray(pixels))[None], 0.5)[0].above(0.5)
    return int((found.labels == 0).sum())


@pytest.fixture
def evaluated(cli, pictures, tmp_path):
    """Runs `evaluate` on the pictures: its JSON, and the records of the ledger."""

    def call(*options, out="run"):
        said = cli(
            "evaluate", "--images", pictures, "--model", TOY, "--json", "--quality", "quick", "--out", out, *options
        )
        assert said.status == 0, said.err
        return said.json

    return call


def records_of(out):
    from contextlib import closing

    from detattack.runs.folder import RunFolder
    from detattack.tasks.detection.record import DetectionRecord

    with closing(RunFolder.open(out, DetectionRecord)) as folder:
        return list(folder.iterate())


def test_the_files_hold_untouched_and_after_each(evaluated, cli, tmp_path):
    evaluated("--goal", "suppress:car", "--robust-to", CORRUPTIONS)
    records = records_of(tmp_path / "run")
    assert [record.status for record in records] == ["success"] * 2
    for record in records:
        pixels = pixels_of(tmp_path / "run" / "images" / f"{record.stem}.png")
        assert record.survives == dict.fromkeys(VARIANTS, True)
        assert cars(pixels) == 0
        assert {name: cars(change(pixels)) for name, change in VARIANTS.items()} == dict.fromkeys(VARIANTS, 0)
        assert record.backwards % 4 == 0
        assert record.forwards >= record.backwards + 8, "the first evaluation and the confirmation, four passes each"
    config = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert config["robust_to"] == CORRUPTIONS.split(",")
    assert cli("verify", "run", "--trust").status == 0


@pytest.mark.parametrize("method", METHODS)
def test_every_method_and_what_it_claims(evaluated, cli, tmp_path, method):
    more = ("--set", "square.max_iterations=30") if method == "square" else ("--max-iterations", 12)
    evaluated("--goal", "suppress:car", "--method", method, "--robust-to", "jpeg:75,blur:1", "--within", "box", *more)
    original = pixels_of(tmp_path / "pictures" / "0.png")
    for record in records_of(tmp_path / "run"):
        pixels = pixels_of(tmp_path / "run" / "images" / f"{record.stem}.png")
        holds = cars(pixels) == 0
        survives = {name: cars(VARIANTS[name](pixels)) == 0 for name in ("jpeg:75", "blur:1")}
        assert record.survives == survives
        assert (record.status == "success") == (holds and all(survives.values()))
        if record.stem == "0":
            x1, y1, x2, y2 = map(round, record.clean["boxes"][0])
            changed = (pixels != original).any(2)
            assert changed.any() or record.status == "failure"
            changed[max(0, y1 - 1) : y2 + 1, max(0, x1 - 1) : x2 + 1] = False
            assert not changed.any()
    assert cli("verify", "run", "--trust").status == 0


@pytest.mark.parametrize("goal", GOALS)
def test_every_goal(evaluated, cli, tmp_path, goal):
    summary = evaluated("--goal", goal, "--robust-to", "jpeg:85,shift:2")["summary"]
    assert (summary["success"], summary["error"]) == (2, 0)
    assert cli("verify", "run", "--trust").status == 0


def test_a_budget_keeps_what_is_worst_after_all(evaluated, cli, tmp_path):
    summary = evaluated(
        *("--goal", "degrade:all", "--method", "ensemble", "--budget", "linf:40", "--passes", 36),
        *("--robust-to", "jpeg:75,blur:1"),
    )["summary"]
    assert summary["success"] == 2
    assert all(record.backwards <= 36 for record in records_of(tmp_path / "run"))
    assert cli("verify", "run", "--trust").status == 0


def test_ranges_and_noise_are_judged_at_draws_of_their_own(evaluated, cli, tmp_path):
    evaluated("--goal", "suppress:car", "--robust-to", "jpeg:60..95,noise:3")
    assert all(set(record.survives) == {"jpeg:60..95", "noise:3"} for record in records_of(tmp_path / "run"))
    assert {record.status for record in records_of(tmp_path / "run")} == {"success"}
    assert cli("verify", "run", "--trust").status == 0


def test_no_image_depends_on_its_neighbors(evaluated, tmp_path):
    options = ("--goal", "suppress:car", "--robust-to", "jpeg:60..95,blur:1", "--within", "border:12")
    evaluated(*options, "--batch", "1", out="alone")
    evaluated(*options, "--batch", "2", out="together")
    for name in ("0.png", "1.png"):
        alone, together = (tmp_path / out / "images" / name for out in ("alone", "together"))
        assert alone.read_bytes() == together.read_bytes()


def test_none_is_as_if_it_were_not_there(evaluated, tmp_path):
    evaluated("--goal", "suppress:car", out="plain")
    evaluated("--goal", "suppress:car", "--robust-to", "none", out="none")
    for name in ("0.png", "1.png"):
        plain, none = (tmp_path / out / "images" / name for out in ("plain", "none"))
        assert plain.read_bytes() == none.read_bytes()
    plain, none = (json.loads((tmp_path / out / "run.json").read_text())["config"] for out in ("plain", "none"))
    assert plain == none
    assert not {"robust_to", "within"} & plain.keys()


MASKS = ("box", "box:0.5", "outside", "4,20,30,46", "border:12")


@pytest.mark.parametrize("within", MASKS)
def test_bytes_outside_are_the_originals(evaluated, cli, tmp_path, within):
    evaluated("--goal", "suppress:car", "--within", within, "--method", "jnd-min", "--max-iterations", 15)
    for record in records_of(tmp_path / "run"):
        original = pixels_of(tmp_path / "pictures" / f"{record.stem}.png")
        changed = (pixels_of(tmp_path / "run" / "images" / f"{record.stem}.png") != original).any(2)
        y, x = np.nonzero(changed)
        assert len(x)
        x1, y1, x2, y2 = record.clean["boxes"][0]
        inside = (x + 0.5 >= x1) & (x + 0.5 < x2) & (y + 0.5 >= y1) & (y + 0.5 < y2)
        if within == "box":
            assert inside.all()
        elif within == "box:0.5":
            assert (abs(x + 0.5 - (x1 + x2) / 2) <= (x2 - x1) / 4).all()
            assert (abs(y + 0.5 - (y1 + y2) / 2) <= (y2 - y1) / 4).all()
        elif within == "outside":
            assert not inside.any()
        elif within == "border:12":
            assert not ((x >= 12) & (x < 52) & (y >= 12) & (y < 36)).any()
        else:
            assert ((x >= 4) & (x < 30) & (y >= 20) & (y < 46)).all()
    assert cli("verify", "run", "--trust").status == 0


def test_a_change_outside_is_found(evaluated, cli, tmp_path):
    evaluated("--goal", "suppress:car", "--within", "4,20,30,46")
    manifest = (tmp_path / "run" / "run.json").read_text()
    assert '"4,20,30,46"' in manifest
    (tmp_path / "run" / "run.json").write_text(manifest.replace('"4,20,30,46"', '"40,20,50,46"'))
    said = cli("verify", "run", "--trust")
    assert said.status == 1
    assert "images/0.png: differs from its original where --within lets nothing change" in said.err


def test_a_mask_from_a_file_is_part_of_a_run(evaluated, cli, tmp_path, monkeypatch):
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :32] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    evaluated("--goal", "suppress:car", "--within", "mask.png")
    assert cli("verify", "run", "--trust").status == 0
    (tmp_path / "elsewhere").mkdir()
    with monkeypatch.context() as moved:
        moved.chdir(tmp_path / "elsewhere")
        assert cli("verify", tmp_path / "run", "--trust").status == 0
    mask[:, 30:] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    for command in ("verify", "rerun"):
        said = cli(command, "run", "--trust")
        assert said.status == 2
        assert "mask.png is not the one that it was made with" in said.err


def test_where_nothing_may_change_an_image_fails_at_once(evaluated, cli, tmp_path):
    image = evaluated("--goal", "suppress:car", "--within", "box:0.001")
    assert (image["summary"]["failure"], image["summary"]["success"]) == (2, 0)
    for record in records_of(tmp_path / "run"):
        assert record.reason == "--within box:0.001: leaves nothing to change"
        assert (record.forwards, record.backwards) == (0, 0)
        assert (
            pixels_of(tmp_path / "run" / "images" / f"{record.stem}.png").tolist()
            == pixels_of(tmp_path / "pictures" / f"{record.stem}.png").tolist()
        )
    assert cli("verify", "run", "--trust").status == 0


def test_an_image_that_a_place_does_not_fit_is_an_error_of_it_alone(evaluated, pictures, tmp_path):
    Image.fromarray(np.full((40, 40, 3), 80, np.uint8)).save(pictures / "small.png")
    small = pixels_of(pictures / "small.png")
    small[8:24, 8:24, 0] = 233
    Image.fromarray(small).save(pictures / "small.png")
    evaluated("--goal", "suppress:car", "--within", "0,0,64,48")
    found = {record.stem: (record.status, record.reason) for record in records_of(tmp_path / "run")}
    assert found["small"] == ("error", "--within 0,0,64,48: is not inside an image of 40x40")
    assert found["0"][0] == found["1"][0] == "success"


def test_from_python(pictures):
    outcome = attack(pixels_of(pictures / "0.png"), Toy("cpu"), robust_to="jpeg:75, blur:1", within="box")
    assert outcome.record.survives == {"jpeg:75": True, "blur:1": True}
    assert cars(outcome.pixels) == cars(jpeg(outcome.pixels, 75)) == 0
    x1, y1, x2, y2 = map(round, outcome.record.clean["boxes"][0])
    changed = (outcome.pixels != outcome.original).any(2)
    changed[y1:y2, x1:x2] = False
    assert not changed.any()
    with pytest.raises(InputError, match="unknown corruption 'jpg'"):
        attack(outcome.original, Toy("cpu"), robust_to=["jpg:75"])
    with pytest.raises(InputError, match="--within middle: neither box"):
        attack(outcome.original, Toy("cpu"), within="middle")


BAD = {
    ("--robust-to", "jpg:75"): "unknown corruption 'jpg': did you mean 'jpeg'?",
    ("--robust-to", "jpeg:0"): "corruption 'jpeg:0': a quality, from 1 to 100",
    ("--robust-to", "jpeg:90..60"): "corruption 'jpeg:90..60': a range is LOW..HIGH",
    ("--within", "box:0"): "--within 'box:0': the share of a box's sides is a number above 0, at most 1",
    ("--within", "border:0"): "--within 'border:0': a border is of whole pixels, 1 or more",
    ("--within", "5,5,5,9"): "--within '5,5,5,9': a box is x1,y1,x2,y2 with x1 < x2 and y1 < y2",
    ("--within", "mask.png"): "--within mask.png: ",
    ("--within", "black.png"): "--within black.png: has no white pixel, nothing may change",
    ("--within", "0,0,65,48"): "--within 0,0,65,48: is not inside an image of 64x48",
    ("--within", "small.png"): "--within small.png: is 8x8, the image 64x48",
}


@pytest.mark.parametrize(
    ("options", "message"), BAD.items(), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_bad_input_is_one_line(cli, pictures, tmp_path, options, message):
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(tmp_path / "black.png")
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / "small.png")
    said = cli("untargeted", pictures / "0.png", "--model", TOY, "--out", "run", *options)
    assert said.status == 2
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_classifier_takes_both(cli, tmp_path):
    said = cli(
        *("classify", "compare", "--methods", "jnd,deepfool,noise", "--limit", 1, "--max-iterations", 4, "--json"),
        *("--robust-to", "jpeg:90,brightness:0.9", "--within", "border:14", "--out", "run"),
    )
    assert said.status == 0, said.err
    for method in ("jnd", "deepfool", "noise"):
        assert cli("verify", f"run/{method}").status == 0
    said = cli("classify", "attack", "--within", "box", "--out", "other")
    assert said.status == 2
    assert "--within box: goes with detectors; task classify knows no boxes" in said.err
