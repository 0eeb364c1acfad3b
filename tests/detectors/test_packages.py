"""Detectors of smaller packages (effdet, rfdetr, pixeltable-yolox) against the packages' own inference."""

import importlib.util

import pytest
import torch
from PIL import Image

from detattack.core.categories import COCO_IDS
from detattack.core.errors import InputError
from detattack.core.types import Detections
from detattack.detectors.check import check_detector
from detattack.detectors.registry import load_detector
from tests.detectors.random_networks import assert_alike, enough, pictures

PACKAGES = {"effdet/tf_efficientdet_lite0": "effdet", "rfdetr/nano": "rfdetr", "yolox/yolox-nano": "yolox"}


def needs(spec: str) -> None:
    package = PACKAGES[spec]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package} (pip install '.[{package}]')")


@pytest.fixture(scope="module", params=PACKAGES)
def detector(request):
    needs(request.param)
    return load_detector(request.param, "cpu", "none")


def test_models_check_passes(detector):
    assert not [finding for finding in check_detector(detector, 2) if not finding.passed]


def test_categories_have_cocos_ids(detector):
    assert {c.name: c.coco_id for c in detector.categories} == COCO_IDS


def test_effdet_detects_as_its_own_transforms_and_bench():
    needs("effdet/tf_efficientdet_lite0")
    from effdet.data.transforms import transforms_coco_eval

    detector = load_detector("effdet/tf_efficientdet_lite0", "cpu", "none")
    config = detector._config
    (pixels,) = (pictures(1, 131, 171) * 255).round().to(torch.uint8)
    transform = transforms_coco_eval(
        config.image_size, use_prefetcher=True, mean=tuple(config.mean), std=tuple(config.std)
    )
    array, told = transform(Image.fromarray(pixels.permute(1, 2, 0).numpy()), {})
    mean, std = (torch.tensor([255 * x for x in of]).view(1, 3, 1, 1) for of in (config.mean, config.std))
    values = (torch.from_numpy(array)[None].float() - mean) / std
    info = {"img_scale": torch.tensor([told["img_scale"]]), "img_size": torch.tensor([[171.0, 131.0]])}
    with torch.no_grad():
        (found,) = detector.network(values, info)
    theirs = detector._columns.detections(found[:, :4], found[:, 4], found[:, 5].long() - 1)
    (ours,) = detector.detect(pixels[None] / 255, 0.0)
    assert len(theirs) >= 20
    assert_alike(ours, theirs)


def test_yolox_detects_as_its_own_processor():
    needs("yolox/yolox-nano")
    from yolox.config import YoloxConfig
    from yolox.models import Yolox
    from yolox.models.processor import YoloxProcessor

    detector = load_detector("yolox/yolox-nano", "cpu", "none")
    (pixels,) = (pictures(1, 131, 171) * 255).round().to(torch.uint8)
    threshold = enough(detector, detector.candidates(pixels[None] / 255))
    model = Yolox(detector.network, YoloxProcessor(YoloxConfig.get_named_config("yolox-nano")))
    with torch.no_grad():
        (found,) = model([Image.fromarray(pixels.permute(1, 2, 0).numpy())], threshold=threshold)
    theirs = Detections(*(torch.tensor(found[part]) for part in ("bboxes", "scores", "labels")))
    (ours,) = detector.detect(pixels[None] / 255, threshold)
    assert len(theirs) >= 20
    assert_alike(ours, theirs)


def test_rfdetr_detects_as_its_own_predict():
    needs("rfdetr/nano")
    import rfdetr

    detector = load_detector("rfdetr/nano", "cpu", "none")
    model = rfdetr.RFDETRNano(pretrain_weights=None, device="cpu")
    model.model.model.load_state_dict(detector.network.state_dict())
    (pixels,) = (pictures(1, 131, 171) * 255).round().to(torch.uint8)
    found = model.predict(Image.fromarray(pixels.permute(1, 2, 0).numpy()), threshold=0.1)
    label_of = {category.coco_id: label for label, category in enumerate(detector.categories)}
    labels = torch.tensor([label_of[i] for i in found.class_id.tolist()])
    theirs = Detections(torch.from_numpy(found.xyxy), torch.from_numpy(found.confidence), labels)
    (ours,) = detector.detect(pixels[None] / 255, 0.1)
    assert len(theirs) >= 20
    assert_alike(ours, theirs)


def test_own_classes_come_with_own_weights(tmp_path):
    needs("yolox/yolox-nano")
    (tmp_path / "names.txt").write_text("bolt\nnut\n")
    detector = load_detector("yolox/yolox-nano", "cpu", "none", str(tmp_path / "names.txt"))
    assert [c.name for c in detector.categories] == ["bolt", "nut"]
    with pytest.raises(InputError, match="its own weights know COCO's classes; pass --weights FILE too"):
        load_detector("yolox/yolox-nano", "cpu", None, str(tmp_path / "names.txt"))


@pytest.mark.parametrize(
    ("spec", "near"),
    [("effdet/tf_efficientdet_lite9", "lite0"), ("rfdetr/nan", "rfdetr/nano"), ("yolox/yolox-q", "yolox/yolox-")],
)
def test_unknown_models_are_one_line(spec, near):
    needs(next(known for known in PACKAGES if known.startswith(spec.partition("/")[0])))
    with pytest.raises(InputError) as error:
        load_detector(spec, "cpu", "none")
    assert near in str(error.value)
    assert "\n" not in str(error.value)
