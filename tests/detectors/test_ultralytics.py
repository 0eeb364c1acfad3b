"""ultralytics' models against the library's own predictor."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

from detattack.api import wrap
from detattack.core.categories import COCO_NAMES
from detattack.core.errors import InputError
from detattack.core.types import Detections
from detattack.detectors.check import check_detector
from detattack.detectors.registry import load_detector
from detattack.detectors.ultralytics import head_of
from detattack.detectors.weights import seeded
from tests.detectors.random_networks import assert_alike, assert_same, enough, pictures

ultralytics = pytest.importorskip("ultralytics", reason="needs ultralytics (pip install '.[ultralytics]')")


DUAL = ("yolov10n", "yolo26n")
"""Their models have a head with NMS and one without."""
BOXES = ("yolov8n-seg", "yolov8n-pose", "yolo11n-obb", "yolo26n-obb", "yolov8s-worldv2", "yoloe-11s", "yolov8n-rtdetr")
"""Of these the boxes are taken."""
PROMPTED = ("yolov8s-worldv2", "yoloe-11s")
PLAIN = ("yolov5n", "yolov6n", "yolov9t", "yolo12n")


def save(layout: str, end: str, path: Path, side: int = 160) -> None:
    """Save a whole model with random weights, as ultralytics saves its own."""
    make = ultralytics.RTDETR if "rtdetr" in layout else ultralytics.YOLO
    network = seeded(lambda: make(f"{layout}.yaml").model).float()
    head_of(layout, network, bool(end)).calibrate(network.eval())
    network.names = dict(enumerate(COCO_NAMES))
    network.args = {"imgsz": side, "task": "detect"}
    torch.save({"model": network, "train_args": network.args}, path)


@pytest.fixture(scope="module", params=[("yolov8n", ""), *((name, end) for name in DUAL for end in ("", ":end2end"))])
def file(request, tmp_path_factory) -> str:
    """The file of a model and, after it, which of its heads."""
    layout, end = request.param
    path = tmp_path_factory.mktemp("yolo") / f"{layout}.pt"
    save(layout, end, path)
    return f"{path}{end}"


@pytest.fixture(scope="module")
def detector(file):
    return load_detector(f"ultralytics/{file}", "cpu")


@pytest.mark.parametrize("size", [(96, 128), (131, 171), (150, 110)])
def test_detect_is_the_predictor(detector, file, size):
    pixels = (pictures(2, *size) * 255).round().to(torch.uint8)
    threshold = enough(detector, detector.candidates(pixels / 255))
    for one, ours in zip(pixels, detector.detect(pixels / 255, threshold), strict=True):
        image = one.permute(1, 2, 0).flip(-1).numpy()
        path, _, end = file.partition(":")
        nms = {"nms": False} if end else {}
        (result,) = ultralytics.YOLO(path).predict(image, conf=threshold, imgsz=160, verbose=False, device="cpu", **nms)
        start, stop = result.boxes.xyxy.split(2, -1)  # of random weights, any corner may come first
        corners = torch.cat((torch.minimum(start, stop), torch.maximum(start, stop)), -1)
        assert len(result) >= 20
        assert_same(ours, Detections(corners, result.boxes.conf, result.boxes.cls.long()))


@pytest.mark.parametrize("size", [(96, 128), (131, 171), (150, 110), (700, 300)])
@pytest.mark.parametrize("shift", [0.0, 0.3 / 255])
def test_candidates_and_select_are_the_models_own_inference(detector, size, shift):
    images = (pictures(1, *size) * 250).round() / 255 + shift
    candidates = detector.candidates(images)
    threshold = enough(detector, candidates)
    for ours, theirs in zip(detector.select(candidates, threshold), detector.detect(images, threshold), strict=True):
        assert len(theirs) >= 20
        assert_same(ours, theirs)


@pytest.mark.parametrize("size", [(131, 171), (150, 110), (700, 300)])
def test_the_resize_that_has_the_gradient_is_within_a_level(detector, size):
    images = (pictures(1, *size) * 255).round() / 255
    smooth, exact = (detector._prepared(images + shift / 255) for shift in (0.01, 0))
    assert 0.1 < 255 * float((smooth - exact).abs().max()) < 1.1


def test_models_check_passes(detector):
    assert not [finding for finding in check_detector(detector, 3) if not finding.passed]


@pytest.mark.parametrize("layout", [*PLAIN, *BOXES])
def test_models_check_passes_for_other_heads(layout):
    detector = load_detector(f"ultralytics/{layout}.yaml", "cpu", "none")
    detector._side = 160
    assert not [finding for finding in check_detector(detector, 2) if not finding.passed]
    assert bool(detector.note) == layout.endswith(("-seg", "-pose", "-obb"))


@pytest.mark.parametrize("layout", ["yolov8n-seg", "yolo11n-obb", "yolov8n-rtdetr", "yoloe-11s"])
def test_other_heads_detect_as_the_predictor(layout, tmp_path):
    path = tmp_path / f"{layout}.pt"
    save(layout, "", path)
    detector = load_detector(f"ultralytics/{path}", "cpu")
    pixels = (pictures(1, 131, 171) * 255).round().to(torch.uint8)
    threshold = enough(detector, detector.candidates(pixels / 255))
    (ours,) = detector.detect(pixels / 255, threshold)
    image = pixels[0].permute(1, 2, 0).flip(-1).numpy()
    make = ultralytics.YOLOE if layout.startswith("yoloe") else ultralytics.YOLO  # which has its own defaults
    (result,) = make(path).predict(image, conf=threshold, imgsz=160, verbose=False, device="cpu")
    theirs = result.boxes if result.obb is None else result.obb
    assert len(theirs) >= 20
    assert_alike(ours, Detections(theirs.xyxy, theirs.conf, theirs.cls.long()))


@pytest.mark.parametrize(("layout", "side"), [("yolov8n-p6", 192), ("yolov8n", 150)])
def test_a_letterbox_is_of_the_models_stride(layout, side, tmp_path):
    """A model of larger images has a stride of 64, and the predictor takes the next multiple of a stride for a side."""
    path = tmp_path / f"{layout}.pt"
    save(layout, "", path, side)
    detector = load_detector(f"ultralytics/{path}", "cpu")
    pixels = (pictures(1, 131, 171) * 255).round().to(torch.uint8)
    candidates = detector.candidates(pixels / 255)
    threshold = enough(detector, candidates)
    (ours,) = detector.detect(pixels / 255, threshold)
    image = pixels[0].permute(1, 2, 0).flip(-1).numpy()
    (result,) = ultralytics.YOLO(path).predict(image, conf=threshold, imgsz=side, verbose=False, device="cpu")
    assert len(result) >= 20
    assert_same(ours, Detections(result.boxes.xyxy, result.boxes.conf, result.boxes.cls.long()))
    assert_same(detector.select(candidates, threshold)[0], ours)


def test_categories_have_cocos_ids(detector):
    ids = {c.name: c.coco_id for c in detector.categories}
    assert len(ids) == 80
    assert [ids[n] for n in ("person", "car", "stop sign", "dog", "toothbrush")] == [1, 3, 13, 18, 90]


def test_weights_of_a_file(tmp_path):
    network = ultralytics.YOLO("yolov8n.yaml", task="detect", verbose=False).model
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    first = load_detector("ultralytics/yolov8n.yaml", "cpu", str(tmp_path / "w.safetensors"))
    network.fuse(verbose=False).eval()
    image = pictures(1, 64, 96)
    with torch.no_grad():
        expected = network(first._prepared(image))[0]
    torch.testing.assert_close(first.network(first._prepared(image))[0], expected, rtol=1e-5, atol=1e-4)


def test_bad_input_is_one_line(tmp_path, file):
    def bad(*arguments) -> str:
        with pytest.raises(InputError) as error:
            load_detector(*arguments)
        assert len(str(error.value).splitlines()) == 1
        return str(error.value)

    (tmp_path / "bad.pt").write_bytes(b"no model")
    assert "cannot be loaded" in bad(f"ultralytics/{tmp_path}/bad.pt", "cpu")
    assert "--weights does not apply" in bad(f"ultralytics/{file}", "cpu", "none")
    assert "needs --weights FILE" in bad("ultralytics/yolov8n.yaml", "cpu")
    assert "unknown head of model ultralytics/yolov8n-cls.yaml 'Classify'" in bad(
        "ultralytics/yolov8n-cls.yaml", "cpu", "none"
    )
    assert "Detect has no branch without NMS" in bad("ultralytics/yolov8n.yaml:end2end", "cpu", "none")


class Encoder:
    """A text encoder: as many numbers of a text as the library's, seeded by it, in inference mode as those are."""

    def tokenize(self, texts):
        return torch.tensor([[sum(map(ord, text))] for text in texts])

    @torch.inference_mode()
    def encode_text(self, tokens):
        numbers = [torch.randn(512, generator=torch.Generator().manual_seed(int(token))) for token in tokens]
        return torch.nn.functional.normalize(torch.stack(numbers), dim=-1)


@pytest.fixture
def encoder(monkeypatch):
    """Puts `Encoder` where the library's text encoders are."""
    monkeypatch.setitem(sys.modules, "clip", ModuleType("clip"))
    sys.modules["clip"].__spec__ = ModuleSpec("clip", None)
    monkeypatch.setattr("ultralytics.nn.text_model.build_text_model", lambda variant, device: Encoder())


@pytest.mark.parametrize("layout", PROMPTED)
def test_a_prompt_makes_the_classes(layout, tmp_path, encoder):
    path, prompt = tmp_path / f"{layout}.pt", "traffic light . red car . dog"
    save(layout, "", path)
    detector = load_detector(f"ultralytics/{path}", "cpu", prompt=prompt)
    assert [c.name for c in detector.categories] == ["traffic light", "red car", "dog"]
    model = ultralytics.YOLO(path)
    model.set_classes(["traffic light", "red car", "dog"])
    pixels = (pictures(1, 131, 171) * 255).round().to(torch.uint8)
    candidates = detector.candidates(pixels / 255)
    threshold = enough(detector, candidates)
    (ours,) = detector.detect(pixels / 255, threshold)
    image = pixels[0].permute(1, 2, 0).flip(-1).numpy()
    (result,) = model.predict(image, conf=threshold, imgsz=160, verbose=False, device="cpu")
    assert_alike(ours, Detections(result.boxes.xyxy, result.boxes.conf, result.boxes.cls.long()))
    for one in (detector, wrap(model)):  # both have a gradient, though an encoder's tensors have none
        one._side = 160
        seen = (pixels / 255).requires_grad_()
        (gradient,) = torch.autograd.grad(one.candidates(seen).logits.sum(), seen)
        assert float(gradient.abs().amax()) > 0


@pytest.mark.parametrize("layout", PROMPTED)
def test_random_weights_take_a_prompt(layout):
    detector = load_detector(f"ultralytics/{layout}.yaml", "cpu", "none", prompt="car . person")
    assert detector.candidates(torch.rand(1, 3, 64, 96)).logits.shape[-1] == len(detector.categories) == 2


@pytest.mark.parametrize("layout", PROMPTED)
def test_a_text_encoder_that_is_not_there_is_one_line(layout, tmp_path, encoder, monkeypatch):
    path = tmp_path / f"{layout}.pt"
    save(layout, "", path)

    def fail(variant, device):
        raise ConnectionError(f"no download of {variant}")

    monkeypatch.setattr("ultralytics.nn.text_model.build_text_model", fail)
    said = (
        r"--prompt needs its text encoder, which is downloaded where there is a network \(no download of .*\); a file "
    )
    with pytest.raises(InputError, match=said) as error:
        load_detector(f"ultralytics/{path}", "cpu", prompt="car")
    assert "\n" not in str(error.value)
    monkeypatch.delitem(sys.modules, "clip")
    monkeypatch.setattr("detattack.detectors.ultralytics.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"\(pip install git\+https://github.com/ultralytics/CLIP.git\)"):
        load_detector(f"ultralytics/{path}", "cpu", prompt="car")


def test_prompts_that_do_not_fit(tmp_path):
    with pytest.raises(InputError, match="names its own classes; --prompt does not apply"):
        load_detector("ultralytics/yolov8n.yaml", "cpu", "none", prompt="car")
    network = ultralytics.YOLO("yolov8s-worldv2.yaml", verbose=False).model
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="tensors do not tell its classes; pass --prompt 'car . person'"):
        load_detector("ultralytics/yolov8s-worldv2.yaml", "cpu", str(tmp_path / "w.safetensors"))
