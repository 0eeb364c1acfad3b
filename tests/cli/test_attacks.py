"""Both commands from pictures to files that fool the detector, for every goal, method and way to ask."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from detattack.core.environment import CUBLAS, DETERMINISTIC
from detattack.datasets.image_io import read_image, to_tensor
from detattack.detectors.registry import load_detector
from detattack.engine import PRESETS
from detattack.runs.ray_workers import Workers

LEDGER_ONLY = {"clean", "adversarial", "trace"}


@pytest.fixture
def seen(toy, tmp_path):
    """What the detector sees in a file of the run, judged afresh: `[("car", (x1, y1, x2, y2)), ...]`."""
    detector = load_detector(f"{toy}:factory", "cpu")

    def look(stem: str, run: str = "run") -> list[tuple[str, tuple[int, ...]]]:
        image = to_tensor(read_image(tmp_path / run / "images" / f"{stem}.png").pixels)
        (found,) = detector.detect(image[None], 0.5)
        names = [detector.categories[label].name for label in found.labels.tolist()]
        return sorted(zip(names, (tuple(map(int, box)) for box in found.boxes.tolist()), strict=True))

    return look


CAR, OTHER_CAR, DOG = ("car", (8, 8, 24, 24)), ("car", (40, 16, 56, 32)), ("dog", (24, 32, 40, 48))
SCENE = "car@8,8", "car@40,16", "dog@24,32"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--suppress", "car"), [DOG]),
        (("--suppress", "dog"), [CAR, OTHER_CAR]),
        (("--suppress", "all"), []),
        (("--suppress", "car", "--box", "10,6,25,24"), [OTHER_CAR, DOG]),
        (("--suppress", "dog", "--as", "person"), [CAR, OTHER_CAR, ("person", DOG[1])]),
        (("--box", "10,6,25,24", "--as", "person"), [OTHER_CAR, DOG, ("person", CAR[1])]),
    ],
)
def test_untargeted(attack, picture, seen, arguments, expected):
    said = attack("untargeted", picture("a", *SCENE), *arguments)
    assert (said.status, said.statuses) == (0, ["success"])
    assert seen("a") == sorted(expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--add", "car"), ("car", (24, 16, 40, 32))),
        (("--add", "dog", "--box", "40,16,56,32"), ("dog", (40, 16, 56, 32))),
    ],
)
def test_targeted(attack, picture, seen, arguments, expected):
    said = attack("targeted", picture("a", "faint car@24,16", "faint dog@40,16"), *arguments)
    assert (said.status, said.statuses) == (0, ["success"])
    assert seen("a") == [expected]
    assert said.json["images"][0]["asked_iou"] >= 0.5


def test_a_random_place_is_drawn_by_the_seed(attack, picture):
    path = picture("a", "car@8,8")
    common = "targeted", path, "--box", "random", "--max-iterations", 1
    first, again, other = (
        attack(*common, "--seed", seed, out=out).json["images"][0]["box"]
        for out, seed in (("first", 5), ("again", 5), ("other", 6))
    )
    assert first == again != other


def test_what_is_to_be_kept_is_kept(attack, picture, seen):
    said = attack(
        "targeted", picture("a", "car@8,8", "dog@40,16"), "--add", "dog", "--box", "8,24,24,40", "--keep-others"
    )
    assert said.statuses == ["success"]
    assert set(seen("a")) >= {CAR, ("dog", (40, 16, 56, 32))}
    assert [label for label, _ in said.json["images"][0]["kept"]] == [0, 1]


@pytest.mark.parametrize("method", PRESETS)
@pytest.mark.parametrize("command", ["untargeted", "targeted"])
def test_every_method(attack, picture, command, method):
    said = attack(command, picture("a", "car@8,8", "faint car@24,16"), "--method", method, "--max-iterations", 60)
    (image,) = said.json["images"]
    assert said.status == 0
    # cw begins at the original again, for another constant; random search may meet nothing that is worse.
    assert image["quality"]["l2"] > 0 or method in ("cw", "square")
    if method == "noise":
        assert image["status"] == "failure"
        assert (image["k"], image["forwards"], image["backwards"]) == (-1, 1, 0)
    elif method in ("jnd", "fgsm", "fgv"):  # the others weigh the distance against the goal and may rest short of it
        assert image["status"] == "success"
        assert 0 < image["k"] <= 60


def test_iterations_are_limited(attack, picture):
    said = attack("untargeted", picture("a", "car@8,8"), "--max-iterations", 1, "--set", "step_size=0.001")
    assert said.statuses == ["failure"]
    assert said.json["images"][0]["backwards"] == 1


def test_assignments_change_the_method(attack, picture, tmp_path):
    attack("untargeted", picture("a", "car@8,8"), "--set", "step_size=0.3", "--set", "refine=0", "--max-iterations", 7)
    method = json.loads((tmp_path / "run" / "run.json").read_text())["config"]["attack"]
    assert (method["name"], method["step_size"], method["refine"], method["max_iterations"]) == ("jnd", 0.3, 0, 7)


@pytest.mark.parametrize("by_file", [False, True])
def test_deterministic_algorithms_are_asked_for_and_noted(attack, picture, tmp_path, monkeypatch, by_file):
    for name in (DETERMINISTIC, CUBLAS):
        monkeypatch.setenv(name, "0")  # so that it is put back
    monkeypatch.delenv(CUBLAS)
    (tmp_path / "c.yaml").write_text("deterministic: true\n")
    path = picture("a", "car@8,8")
    plain = attack("untargeted", path, "--max-iterations", 2, out="plain")
    asked = ["--config", tmp_path / "c.yaml"] if by_file else ["--deterministic"]
    said = attack("untargeted", path, "--max-iterations", 2, *asked)
    assert said.status == plain.status == 0
    noted = json.loads((tmp_path / "run" / "run.json").read_text())["environment"]
    assert (noted[DETERMINISTIC], noted[CUBLAS]) == ("1", ":4096:8")
    assert Workers().environment()[DETERMINISTIC] == "1"


def test_the_threshold_decides(attack, picture):
    path = picture("a", "car@8,8")
    assert attack("untargeted", path, "--score-threshold", 0.9, out="high").statuses == ["nothing"]
    image = attack("untargeted", path, "--score-threshold", 0.2, out="low").json["images"][0]
    assert image["status"] == "success"
    assert image["confidence_after"] <= 0.2 < image["confidence_before"]


# Floats


def test_floats_are_kept_and_judged(attack, cli, picture, tmp_path):
    said = attack("untargeted", picture("a", "car@8,8"), picture("b", "dog@8,8"), "--float")
    assert said.statuses == ["success", "nothing"]
    array = np.load(tmp_path / "run" / "floats" / "a.npy")
    assert (array.dtype, array.shape) == (np.float32, (3, 48, 64))
    assert 0 <= array.min() < array.max() <= 1
    assert np.abs(array * 255 - np.rint(array * 255)).max() > 0.01  # no file of 8 bits holds it
    assert not (tmp_path / "run" / "floats" / "b.npy").exists()
    digest = hashlib.sha256((tmp_path / "run" / "floats" / "a.npy").read_bytes()).hexdigest()
    assert [image["floats_digest"] for image in said.json["images"]] == [digest, ""]
    assert cli("verify", "run", "--trust").status == 0


def restore(array):
    return to_tensor(np.asarray(Image.open("a.png"))).numpy()


@pytest.mark.parametrize(
    "change", [restore, lambda a: a[:, 1:], lambda a: a.astype(np.float64)], ids=["original", "shape", "dtype"]
)
def test_verify_judges_the_floats(attack, cli, picture, tmp_path, change):
    attack("untargeted", picture("a", "car@8,8"), "--float")
    path = tmp_path / "run" / "floats" / "a.npy"
    np.save(path, change(np.load(path)))
    said = cli("verify", "run", "--trust")
    assert said.status == 1
    assert "a.png" in said.err


def test_verify_notices_floats_that_still_succeed(attack, cli, picture, tmp_path):
    attack("untargeted", picture("a", "car@8,8"), "--float")
    path = tmp_path / "run" / "floats" / "a.npy"
    floats = np.load(path)
    floats[0, -1, -1] = 1 - floats[0, -1, -1]  # far from the car
    np.save(path, floats)
    said = cli("verify", "run", "--trust")
    assert said.status == 1
    assert said.err == "images/a.png: floats/a.npy is not the file that the run wrote\n"


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(b"\x93NUMPY")])
def test_verify_misses_the_floats(attack, cli, picture, tmp_path, damage):
    attack("untargeted", picture("a", "car@8,8"), "--float")
    damage(tmp_path / "run" / "floats" / "a.npy")
    said = cli("verify", "run", "--trust")
    assert said.status == 1
    assert "cannot be read" in said.err


# What is printed


def test_json_is_all_of_stdout(attack, picture, tmp_path):
    said = attack("untargeted", picture("a", "car@8,8"), picture("b"), factory="chatty")
    assert set(said.json) == {"run", "summary", "images"}
    assert said.json["run"] == "run"
    assert said.json["summary"] == json.loads((tmp_path / "run" / "summary.json").read_text())
    assert {"stem", "status", "goal", "k", "quality", "notes"} <= set(said.json["images"][0])
    assert not LEDGER_ONLY & set(said.json["images"][0])
    assert "thinking" in said.err


def test_json_is_all_of_stdout_where_files_are_judged_again(attack, cli, toy, picture):
    model, once = ("--model", f"{toy}:chatty"), ("verify", "run", "--trust", "--json")
    assert attack("untargeted", picture("a", "car@8,8"), factory="chatty").status == 0
    for line in (once, (*once, "--survive", "jpeg:90"), (*once, *model)):
        said = cli(*line)
        assert said.json["run"] == "run"
        assert "thinking" in said.err
    line = ("evaluate", "--images", picture("p/a", "car@8,8").parent, *model, "--out", "two", "--quality", "quick")
    assert cli(*line, "--survive", "jpeg:90", "--json").json["run"] == "two"


def test_a_table_for_people(cli, toy, picture):
    said = cli("untargeted", picture("ca[r]", "car@8,8"), picture("b"), "--model", f"{toy}:factory", "--out", "run")
    assert said.status == 0
    for words in (
        "ca[r]",
        "suppress:car, first success",
        "success",
        "nothing",
        "1 of 1 succeeded; 1 nothing",
        "run folder: run",
    ):
        assert words in said.out
    assert "…" not in said.out


def test_a_table_of_a_budget(cli, toy, picture):
    """The second image shows nothing: it is attacked all the same, so nothing is said of how to attack it."""
    options = ("--degrade", "--method", "pgd-linf", "--budget", "linf:8", "--passes", 12, "--model", f"{toy}:factory")
    said = cli("untargeted", picture("a", "car@8,8"), picture("b"), *options, "--out", "run")
    assert said.status == 0
    assert "degrade:all, budget L∞ 8/255" in said.out
    assert re.search(r"image +broken +worst +before", said.out)
    summary = json.loads(Path("run/summary.json").read_text())
    assert f"{summary['success']} of 1 broken; 1 nothing" in said.out
    assert "succeeded" not in said.out
    assert not re.search("^b: ", said.out, re.MULTILINE)


def test_quiet_says_where_the_run_is(cli, toy, picture):
    said = cli("untargeted", picture("a", "car@8,8"), "--model", f"{toy}:factory", "--out", "run", "--quiet")
    assert (said.status, said.out, said.err) == (0, "", "run\n")


def test_without_a_folder_a_new_one_is_made(cli, toy, picture, tmp_path):
    said = cli("untargeted", picture("a", "car@8,8"), "--model", f"{toy}:factory", "--json")
    assert said.status == 0
    assert said.json["run"].startswith("runs/untargeted-")
    assert (tmp_path / said.json["run"] / "images" / "a.png").is_file()


# Several images, batches, scenes


def test_batches_change_nothing_but_the_grouping(attack, picture):
    paths = [picture(f"p{i}", "car@8,8", width=64 if i != 2 else 72, seed=i) for i in range(5)]
    alone = attack("untargeted", *paths, "--batch", 1, out="alone")
    together = attack("untargeted", *paths, "--batch", 3, out="together")
    assert alone.statuses == together.statuses == ["success"] * 5
    for one, other in zip(alone.json["images"], together.json["images"], strict=True):
        assert one["stem"] == other["stem"]
        assert one["quality"]["l2"] == pytest.approx(other["quality"]["l2"], rel=0.01)


def test_stems_that_collide_get_numbers(attack, picture, seen, tmp_path):
    paths = picture("x/a", "car@8,8"), picture("y/A", "car@8,8", "dog@24,32"), picture("a-1")
    said = attack("untargeted", *paths)
    stems = [image["stem"] for image in said.json["images"]]
    assert len({stem.lower() for stem in stems}) == 3
    assert [image["source"] for image in said.json["images"]] == [str(path) for path in paths]
    assert sorted(p.stem for p in (tmp_path / "run" / "images").iterdir()) == sorted(stems)
    assert [seen(stem) for stem in stems] == [[], [DOG], []]


def test_tiny_images(attack, picture):
    said = attack("untargeted", picture("a", width=16, height=16), "--suppress", "all")
    assert said.statuses == ["nothing"]
    said = attack("targeted", picture("b", "faint car@0,0", width=16, height=16), "--box", "0,0,16,16", out="other")
    assert said.statuses == ["success"]


def test_scenes_are_rendered_where_no_image_is_given(attack, tmp_path):
    said = attack("targeted", "--scenes", 2, "--seed", 3, "--max-iterations", 1)
    assert said.status == 0
    assert [image["goal"] for image in said.json["images"]] == ["inject:car@road"] * 2
    assert all(image["box"] for image in said.json["images"])
    assert Image.open(tmp_path / "run" / "images" / f"{said.json['images'][0]['stem']}.png").size == (480, 320)
    truth = COCO(tmp_path / "run" / "annotations.json")
    assert len(truth.imgs) == 2
    assert truth.anns


# Models that fail


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("raising", "RuntimeError: out of cheese and of luck"),
        ("losing_gradients", "not finite"),
        ("losing_scores", "not finite"),
        ("losing_everything", "NaN"),
        ("uneven", "boxes, scores and labels"),
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_an_image_that_the_model_fails_on(attack, picture, tmp_path, factory, reason, batch):
    paths = [picture(name, "car@8,8", mark=name == "b") for name in "abc"]
    said = attack("untargeted", *paths, "--batch", batch, factory=factory)
    assert said.status == 0
    assert said.statuses == ["success", "error", "success"]
    assert reason in said.json["images"][1]["reason"]
    assert f"{paths[1]}: error: " in said.err
    assert said.json["summary"]["success_rate"] == pytest.approx(2 / 3)
    assert Image.open(tmp_path / "run" / "images" / "b.png").tobytes() == Image.open(paths[1]).tobytes()
    assert len(json.loads((tmp_path / "run" / "annotations.json").read_text())["images"]) == 3


def test_a_model_that_fails_leaves_no_floats(attack, picture, cli, tmp_path):
    said = attack("untargeted", picture("a", "car@8,8", mark=True), "--float", factory="losing_gradients")
    assert said.statuses == ["error"]
    assert not (tmp_path / "run" / "floats").exists()
    assert cli("verify", "run", "--trust").status == 0


# Config files


def test_a_config_file_stands_between_options_and_defaults(attack, picture, tmp_path):
    (tmp_path / "c.yaml").write_text(
        "suppress: dog\nas: person\nseed: 7\nmax-iterations: 30\nfloat: true\nset: {step_size: 0.3}\n"
    )
    attack("untargeted", picture("a", "car@8,8"), "--config", "c.yaml", "--suppress", "car", "--seed", 8)
    config = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert config["goal"] == "mislabel:car->person"
    assert (config["seed"], config["batch"]) == (8, 1)
    assert config["attack"]["max_iterations"] == 30
    assert config["attack"]["step_size"] == 0.3
    assert config["attack"]["levels"] is None


def test_a_list_of_assignments_in_a_config_file(attack, picture, tmp_path):
    (tmp_path / "c.yaml").write_text("set: [step_size=0.3, refine=2]\nimages: [a.png]\n")
    picture("a", "car@8,8")
    assert attack("untargeted", "--config", "c.yaml").statuses == ["success"]
    method = json.loads((tmp_path / "run" / "run.json").read_text())["config"]["attack"]
    assert (method["step_size"], method["refine"]) == (0.3, 2)


def test_the_attacked_detector_stays_as_it_was(attack, toy, picture, tmp_path):
    path = picture("a", "car@8,8")
    attack("untargeted", path)
    before = json.loads((tmp_path / "run" / "run.json").read_text())["model"]
    attack("untargeted", path, "--seed", 1, out="other")
    assert json.loads((tmp_path / "other" / "run.json").read_text())["model"] == before
    assert not any(p.requires_grad for p in load_detector(f"{toy}:factory", "cpu").network.parameters())
    assert torch.is_grad_enabled()
