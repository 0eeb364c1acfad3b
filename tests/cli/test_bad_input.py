"""Bad input: one line that names what and where, exit status 2, nothing written. And what only looks like it."""

import pickle
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.toy_pictures import squares

# Images


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def text(path):
    path.write_text("this is no image")


def truncated(path):
    Image.fromarray(squares("car@8,8")).save(path)
    path.write_bytes(path.read_bytes()[:2000])


def empty(path):
    path.touch()


def no_pixels(path):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 5, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))


def deep(path):
    Image.fromarray(np.full((48, 64), 40000, np.uint16)).save(path)


def frames(path):
    one, other = (Image.fromarray(squares(seed=seed)) for seed in (0, 1))
    one.save(path, "GIF", save_all=True, append_images=[other])


def folder(path):
    path.mkdir()


def missing(path):
    pass


IMAGES = [
    (text, "not an image"),
    (truncated, "damaged or truncated"),
    (empty, "empty"),
    (no_pixels, ""),
    (deep, "more than 8 bits"),
    (frames, "2 frames"),
    (folder, "is a folder"),
    (missing, "no such file"),
]


@pytest.mark.parametrize(("make", "reason"), IMAGES, ids=[make.__name__ for make, _ in IMAGES])
def test_images_that_are_refused(refused, toy, picture, tmp_path, make, reason):
    make(tmp_path / "bad.png")
    good = picture("good", "car@8,8")
    refused("untargeted", good, tmp_path / "bad.png", "--model", f"{toy}:factory", words=("bad.png", reason))


def test_targeted_refuses_images_just_as_well(refused, toy, tmp_path):
    truncated(tmp_path / "bad.png")
    refused("targeted", tmp_path / "bad.png", "--model", f"{toy}:factory", words=("bad.png", "truncated"))


# Names


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("untargeted", "--suppress", "carr"), ("class 'carr'", "did you mean 'car'")),
        (("untargeted", "--as", "parson"), ("class 'parson'", "did you mean 'person'")),
        (("targeted", "--add", "dogg"), ("class 'dogg'", "did you mean 'dog'")),
        (("untargeted", "--suppress", "elephant"), ("class 'elephant'", "known: car, dog, person")),
        (("untargeted", "--as", "car"), ("both classes are the same",)),
        (("targeted", "--add", "all"), ("inject needs one class",)),
        (("untargeted", "--method", "fgms"), ("method 'fgms'", "did you mean 'fgsm'")),
        (("untargeted", "--device", "warp"), ("device 'warp'",)),
    ],
)
def test_unknown_names(refused, toy, picture, arguments, words):
    refused(*arguments, picture("a", "car@8,8"), "--model", f"{toy}:factory", words=words)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("dmo", ("model 'dmo'", "did you mean 'demo'")),
        ("torchvision/retinanet_resnet50", ("did you mean 'torchvision/retinanet_resnet50_fpn'",)),
        ("nowhere.py:factory", ("no such file 'nowhere.py'",)),
        ("{toy}:fabric", ("toy.py", "no function 'fabric'")),
        ("{toy}:time", ("no function 'time'",)),
        ("{toy}:Path", ("not a Detector", "candidates")),
    ],
)
def test_unknown_models(refused, toy, picture, model, words):
    refused("untargeted", picture("a", "car@8,8"), "--model", model.format(toy=toy), words=words)


# Boxes


@pytest.mark.parametrize("command", ["untargeted", "targeted"])
@pytest.mark.parametrize(
    ("box", "words"),
    [
        ("8,8,70,40", ("a.png", "outside the image of 64×48")),
        ("8,8,40,48.5", ("a.png", "outside the image of 64×48")),
        ("-1,8,20,20", ("a.png", "outside")),
        ("40,8,8,40", ("inverted",)),
        ("8,8,8,40", ("inverted or empty",)),
        ("8,8,40", ("not four numbers",)),
        ("8,8,40,40,1", ("not four numbers",)),
        ("a,b,c,d", ("not four numbers",)),
        ("0,0,nan,9", ("not four numbers",)),
        ("middle", ("not four numbers",)),
        ("", ("goal",)),
    ],
)
def test_boxes_that_are_refused(refused, toy, picture, command, box, words):
    refused(command, picture("a", "car@8,8"), "--box", box, "--model", f"{toy}:factory", words=words)


def test_a_box_outside_of_one_image_of_several_names_it(refused, toy, picture):
    paths = picture("big", "car@8,8"), picture("small", "car@8,8", width=32)
    refused("untargeted", *paths, "--box", "8,8,40,40", "--model", f"{toy}:factory", words=("small.png", "32×48"))


def test_a_box_outside_of_rendered_scenes(refused, toy):
    refused("targeted", "--scenes", 1, "--box", "0,0,481,9", "--model", f"{toy}:factory", words=("scene", "480×320"))


def test_the_road_of_a_photo_is_unknown(refused, toy, picture):
    refused("targeted", picture("a"), "--box", "road", "--model", f"{toy}:factory", words=("--box road", "scenes only"))


def test_places_are_for_what_is_added(refused, toy, picture):
    refused("untargeted", picture("a"), "--box", "center", "--model", f"{toy}:factory", words=("takes a box",))


# The output folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--seed", 1), ("config.seed was 0, now 1",)),
        (("--set", "step_size=0.2"), ("config.attack.step_size was 0.15, now 0.2",)),
        (("--suppress", "dog"), ("config.goal was 'suppress:car', now 'suppress:dog'",)),
        (("--model", "{toy}:chatty"), ("config.model",)),
        (("other.png",), ("data was",)),
    ],
)
@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_holds_another_run(attack, refused, toy, picture, change, words, resume):
    path = picture("a", "car@8,8")
    picture("other", "car@8,8")
    assert attack("untargeted", path).status == 0
    arguments = [str(part).format(toy=toy) for part in change]
    common = "--model", f"{toy}:factory", "--out", "run", *(["--resume"] if resume else [])
    refused("untargeted", path, *common, *arguments, words=("run", "holds another run", *words))


def test_a_folder_that_holds_this_run_asks_for_resume(attack, refused, toy, picture):
    path = picture("a", "car@8,8")
    attack("untargeted", path)
    refused("untargeted", path, "--model", f"{toy}:factory", "--out", "run", words=("folder run", "--resume"))


@pytest.mark.parametrize(
    ("out", "reason"), [("notes", "not a run folder"), ("a.png", "is a file"), ("a.png/run", "cannot be written")]
)
def test_a_folder_that_cannot_be_used(refused, toy, picture, tmp_path, out, reason):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("mine")
    path = picture("a", "car@8,8")
    refused("untargeted", path, "--model", f"{toy}:factory", "--out", out, words=(f"folder {out}", reason))


def test_a_folder_without_permission(refused, toy, picture, monkeypatch):
    def denied(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    path = picture("a", "car@8,8")
    monkeypatch.setattr("pathlib.Path.mkdir", denied)  # a superuser, whom nothing is denied, runs this too
    refused("untargeted", path, "--model", f"{toy}:factory", "--out", "locked", words=("locked", "cannot be written"))


# Weights


class Trap:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


def test_code_in_weights_is_never_run(refused, picture, tmp_path):
    path, mark = tmp_path / "w.pth", tmp_path / "mark"
    torch.save({"model": Trap(mark)}, path)
    refused("untargeted", picture("a"), "--weights", path, words=("w.pth", "refused"))
    assert not mark.exists()
    with open(tmp_path / "trap.pkl", "wb") as file:
        pickle.dump(Trap(mark), file, protocol=2)
    refused("untargeted", picture("a"), "--weights", tmp_path / "trap.pkl", words=("trap.pkl", "refused"))
    assert not mark.exists()


def test_weights_that_do_not_fit(refused, picture, tmp_path):
    save_file({"backbone.weight": torch.zeros(3)}, tmp_path / "w.safetensors")
    refused("untargeted", picture("a"), "--weights", "w.safetensors", words=("w.safetensors", "do not fit"))


@pytest.mark.parametrize(("name", "reason"), [("w.pth", "no such file"), ("a.png", "no checkpoint that can be read")])
def test_weights_that_cannot_be_read(refused, picture, name, reason):
    refused("untargeted", picture("a"), "--weights", name, words=(name, reason))


def test_a_third_party_brings_its_own_weights(refused, toy, picture):
    refused("untargeted", picture("a"), "--model", f"{toy}:factory", "--weights", "none", words=("does not apply",))


# Options


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("step_size", ("--set 'step_size'", "key=value")),
        ("stepsize=1", ("'stepsize'", "did you mean 'step_size'")),
        ("name=mine", ("key of method jnd 'name'",)),
        ("step_size=fast", ("method jnd", "step_size", "fast")),
        ("step_size=-1", ("step_size", "from 0 on")),
        ("tv_weight=nan", ("tv_weight", "from 0 on")),
        ("levels=1", ("levels", "must be one of 2, 4")),
        ("max_iterations=1.5", ("max_iterations", "1.5")),
        ("step=leap", ("step", "leap")),
    ],
)
def test_assignments_that_are_refused(refused, toy, picture, assignment, words):
    refused("untargeted", picture("a"), "--set", assignment, "--model", f"{toy}:factory", words=words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("untargeted", "--supress", "car"), ("--supress", "--suppress")),
        (("untargeted", "--seed"), ("--seed",)),
        (("untargeted", "--seed", "x"), ("--seed", "integer")),
        (("untargeted", "--seed", "-1"), ("--seed",)),
        (("untargeted", "--batch", "0"), ("--batch",)),
        (("untargeted", "--max-iterations", "0"), ("--max-iterations",)),
        (("untargeted", "--scenes", "0"), ("--scenes",)),
        (("untargeted", "--score-threshold", "1.5"), ("score_threshold", "1.5")),
        (("untargeted", "--score-threshold", "nan"), ("score_threshold", "nan")),
        (("scenes", "render"), ("--out",)),
        (("scenes", "render", "--out", "x", "-n", "0"), ("-n",)),
        (("scenes", "render", "--out", "x", "--width", "20"), ("--width",)),
        (("scenes", "train", "--out", "x", "--adversarial", "l2:4"), ("--adversarial", "'l2:4'", "linf:N")),
        (("scenes", "train", "--out", "x", "--adversarial", "4"), ("--adversarial", "'4'", "linf:N")),
        *[
            (
                ("scenes", "train", "--out", "x", "--adversarial", f"linf:{number}"),
                ("--adversarial", f"'linf:{number}'"),
            )
            for number in ("", "0", "-1", "four", "255.5", "nan", "inf")
        ],
        (("verify",), ("run",)),
        (("attck",), ("attck",)),
        (("models",), ("Missing command", "list, check")),
        (("scenes", "rendr"), ("rendr",)),
    ],
)
def test_options_that_are_refused(refused, arguments, words):
    refused(*arguments, words=words)


# Config files


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("metod: jnd", ("c.yaml", "'metod'", "did you mean 'method'")),
        ("add: car", ("c.yaml", "'add'")),
        ("config: other.yaml", ("c.yaml", "'config'")),
        ("method: fgms", ("'fgms'", "'fgsm'")),
        ("seed: many", ("c.yaml", "--seed", "integer")),
        ("seed: 1.5", ("c.yaml", "--seed")),
        ("seed: [1, 2]", ("c.yaml", "--seed")),
        ("set: {stepsize: 1}", ("config c.yaml", "'stepsize'", "'step_size'")),
        ("set: {step_size: -1}", ("config c.yaml", "step_size must be a number from 0 on")),
        ("set: {levels: null}", ("config c.yaml", "levels", "'None'")),
        ("set: [step_size]", ("config c.yaml: set 'step_size'", "key=value")),
        ("seed: !!python/object/apply:os.mkdir [made]", ("c.yaml", "python/object")),
        ("seed: !secret 1", ("c.yaml", "!secret")),
        ("seed: [", ("c.yaml", "not YAML")),
        ("- seed", ("c.yaml", "not a mapping")),
        ("", ("c.yaml", "not a mapping")),
        ("seed: \x00", ("c.yaml",)),
        ("seed: 2001-13-01", ("c.yaml", "not YAML", "month")),
        ("seed: " + "9" * 5000, ("c.yaml", "not YAML", "4300 digits")),
        ("seed: " + "9" * 50, ("seed", "less than or equal")),
        ("seed: !!timestamp x", ("c.yaml", "not YAML")),
        ("seed: " + "[" * 5000, ("c.yaml", "not YAML")),
        ("seed: [[1]]", ("c.yaml", "'seed'", "flat list")),
        ("seed: 1\nmethod: jnd\nseed: 2", ("c.yaml", "key 'seed' at line 3 is at line 1 already")),
        ("score-threshold: 0.1\nscore_threshold: 0.2", ("c.yaml", "key 'score_threshold' at line 2 is at line 1")),
        ("set: {step_size: 1, refine: 0, step_size: 2}", ("c.yaml", "key 'step_size' at line 1 is at line 1")),
        ("set:\n  refine: 1\n  'refine': 2", ("c.yaml", "key 'refine' at line 3 is at line 2")),
        ("suppress: {car: 1}", ("c.yaml", "suppress: takes no mapping")),
        ("max_iterations: true", ("c.yaml", "max_iterations: true is no value")),
        ("tuned_on: [1]", ("c.yaml", "tuned_on is not what a search writes")),
        ("set: {fgsm.step_size: 1}", ("config c.yaml: set fgsm.step_size: 'fgsm' is not among the methods",)),
        ("set: {a: {b: 1}}", ("c.yaml", "'set'", "flat list or mapping")),
        ("seed: 2001-01-01", ("c.yaml", "'seed'", "neither a scalar")),
        ("a: &a [x, x]\nb: &b [*a, *a]\nset: [*b, *b]", ("c.yaml", "'b'", "flat list")),
        ("# " + "x" * 10**6, ("c.yaml", "larger than 1 MB")),
    ],
)
def test_config_files_that_are_refused(refused, toy, picture, tmp_path, content, words):
    (tmp_path / "c.yaml").write_text(content)
    refused("untargeted", picture("a"), "--config", "c.yaml", "--model", f"{toy}:factory", words=words)


def test_a_file_is_not_blamed_for_what_the_command_line_sets(refused, toy, picture, tmp_path):
    (tmp_path / "c.yaml").write_text("set: {step_size: 0.1, l2_weight: 1}")
    line = ("untargeted", picture("a"), "--config", "c.yaml", "--model", f"{toy}:factory")
    refused(*line, "--set", "step_size=-1", words=("detattack: method jnd: step_size must be",))
    refused(*line, "--set", "fgsm.step_size=1", words=("detattack: --set fgsm.step_size: 'fgsm' is not",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "score_threshold: 2",
            "score_threshold: input should be less than 1 (got 2.0) (config c.yaml: score-threshold)",
        ),
        ("suppress: carr", "unknown class 'carr': did you mean 'car'? (config c.yaml: suppress)"),
        ("method: jndd", "unknown method 'jndd'"),
        ("budget: linf=x", "--budget 'linf=x'"),
        ("within: foo", "--within foo"),
    ],
)
def test_a_wrong_value_of_a_file_is_said_to_be_of_the_file(refused, toy, picture, tmp_path, content, words):
    (tmp_path / "c.yaml").write_text(content)
    line = ("untargeted", picture("a"), "--config", "c.yaml", "--model", f"{toy}:factory")
    refused(*line, words=(words, f"(config c.yaml: {content.partition(':')[0].replace('_', '-')})"))


def test_a_file_is_not_blamed_where_the_command_line_says_otherwise(cli, toy, picture, tmp_path):
    (tmp_path / "c.yaml").write_text("suppress: carr\nscore_threshold: 0.7")
    line = ("untargeted", picture("a"), "--config", "c.yaml", "--model", f"{toy}:factory", "--suppress", "carrr")
    said = cli(*line)
    assert said.status == 2
    assert "unknown class 'carrr'" in said.err
    assert "c.yaml" not in said.err


def test_a_setting_of_a_file_that_means_several_things_is_said_to_be_of_the_file(refused, toy, picture, tmp_path):
    (tmp_path / "c.yaml").write_text("methods: jnd,fgsm\nset: {step_size: 0.1}")
    words = ("config c.yaml: set step_size: its meaning depends",)
    refused("compare", "--images", picture("p/a").parent, "--config", "c.yaml", "--model", toy, words=words)


@pytest.mark.parametrize("name", ["none.yaml", "folder", "a.png"])
def test_config_files_that_cannot_be_read(refused, picture, tmp_path, name):
    (tmp_path / "folder").mkdir()
    refused("untargeted", picture("a"), "--config", name, words=(f"config {name}", "cannot be read"))


# Not errors


def gray(pixels, path):
    Image.fromarray(pixels).convert("L").save(path)


def cmyk(pixels, path):
    Image.fromarray(pixels).convert("CMYK").save(path, "TIFF")


def alpha(pixels, path):
    image = Image.fromarray(pixels)
    image.putalpha(90)
    image.save(path)


def turned(pixels, path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif)


CONVERTED = [
    (gray, "gray converted to RGB", "nothing", (64, 48)),  # without color nothing is a car
    (cmyk, "CMYK converted to RGB", "success", (64, 48)),
    (alpha, "alpha dropped", "success", (64, 48)),
    (turned, "EXIF orientation applied", "success", (48, 64)),
]


@pytest.mark.parametrize(("save", "note", "status", "size"), CONVERTED, ids=[case[0].__name__ for case in CONVERTED])
def test_what_is_converted_is_said_once(attack, tmp_path, save, note, status, size):
    for name in ("a.png", "b.png"):
        save(squares("car@8,8"), tmp_path / name)
    said = attack("untargeted", "a.png", "b.png")
    assert said.status == 0
    assert said.statuses == [status, status]
    assert said.err.count(note) == 1
    for image in said.json["images"]:
        assert image["notes"] == [note]
        assert (image["width"], image["height"]) == size
        with Image.open(tmp_path / "run" / "images" / f"{image['stem']}.png") as written:
            assert (written.size, written.mode) == (size, "RGB")


def test_nothing_to_suppress(attack, picture, tmp_path):
    path = picture("a", "dog@8,8")
    said = attack("untargeted", path)
    assert (said.status, said.statuses) == (0, ["nothing"])
    assert said.json["summary"]["success_rate"] is None
    assert Image.open(tmp_path / "run" / "images" / "a.png").tobytes() == Image.open(path).tobytes()


def test_nothing_to_suppress_at_the_box(attack, picture):
    said = attack("untargeted", picture("a", "car@8,8"), "--box", "40,24,56,40")
    assert (said.status, said.statuses) == (0, ["nothing"])


def test_a_box_where_the_class_is_already(attack, picture):
    said = attack("targeted", picture("a", "car@24,16"), "--add", "car")
    assert (said.status, said.statuses) == (0, ["already"])
