"""Models in memory become detectors: the same bytes as by name, and the model stays as it was."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import detection

from detattack.api import InputError, attack, load_detector, wrap
from detattack.core.types import Category, Detections
from detattack.datasets.image_io import to_tensor
from detattack.detectors.check import check_detector
from detattack.detectors.registry import fingerprint
from tests.detectors import small_transformers
from tests.detectors.random_networks import assert_same, enough, pictures

NAME = "fasterrcnn_mobilenet_v3_large_320_fpn"
NAMES = ["scratch", "dent", "hole"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Weights of a Faster R-CNN, random, that finds many things; and the module that has them."""
    path = tmp_path_factory.mktemp("weights") / "own.safetensors"
    save_file(load_detector(f"torchvision/{NAME}", "cpu", "none").network.state_dict(), path)
    network = getattr(detection, NAME)(weights=None, weights_backbone=None)
    network.load_state_dict(load_detector(f"torchvision/{NAME}", "cpu", str(path)).network.state_dict())
    return path, network


def pixels(height=96, width=128):
    return (pictures(1, height, width)[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


def test_a_faster_rcnn_in_memory_gives_the_bytes_of_the_one_by_name(saved):
    path, network = saved
    by_name = load_detector(f"torchvision/{NAME}", "cpu", str(path))
    ours = wrap(network)
    assert fingerprint(ours) == fingerprint(by_name)
    threshold = enough(by_name, by_name.candidates(to_tensor(pixels())[None]), 5)
    options = {"goal": "suppress:all", "score_threshold": threshold, "max_iterations": 4, "step_size": 2.0}
    first, second = (attack(pixels(), one, **options) for one in (by_name, ours))
    assert first.record.backwards > 0
    assert first.png == second.png
    assert first.record.adversarial == second.record.adversarial


def test_the_model_stays_as_it_was(saved):
    network = saved[1].train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    detector = wrap(network)
    detector.detect(pictures(1, 96, 128), 0.1)
    assert network.training
    assert all(parameter.requires_grad for parameter in network.roi_heads.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in detector.network.parameters())


def test_a_module_in_half_precision_is_judged_in_single_precision(saved):
    network = deepcopy(saved[1]).half()
    image = pictures(1, 96, 128)
    ours, theirs = wrap(network), wrap(deepcopy(network).float())
    threshold = enough(theirs, theirs.candidates(image), 5)
    assert_same(ours.detect(image, threshold)[0], theirs.detect(image, threshold)[0])
    assert {value.dtype for value in network.parameters()} == {torch.float16}


BUILDERS = {
    "retinanet": (partial(detection.retinanet_resnet50_fpn, num_classes=3), 3),
    "retinanet from 1": (partial(detection.retinanet_resnet50_fpn, num_classes=4), 3),
    "fcos": (partial(detection.fcos_resnet50_fpn, num_classes=3), 3),
    "ssdlite": (partial(detection.ssdlite320_mobilenet_v3_large, num_classes=4), 3),
    "ssd": (partial(detection.ssd300_vgg16, num_classes=4), 3),
    "fasterrcnn": (partial(detection.fasterrcnn_mobilenet_v3_large_320_fpn, num_classes=4), 3),
}


@pytest.mark.parametrize("kind", BUILDERS)
def test_own_classes_of_every_torchvision_head(kind):
    build, count = BUILDERS[kind]
    network = build(weights=None, weights_backbone=None)
    detector = wrap(network, NAMES, name="mine")
    assert [c.name for c in detector.categories] == NAMES
    assert detector.candidates(pictures(1, 64, 64)).logits.shape[-1] == count
    with pytest.raises(InputError, match=r"wrap mine: its head has . columns, --categories names 7"):
        wrap(network, list("abcdefg"), name="mine")
    with pytest.raises(InputError, match="not COCO's 91; pass categories"):
        wrap(network)


@pytest.mark.parametrize("family", ["detr", "deformable"])
def test_a_transformer_with_its_processor(family):
    transformers = pytest.importorskip("transformers", reason="needs transformers (pip install '.[hf]')")
    config, processor = getattr(small_transformers, family)()
    torch.manual_seed(0)
    network = transformers.AutoModelForObjectDetection.from_config(config)
    before = [parameter.requires_grad for parameter in network.parameters()]
    detector = wrap(network, processor=processor)
    assert [parameter.requires_grad for parameter in network.parameters()] == before
    images = pictures(1, 90, 120)
    for ours, theirs in zip(
        detector.select(detector.candidates(images), 0.0), detector.detect(images, 0.0), strict=True
    ):
        assert len(ours) == len(theirs) > 0
    with pytest.raises(InputError, match="pass processor"):
        wrap(network)
    with pytest.raises(InputError, match="names its own classes"):
        wrap(network, NAMES, processor=processor)


def test_a_yolo_of_ultralytics():
    ultralytics = pytest.importorskip("ultralytics", reason="needs ultralytics (pip install '.[ultralytics]')")
    model = ultralytics.YOLO("yolov8n.yaml", task="detect", verbose=False)
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    detector = wrap(model, name="mine")
    assert (detector.name, len(detector.categories)) == ("mine", 80)
    images = pictures(1, 96, 128).requires_grad_()
    detector.candidates(images).logits.amax().backward()
    assert float(images.grad.abs().max()) > 0
    assert model.model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.model.state_dict().items())


class Grid(nn.Module):
    """Boxes on a grid and logits of two classes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Conv2d(3, 6, 16, 16)

    def forward(self, images):
        found = self.head((images - 0.5) * 4).flatten(2).transpose(1, 2)
        height, width = images.shape[-2:]
        y, x = torch.meshgrid(
            *(torch.arange(n // 16, device=images.device) * 16.0 for n in (height, width)), indexing="ij"
        )
        corner = torch.stack((x, y), -1).reshape(1, -1, 2) + 4 * found[..., :2].sigmoid()
        sides = 10 + 8 * found[..., 2:4].sigmoid()
        return torch.cat((corner, corner + sides), -1), 3 * found[..., 4:]


def test_a_function_keeps_the_contract():
    detector = wrap(Grid().eval(), ["a", "b"], nms_iou=0.4, eval_threshold=0.01)
    verdicts = {finding.name: finding.verdict for finding in check_detector(detector, 3)}
    assert set(verdicts.values()) == {"passed"}, verdicts


def test_scores_and_logits_are_the_same_detector():
    grid = Grid().eval()

    def scored(images):
        boxes, logits = grid(images)
        return boxes, logits.sigmoid()

    one, other = wrap(grid, ["a", "b"]), wrap(scored, ["a", "b"], scores=True)
    assert other.name == "scored"
    images = pictures(2, 64, 96)
    for ours, theirs in zip(one.detect(images, 0.3), other.detect(images, 0.3), strict=True):
        assert_same(ours, theirs)
    assert fingerprint(one) != fingerprint(wrap(Grid().train(), ["a", "c"]))
    assert attack(pixels(), other, goal="suppress:a", score_threshold=0.3).record.status == "success"


def test_scores_and_logits_are_told_apart(caplog):
    """What is taken for the other would find nothing or everything."""
    grid = Grid().eval()

    def scored(images):
        boxes, logits = grid(images)
        return boxes, logits.sigmoid()

    with pytest.raises(ValueError, match=r"Grid: its scores are from .* not in \[0,1\]; are they logits\?"):
        wrap(grid, ["a", "b"], scores=True).detect(pictures(1, 64, 96), 0.3)
    wrap(grid, ["a", "b"]).detect(pictures(1, 128, 96), 0.3)
    assert not caplog.messages
    detector = wrap(scored, ["a", "b"], name="told apart")
    detector.detect(pictures(2, 128, 96), 0.3)
    detector.detect(pictures(2, 128, 96), 0.3)
    assert caplog.messages == ["told apart: all its logits are from 0 to 1; if they are scores, pass scores=True"]


def test_without_nms_boxes_that_overlap_stay():
    def twice(images):
        box = images.new_tensor([[4, 4, 20, 20], [5, 4, 20, 20.0]])
        return box.expand(len(images), -1, -1), images.new_tensor([[0.1], [2.0]]).expand(len(images), -1, -1)

    (both,) = wrap(twice, ["a"], nms_iou=None).detect(torch.zeros(1, 3, 32, 32), 0.3)
    (best,) = wrap(twice, ["a"]).detect(torch.zeros(1, 3, 32, 32), 0.3)
    assert [round(score, 2) for score in both.scores.tolist()] == [0.88, 0.52]
    assert len(best) == 1


def test_categories_keep_their_own_ids(toy):
    detector = wrap(Grid(), [Category("a", 7), Category("b", 2)])
    assert [c.coco_id for c in detector.categories] == [7, 2]
    own = load_detector(f"{toy}:factory", "cpu")
    assert wrap(own) is own


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (None, {}, "wrap NoneType: neither a model of"),
        (Detections, {}, "wrap Detections: neither a model of"),
        (Grid(), {}, "wrap Grid: a function does not say what its classes are called"),
        (Grid(), {"categories": []}, "categories: expected a list of names"),
        (Grid(), {"categories": "car"}, "categories: expected a list of names, got str"),
        (Grid(), {"categories": ["a", "a"]}, "categories: 'a' is named twice"),
        (Grid(), {"categories": ["a", "b"], "iou": 1}, "wrap Grid: "),
    ],
)
def test_what_cannot_be_wrapped(model, options, said):
    with pytest.raises(InputError) as error:
        wrap(model, **options)
    assert str(error.value).startswith(said)
    assert len(str(error.value).splitlines()) == 1


def test_options_of_functions_are_not_those_of_models(saved):
    with pytest.raises(InputError, match="nms_iou: of functions only"):
        wrap(saved[1], nms_iou=0.3)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"Grid: expected \[N,A,4\] and \[N,A,3\], got"):
        wrap(Grid(), NAMES).detect(torch.zeros(1, 3, 32, 32), 0.3)
