"""detectron2's models against its own predictor, and its RetinaNet against torchvision's with the same weights."""

import pickle
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.ops import clip_boxes_to_image

from detattack.core.boxes import iou_matrix
from detattack.core.categories import COCO_IDS
from detattack.core.errors import InputError
from detattack.detectors.check import check_detector
from detattack.detectors.parts.settings import with_setting
from detattack.detectors.registry import fingerprint, load_detector
from tests.detectors.random_networks import assert_same, enough, pictures, resizing, share_alike

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
    network = with_setting(detector.network, detector.THRESHOLD, threshold)
    return network([{"image": values, "height": height, "width": width}])[0]["instances"]


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


@pytest.mark.parametrize("size", [(96, 128), (131, 171), (150, 110)])
def test_the_resize_that_has_the_gradient_is_within_a_level(detector, size):
    images = (pictures(1, *size) * 255).round() / 255
    smooth, exact = (detector._resized(images + shift / 255) for shift in (0.01, 0))
    assert 0.1 < float((smooth - exact).abs().max()) < 1.1


def test_an_image_of_a_file_has_the_values_of_the_official_resize_whatever_its_neighbors_are(detector):
    of_file = (pictures(1, 131, 171) * 255).round() / 255
    both = detector._resized(torch.cat((of_file, of_file + 0.3 / 255)))
    assert torch.equal(both[:1], detector._resized(of_file))
    assert torch.equal(both[1:], detector._resized(of_file + 0.3 / 255))


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


# The same weights in torchvision


def torchvision_twin():
    """torchvision's RetinaNet v2 with random weights, for small images."""
    twin = load_detector("torchvision/retinanet_resnet50_fpn_v2", "cpu", "none")
    resizing(twin.network, 128, 256)
    twin.network.detections_per_img = 100
    unnamed = [i for i in range(91) if i not in COLUMNS]
    twin.network.head.classification_head.cls_logits.bias.unflatten(0, (9, 91))[:, unnamed] = -20
    return twin


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """torchvision's weights as detectron2 names and orders them: images in BGR 0-255, sizes before shapes in
    the order of a cell's anchors, no column for the background."""
    rules = [
        (r"backbone\.body\.conv1", "backbone.bottom_up.stem.conv1"),
        (r"backbone\.body\.bn1", "backbone.bottom_up.stem.conv1.norm"),
        (r"backbone\.body\.layer(\d)\.", lambda m: f"backbone.bottom_up.res{int(m[1]) + 1}."),
        (r"\.downsample\.0", ".shortcut"),
        (r"\.downsample\.1", ".shortcut.norm"),
        (r"\.bn(\d)", r".conv\1.norm"),
        (r"backbone\.fpn\.inner_blocks\.(\d)\.0", lambda m: f"backbone.fpn_lateral{int(m[1]) + 3}"),
        (r"backbone\.fpn\.layer_blocks\.(\d)\.0", lambda m: f"backbone.fpn_output{int(m[1]) + 3}"),
        (r"backbone\.fpn\.extra_blocks", "backbone.top_block"),
        (r"head\.(classification|regression)_head\.conv\.(\d)\.(\d)", _tower),
        (r"head\.classification_head\.cls_logits", "head.cls_score"),
        (r"head\.regression_head\.bbox_reg", "head.bbox_pred"),
    ]
    result = {}
    for key, value in state.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        result[key] = value
    order = [shape * 3 + size for size in range(3) for shape in range(3)]
    for key in [k for k in result if k.startswith(("head.cls_score", "head.bbox_pred"))]:
        by_anchor = result[key].unflatten(0, (9, -1))[order]
        result[key] = (by_anchor[:, COLUMNS] if "cls_score" in key else by_anchor).flatten(0, 1)
    # Before a norm torchvision's convolutions have no bias.
    towers = [f"head.{subnet}.{3 * i}.bias" for subnet in ("cls_subnet", "bbox_subnet") for i in range(4)]
    result |= {key: torch.zeros(256) for key in towers}
    first = "backbone.bottom_up.stem.conv1.weight"
    result[first] = result[first].flip(1)
    return {key: value for key, value in result.items() if not key.endswith("num_batches_tracked")}


COLUMNS = list(COCO_IDS.values())


def _tower(match) -> str:
    """Four times convolution, norm, ReLU, in one sequence."""
    subnet = "cls_subnet" if match[1] == "classification" else "bbox_subnet"
    return f"head.{subnet}.{3 * int(match[2]) + int(match[3])}"


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """torchvision's RetinaNet and detectron2's with the same weights tensors and the same anchors."""
    from detectron2 import model_zoo

    folder = tmp_path_factory.mktemp("twins")
    theirs = torchvision_twin()
    save_file({k: v.contiguous() for k, v in renamed(theirs.network.state_dict()).items()}, folder / "w.safetensors")
    mean, std = ([255 * v for v in reversed(values)] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    (folder / "twin.yaml").write_text(
        f"_BASE_: {model_zoo.get_config_file(ZOO['retinanet'])}\n"
        "INPUT: {MIN_SIZE_TEST: 128, MAX_SIZE_TEST: 256}\n"
        f"MODEL: {{PIXEL_MEAN: {mean}, PIXEL_STD: {std}, RESNETS: {{STRIDE_IN_1X1: false}}, RETINANET: {{NORM: GN}}}}\n"
    )
    ours = load_detector(f"detectron2/{folder}/twin.yaml", "cpu", str(folder / "w.safetensors"))
    cells = theirs.network.anchor_generator.cell_anchors
    for own, other in zip(ours.network.anchor_generator.cell_anchors, cells, strict=True):
        own.copy_(other[[shape * 3 + size for size in range(3) for shape in range(3)]])  # torchvision rounds its own
    return ours, theirs


@pytest.mark.parametrize("size", [(128, 256), (256, 128), (128, 128)])
def test_detectron2_and_torchvision_say_the_same_with_the_same_weights(twins, size):
    """Where neither resizes, and all strides divide the sides (torchvision spreads the anchors of its coarsest levels
    otherwise): each candidate's box and logits, and the detections of boxes that are clipped to the image before NMS,
    as torchvision does it. detectron2 does it after NMS, which decides differently at the border then."""
    ours, theirs = twins
    images = (pictures(1, *size) * 255).round() / 255
    one, other = (detector.candidates(images) for detector in twins)
    order = [shape * 3 + size for size in range(3) for shape in range(3)]
    boxes, logits = (part.unflatten(1, (-1, 9))[:, :, order].flatten(1, 2) for part in (other.boxes, other.logits))
    torch.testing.assert_close(one.boxes, boxes, rtol=1e-3, atol=0.01)
    torch.testing.assert_close(one.logits, logits, rtol=1e-3, atol=1e-3)
    clipped = replace(one, boxes=clip_boxes_to_image(one.boxes, size))
    (first,), (second,) = ours.select(clipped, 0.02), theirs.detect(images, 0.02)
    assert len(first) >= 20
    assert share_alike(second, first, 0.1, 1e-4) == 1
    assert share_alike(ours.detect(images, 0.02)[0], second, 0.1, 1e-4) > 0.9


@pytest.mark.parametrize(("side", "most"), [(96, 1.5), (120, 1.5), (192, 255)])
def test_where_they_resize_they_see_other_images(twins, side, most):
    """Enlarged, Pillow rounds to 8 bits between its two passes. Reduced, it also smooths and torchvision does not.
    Sides are rounded by one and cut off by the other, so that boxes of images that are not square differ too."""
    ours, theirs = twins
    images = (pictures(1, side, side) * 255).round() / 255
    seen = ours._resized(images).flip(1)
    other = theirs.network.transform.resize(images[0])[0][None] * 255
    difference = float((seen - other).abs().max())
    assert difference <= most
    assert side < 128 or difference > 2
