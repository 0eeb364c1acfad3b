"""ONNX files: judged by ONNX Runtime, attacked by a conversion to torch."""

import json
import os
from pathlib import Path

import pytest
import torch
from torchvision.ops import clip_boxes_to_image

from detattack.api import InputError, attack
from detattack.cli import status_of
from detattack.core.types import Detections
from detattack.datasets.image_io import read_image, to_tensor
from detattack.datasets.rendered import rendered_scenes
from detattack.detectors.check import check_detector
from detattack.detectors.registry import fingerprint, load_detector
from tests.detectors.onnx.exported import CLASSES, BoxesAndScores, Grid, Yolox, export
from tests.detectors.random_networks import pictures

for library in ("onnx", "onnxruntime", "onnx2torch"):
    pytest.importorskip(library, reason=f"needs {library} (pip install '.[onnx]')")

SHARED = Path(os.environ.get("DETATTACK_SHARED", Path(__file__).parents[3] / ".." / "shared")).resolve()
YOLOX = SHARED / "tools" / "yolox_nano_coco.py"
PHOTOS = SHARED / "data" / "coco-val80" / "images"
needs_photos = pytest.mark.skipif(
    not (YOLOX.is_file() and PHOTOS.is_dir()), reason="needs YOLOX-Nano and COCO photos (DETATTACK_SHARED)"
)


def assert_near(ours: Detections, theirs: Detections):
    """The same, in whatever order: scores within 1e-4, boxes within 1e-4 of their longer side."""
    assert len(ours) == len(theirs) > 0
    sides = (theirs.boxes[:, 2:] - theirs.boxes[:, :2]).amax(-1)
    near = (ours.boxes[:, None] - theirs.boxes[None]).abs().amax(-1) <= 1e-4 * sides
    near &= (ours.scores[:, None] - theirs.scores[None]).abs() <= 1e-4
    near &= ours.labels[:, None] == theirs.labels[None]
    assert near.any(0).all()
    assert near.any(1).all()


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[str, str]:
    """The embedded detector as a file, and the names of its classes."""
    folder = tmp_path_factory.mktemp("demo")
    export(BoxesAndScores(load_detector("demo", "cpu")), folder / "demo.onnx", ["boxes", "scores"], (1, 3, 320, 480))
    (folder / "demo.yaml").write_text("most: 100\n")
    (folder / "names.txt").write_text("\n".join(CLASSES))
    return f"onnx/{folder / 'demo.onnx'}", str(folder / "names.txt")


@pytest.fixture(scope="module")
def yolox(tmp_path_factory) -> str:
    """YOLOX-Nano as a file, and beside it how its authors prepare an image."""
    folder = tmp_path_factory.mktemp("yolox")
    detector = load_detector(f"{YOLOX}:factory", "cpu")
    export(Yolox(detector), folder / "yolox.onnx", ["output"], (1, 3, 416, 416))
    (folder / "yolox.yaml").write_text(
        "fit: letterbox-topleft\nrange: 255\norder: bgr\nnms_iou: 0.65\nscore_threshold: 0.01\nmost: 1000\n"
    )
    return f"onnx/{folder / 'yolox.onnx'}"


def test_demo_detects_what_it_detects_in_torch(demo):
    ours, theirs = load_detector(demo[0], "cpu", categories=demo[1]), load_detector("demo", "cpu")
    assert [c.name for c in ours.categories] == [c.name for c in theirs.categories]
    for sample in rendered_scenes(10, 3).samples:
        image = to_tensor(sample.load().pixels)[None]
        assert_near(ours.detect(image, 0.05)[0], theirs.detect(image, 0.05)[0])


@needs_photos
def test_yolox_detects_what_it_detects_in_torch(yolox):
    ours, theirs = load_detector(yolox, "cpu"), load_detector(f"{YOLOX}:factory", "cpu")
    for path in sorted(PHOTOS.glob("*.jpg"))[:10]:
        image = to_tensor(read_image(path).pixels)[None]
        (expected,) = theirs.detect(image, 0.05)
        inside = clip_boxes_to_image(expected.boxes, image.shape[-2:])
        assert_near(ours.detect(image, 0.05)[0], Detections(inside, expected.scores, expected.labels))


def vanished(arguments: list[str], out: Path, capsys) -> dict:
    """The summary of a run, whose files are judged again."""
    assert status_of([*arguments, "--out", str(out), "--json", "--device", "cpu"]) == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert status_of(["verify", str(out), "--trust"]) == 0
    return summary


@pytest.mark.slow
def test_demo_is_attacked(demo, tmp_path, capsys):
    options = ["--suppress", "all", "--scenes", "10", "--max-iterations", "40"]
    summary = vanished(["untargeted", *options, "--model", demo[0], "--categories", demo[1]], tmp_path / "run", capsys)
    assert (summary["success"], summary["failure"], summary["error"]) == (10, 0, 0)


@pytest.mark.slow
@needs_photos
def test_yolox_is_attacked(yolox, tmp_path, capsys):
    photos = [str(path) for path in sorted(PHOTOS.glob("*.jpg"))[:10]]
    options = ["--suppress", "all", "--model", yolox, "--max-iterations", "40"]
    summary = vanished(["untargeted", *photos, *options], tmp_path / "run", capsys)
    assert (summary["success"], summary["failure"], summary["error"]) == (10, 0, 0)


FORMS = {
    "yolo": (["output0"], 6, "YOLO"),
    "objectness": (["output"], 7, "YOLO"),
    "ssd": (["boxes", "scores"], 7, "boxes and scores"),
    "detr": (["logits", "pred_boxes"], 6, "DETR"),
}


@pytest.fixture
def grid(tmp_path, caplog):
    """Exports a network with a kind of head and loads it, with two classes."""

    def load(form, outputs, columns, names="car\ndog\n", **options):
        path = export(Grid(form, columns), tmp_path / f"{form}.onnx", outputs, **options)
        (tmp_path / "names.txt").write_text(names)
        return load_detector(f"onnx/{path}", "cpu", categories=str(tmp_path / "names.txt"))

    return load


@pytest.mark.parametrize("form", FORMS)
def test_a_kind_of_head_is_recognized_and_has_a_gradient(form, grid, caplog):
    outputs, columns, title = FORMS[form]
    detector = grid(form, outputs, columns)
    assert f"{title}, 2 classes, with a gradient by onnx2torch" in caplog.text
    images = pictures(2, 64, 96)
    candidates = detector.candidates(images)
    assert (candidates.boxes.shape, candidates.logits.shape) == ((2, 24, 4), (2, 24, 2))
    for ours, theirs in zip(detector.select(candidates, 0.2), detector.detect(images, 0.2), strict=True):
        assert_near(ours, theirs)
    assert candidates.boxes[..., 2].max() > 64
    seen = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(detector.candidates(seen).logits.sum(), seen)
    assert float(gradient.abs().amax()) > 0


def test_a_softmax_of_queries_leaves_out_no_object(grid):
    detector = grid("detr", ["logits", "pred_boxes"], 7)
    network = Grid("detr", 7)
    (images,) = pictures(1, 64, 96)[None]
    logits = network(images)[0].softmax(-1)
    torch.testing.assert_close(detector.candidates(images).logits.sigmoid(), logits[..., :2], rtol=0, atol=1e-5)


def test_the_contract_is_kept(grid):
    detector = grid("yolo", ["output0"], 6)
    findings = list(check_detector(detector, 3))
    verdicts = {finding.name: finding.verdict for finding in findings}
    assert set(verdicts.values()) <= {"passed"}, [finding for finding in findings if not finding.passed]


@pytest.mark.parametrize(("form", "outputs"), [("rows", ["output0"]), ("finished", ["boxes", "labels", "scores"])])
def test_detections_judge_and_are_not_attacked(form, outputs, grid, caplog):
    detector = grid(form, outputs, 7, "car\ndog\ncat\n")
    assert "detections, 3 classes, without a gradient" in caplog.text
    (found,) = detector.detect(pictures(1, 64, 96), 0.3)
    assert len(found) > 3
    assert found.scores.min() > 0.3
    pixels = (pictures(1, 64, 96)[0].permute(1, 2, 0) * 255).byte().numpy()
    with pytest.raises(InputError, match="has no gradient here; it judges images"):
        attack(pixels, detector, goal="suppress:all")


def test_where_the_conversion_says_something_else_there_is_no_gradient(grid, caplog, monkeypatch):
    import onnx2torch

    monkeypatch.setattr(onnx2torch, "convert", lambda path: Grid("yolo", 6).apply(scaled))
    detector = grid("yolo", ["output0"], 6)
    assert not detector.has_gradient
    assert "no gradient, the conversion to torch fails (output output0 is" in caplog.text
    assert len(detector.detect(pictures(1, 64, 96), 0.2)[0])


def scaled(module):
    if isinstance(module, torch.nn.Conv2d):
        module.weight.data.mul_(1.5)


def test_a_file_that_takes_any_size_and_several_images(grid):
    axes = {0: "batch", 2: "height", 3: "width"}
    detector = grid("ssd", ["boxes", "scores"], 7, dynamic={"images": axes, "boxes": [0, 1], "scores": [0, 1]})
    assert detector.candidates(pictures(1, 96, 64)).boxes[..., 3].max() > 80
    alone = [detector.detect(image[None], 0.3)[0] for image in pictures(2, 64, 96)]
    for ours, theirs in zip(detector.detect(pictures(2, 64, 96), 0.3), alone, strict=True):
        assert torch.equal(ours.boxes, theirs.boxes)


def test_a_file_that_takes_any_size_is_given_that_of_its_metadata(tmp_path):
    """As ultralytics exports a dynamic one, of which the sides still have to be divisible by a stride."""
    import onnx

    axes = {0: "batch", 2: "height", 3: "width"}
    path = export(Grid("yolo", 6), tmp_path / "a.onnx", ["output0"], dynamic={"images": axes, "output0": [0, 2]})
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {"names": "{0: 'car', 1: 'dog'}", "imgsz": "[64, 96]"})
    onnx.save(model, str(path))
    image = pictures(1, 100, 75)
    detector = load_detector(f"onnx/{path}", "cpu")
    assert detector._prepared(image).shape == (1, 3, 64, 96)
    assert_near(detector.select(detector.candidates(image), 0.2)[0], detector.detect(image, 0.2)[0])
    (tmp_path / "a.yaml").write_text("size: [32, 32]\n")
    assert load_detector(f"onnx/{path}", "cpu")._prepared(image).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("fit", ["stretch", "letterbox", "letterbox-topleft"])
def test_boxes_come_back_to_the_image(fit, grid, tmp_path):
    (tmp_path / "ssd.yaml").write_text(f"fit: {fit}\n")
    detector = grid("ssd", ["boxes", "scores"], 7)
    boxes = detector.candidates(pictures(1, 128, 120)).boxes[0]
    scale, left = {"stretch": ((1.25, 2), 0), "letterbox": ((2, 2), 18), "letterbox-topleft": ((2, 2), 0)}[fit]
    x1, y1, x2, y2 = boxes[0].tolist()
    assert -left * scale[0] <= x1 <= (1 - left) * scale[0]
    assert (10 - left) * scale[0] <= x2 <= (16 - left) * scale[0]
    assert 0 <= y1 <= scale[1]
    assert 10 * scale[1] <= y2 <= 16 * scale[1]


def test_the_description_prepares_images(grid, tmp_path):
    text = "range: 255\norder: bgr\nmean: [1, 2, 3]\nstd: [2, 2, 2]\n"
    (tmp_path / "ssd.yaml").write_text(text)
    detector = grid("ssd", ["boxes", "scores"], 7)
    image = pictures(1, 64, 96)
    expected = (image.flip(1) * 255 - torch.tensor([1.0, 2, 3]).view(3, 1, 1)) / 2
    torch.testing.assert_close(detector._prepared(image), expected)


@pytest.mark.parametrize("names", ["{0: 'car', 1: 'dog'}", '{"0": "car", "1": "dog"}'])
def test_names_of_the_metadata(tmp_path, names):
    import onnx

    path = export(Grid("yolo", 6), tmp_path / "a.onnx", ["output0"])
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {"names": names})
    onnx.save(model, str(path))
    assert [c.name for c in load_detector(f"onnx/{path}", "cpu").categories] == ["car", "dog"]
    onnx.helper.set_model_props(model, {"names": "__import__('os').getcwd()"})
    onnx.save(model, str(path))
    with pytest.raises(InputError, match="its metadata's names are no mapping"):
        load_detector(f"onnx/{path}", "cpu")


def test_the_fingerprint_is_that_of_the_file(grid, tmp_path):
    first = fingerprint(grid("rows", ["output0"], 6))
    assert fingerprint(grid("rows", ["output0"], 6)) == first
    torch.manual_seed(1)
    other = Grid("rows", 6)
    other.head.bias.data += 1
    export(other, tmp_path / "rows.onnx", ["output0"])
    assert (
        fingerprint(load_detector(f"onnx/{tmp_path / 'rows.onnx'}", "cpu", categories=str(tmp_path / "names.txt")))
        != first
    )


@pytest.mark.parametrize(
    ("form", "outputs", "columns", "names"),
    [
        ("yolo", ["output0"], 6, "car\ndog\ncat\n"),
        ("ssd", ["boxes", "scores"], 9, "car\ndog\n"),
        ("finished", ["boxes", "a", "b"], 6, "car\ndog\n"),
    ],
)
def test_outputs_that_nobody_knows(form, outputs, columns, names, grid):
    with pytest.raises(InputError) as error:
        grid(form, outputs, columns, names)
    assert "are of no known head with" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


class Gray(torch.nn.Module):
    def forward(self, images):
        return images.mean((2, 3))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"no model", "cannot be loaded ("),
        ("gray", "takes images tensor(float) [1, 1, 8, 8], where float images [N,3,H,W] are expected"),
    ],
)
def test_files_that_are_refused_are_one_line(content, said, tmp_path, capsys):
    path = tmp_path / "a.onnx"
    if content == "gray":
        export(Gray(), path, ["out"], (1, 1, 8, 8))
    elif content is not None:
        path.write_bytes(content)
    assert status_of(["untargeted", "--model", f"onnx/{path}", "--out", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"detattack: model onnx/{path}: ")
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fit: crop", "fit"),
        ("sizes: 3", "known: size, fit, range"),
        ("std: [0, 1, 1]", "nothing is divided by 0"),
        ("- a", "known: size"),
        ("a: [", "cannot be read"),
    ],
)
def test_descriptions_that_are_refused(text, said, grid, tmp_path):
    (tmp_path / "yolo.yaml").write_text(text)
    with pytest.raises(InputError) as error:
        grid("yolo", ["output0"], 6)
    assert said in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "yolo.yaml"))
    assert len(str(error.value).splitlines()) == 1


def test_weights_do_not_apply(tmp_path):
    with pytest.raises(InputError, match="holds its weights"):
        load_detector("onnx/a.onnx", "cpu", "none")
    with pytest.raises(InputError, match=r"did you mean 'onnx/a\.onnx'"):
        load_detector("a.onnx", "cpu")
