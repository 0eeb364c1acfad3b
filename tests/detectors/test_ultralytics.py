"""ultralytics' models against the library's own predictor."""

import pytest
import torch
from safetensors.torch import save_file

from detattack.core.categories import COCO_NAMES
from detattack.core.errors import InputError
from detattack.core.types import Detections
from detattack.detectors.check import check_detector
from detattack.detectors.registry import load_detector
from tests.detectors.random_networks import assert_same, enough, pictures, share_alike

ultralytics = pytest.importorskip("ultralytics", reason="needs ultralytics (pip install 'detattack[ultralytics]')")


@pytest.fixture(scope="module", params=["yolov8n", "yolo11n"])
def file(request, tmp_path_factory) -> str:
    """A whole model with random weights, saved as ultralytics saves its own."""
    path = tmp_path_factory.mktemp("yolo") / f"{request.param}.pt"
    detector = load_detector(f"ultralytics/{request.param}.yaml", "cpu", "none")
    model = ultralytics.YOLO(f"{request.param}.yaml", task="detect", verbose=False)
    model.model = detector.network
    model.model.names = dict(enumerate(COCO_NAMES))
    model.model.args = {"imgsz": 160, "task": "detect"}
    torch.save({"model": model.model, "train_args": {"imgsz": 160, "task": "detect"}}, path)
    return str(path)


@pytest.fixture(scope="module")
def detector(file):
    return load_detector(f"ultralytics/{file}", "cpu")


@pytest.mark.parametrize("size", [(96, 128), (131, 171), (150, 110)])
def test_detect_is_the_predictor(detector, file, size):
    pixels = (pictures(2, *size) * 255).round().to(torch.uint8)
    threshold = enough(detector, detector.candidates(pixels / 255))
    for one, ours in zip(pixels, detector.detect(pixels / 255, threshold), strict=True):
        image = one.permute(1, 2, 0).flip(-1).numpy()
        (result,) = ultralytics.YOLO(file).predict(image, conf=threshold, imgsz=160, verbose=False, device="cpu")
        theirs = Detections(result.boxes.xyxy, result.boxes.conf, result.boxes.cls.long())
        assert len(theirs) >= 20
        assert share_alike(ours, theirs, pixels=0.05, score=1e-4) >= 0.99  # it convolves channels last


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
    assert torch.equal(first.network(first._prepared(image))[0], expected)


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
    assert "Segment" in bad("ultralytics/yolov8n-seg.yaml", "cpu", "none")
