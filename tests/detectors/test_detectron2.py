"""detectron2's models against its own predictor, and its RetinaNet against torchvision's with the same weights."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from random_networks import assert_same, enough, pictures
from safetensors.torch import save_file

from detattack.boxes import iou_matrix
from detattack.detectors.check import check_detector
from detattack.detectors.registry import fingerprint, load_detector
from detattack.errors import InputError

detectron2 = pytest.importorskip("detectron2", reason="needs detectron2, built from source (docs/detectors.md)")

ZOO = {"retinanet": "COCO-Detection/retinanet_R_50_FPN_3x.yaml", "rcnn": "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml"}
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", params=ZOO)
def config(request, tmp_path_factory) -> str:
    """A user's own config: the model zoo's, for small images."""
    from detectron2 import model_zoo

    path = tmp_path_factory.mktemp("config") / f"{request.param}.yaml"
    base = model_zoo.get_config_file(ZOO[request.param])
    path.write_text(f"_BASE_: {base}\nINPUT:\n  MIN_SIZE_TEST: 128\n  MAX_SIZE_TEST: 192\n")
    return str(path)


@pytest.fixture(scope="module")
def detector(config):
    return load_detector(f"detectron2/{config}", "cpu", "none")


@torch.no_grad()
def predictor(detector, config, pixels, threshold):
    """What detectron2's DefaultPredictor does, on our network: BGR in, its own resize."""
    from detectron2.config import get_cfg
    from detectron2.data.transforms import ResizeShortestEdge

    cfg = get_cfg()
    cfg.merge_from_file(config)
    image = pixels.permute(1, 2, 0).numpy()[:, :, ::-1]
    height, width = image.shape[:2]
    resize = ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST] * 2, cfg.INPUT.MAX_SIZE_TEST).get_transform(image)
    values = torch.as_tensor(resize.apply_image(image).astype("float32").transpose(2, 0, 1))
    with detector._score_threshold(threshold):
        return detector.network([{"image": values, "height": height, "width": width}])[0]["instances"]


@pytest.mark.parametrize("size", [(96, 128), (131, 171), (150, 110)])
def test_detect_is_the_predictor(detector, config, size):
    pixels = (pictures(2, *size) * 255).round().to(torch.uint8)
    threshold = enough(detector, detector.candidates(pixels / 255))
    for one, ours in zip(pixels, detector.detect(pixels / 255, threshold), strict=True):
        theirs = predictor(detector, config, one, threshold)
        assert len(theirs) >= 20
        assert torch.equal(ours.labels, theirs.pred_classes)
        torch.testing.assert_close(ours.boxes, theirs.pred_boxes.tensor)
        torch.testing.assert_close(ours.scores, theirs.scores)


@pytest.mark.parametrize("size", [(96, 128), (131, 171), (150, 110)])
def test_candidates_and_select_are_the_models_own_inference(detector, size):
    images = pictures(1, *size) * 0.99 + 0.001
    candidates = detector.candidates(images)
    threshold = enough(detector, candidates)
    for ours, theirs in zip(detector.select(candidates, threshold), detector.detect(images, threshold), strict=True):
        assert len(theirs) >= 20
        assert_same(ours, theirs)


def test_models_check_passes(detector):
    assert not [finding for finding in check_detector(detector, 3) if not finding.passed]


def test_an_asked_box_adds_regions_that_select_ignores(detector):
    images = pictures(1, 96, 128)
    plain, asked = detector.candidates(images), detector.candidates(images, torch.tensor([[[10.0, 10, 60, 50]]]))
    if "rcnn" in detector.name:
        assert asked.logits.shape[1] == plain.logits.shape[1] + 10
        assert bool((iou_matrix(asked.anchors[0, -10:], torch.tensor([[10.0, 10, 60, 50]])) > 0.3).all())
    for ours, theirs in zip(detector.select(asked, 0.01), detector.select(plain, 0.01), strict=True):
        assert_same(ours, theirs)


def test_categories_are_those_of_the_data_set(detector):
    ids = {c.name: c.coco_id for c in detector.categories}
    assert len(ids) == 80
    assert [ids[n] for n in ("person", "car", "stop sign", "dog", "toothbrush")] == [1, 3, 13, 18, 90]


def test_weights_of_a_file(detector, config, tmp_path):
    state = detector.network.state_dict()
    save_file(state, tmp_path / "w.safetensors")
    torch.save({"model": state}, tmp_path / "w.pth")
    arrays = {key: value.numpy() for key, value in state.items()} | {"pixel_mean": np.zeros((3, 1, 1))}
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "a model zoo"}))
    for name in ("w.safetensors", "w.pth", "w.pkl"):
        assert fingerprint(load_detector(f"detectron2/{config}", "cpu", str(tmp_path / name))) == fingerprint(detector)


class Trap:
    def __reduce__(self):
        return subprocess.check_call, ([sys.executable, "-c", "raise SystemExit(3)"],)


def test_bad_input_is_one_line(config, tmp_path):
    def bad(*arguments) -> str:
        with pytest.raises(InputError) as error:
            load_detector(*arguments)
        assert len(str(error.value).splitlines()) == 1
        return str(error.value)

    assert "neither a file nor in the model zoo" in bad("detectron2/COCO-Detection/nothing.yaml", "cpu")
    (tmp_path / "bad.yaml").write_text("MODEL: [")
    assert "cannot be read" in bad(f"detectron2/{tmp_path}/bad.yaml", "cpu")
    (tmp_path / "unsafe.yaml").write_text("MODEL: !!python/object/apply:os.getcwd []")
    assert "cannot be read" in bad(f"detectron2/{tmp_path}/unsafe.yaml", "cpu")
    (tmp_path / "trap.pkl").write_bytes(pickle.dumps({"model": Trap()}))
    assert "refused" in bad(f"detectron2/{config}", "cpu", str(tmp_path / "trap.pkl"))
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    assert "has 80 classes, 2 are named" in bad(f"detectron2/{config}", "cpu", "none", str(tmp_path / "names.txt"))
    assert "cascade" in bad("detectron2/Misc/cascade_mask_rcnn_R_50_FPN_3x.yaml", "cpu", "none").lower()
