"""The adapter against the bare torchvision model: the same detections, and a gradient that is one."""

import copy

import pytest
import torch
from torchvision.models.detection import RetinaNet

from detattack.core.boxes import iou_matrix
from detattack.core.types import Detections
from detattack.datasets.scenes import CATEGORIES
from detattack.detectors.base import Detector
from detattack.detectors.demo.network import build_network
from detattack.detectors.parts.random_weights import noise
from detattack.detectors.registry import fingerprint, load_detector
from detattack.detectors.torchvision.one_stage import TorchvisionRetinaNet
from detattack.engine import PRESETS, run
from detattack.tasks.detection.goals import CleanImage, parse_goal
from detattack.tasks.detection.objective import DetectionObjective
from tests.detectors.random_networks import assert_same, pictures, resizing

CPU = torch.device("cpu")
FLOOR = 0.05


def spread(network: RetinaNet, seed: int = 0) -> RetinaNet:
    """Random weights whose scores reach from nearly 0 to nearly 1 and whose boxes are not just the anchors."""
    generator = torch.Generator().manual_seed(seed)
    head = network.head
    with torch.no_grad():
        for layer, scale in ((head.classification_head.cls_logits, 0.1), (head.regression_head.bbox_reg, 0.05)):
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * scale)
        bias = head.classification_head.cls_logits.bias
        bias.copy_(torch.randn(bias.shape, generator=generator) * 2 - 3)
    return network.eval()


@pytest.fixture(scope="module")
def network() -> RetinaNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return resizing(spread(build_network()), 128, 192)


@pytest.fixture
def detector(network) -> TorchvisionRetinaNet:
    return TorchvisionRetinaNet("small", copy.deepcopy(network), list(CATEGORIES), CPU)


@torch.no_grad()
def bare(network, images, columns) -> list[Detections]:
    """The network's own forward; detections of columns that name nothing left out."""
    label = {i: n for n, i in enumerate(i for i, c in enumerate(columns) if c is not None)}
    results = []
    for one in network(list(images)):
        rows = [i for i, column in enumerate(one["labels"].tolist()) if column in label]
        labels = torch.tensor([label[one["labels"][i].item()] for i in rows], dtype=torch.int64)
        results.append(Detections(one["boxes"][rows], one["scores"][rows], labels))
    return results


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("size", [(320, 480), (256, 256), (149, 211), (211, 149), (333, 500)])
def test_candidates_and_select_are_the_models_own_inference(detector, network, size, count):
    images = pictures(count, *size)
    theirs = bare(network, images, list(CATEGORIES))
    chosen = detector.select(detector.candidates(images), FLOOR)
    for ours, official, own in zip(chosen, detector.detect(images, FLOOR), theirs, strict=True):
        assert len(own) >= 20
        assert len(own.labels.unique()) > 1
        assert_same(ours, own)
        assert_same(official, own)


@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.7])
def test_the_threshold_is_the_one_asked_for(detector, network, threshold):
    images = pictures(2, 200, 300)
    network = copy.deepcopy(network)
    network.score_thresh = threshold
    chosen = detector.select(detector.candidates(images), threshold)
    official = detector.detect(images, threshold)
    for ours, theirs, own in zip(chosen, official, bare(network, images, list(CATEGORIES)), strict=True):
        assert_same(ours, own)
        assert_same(theirs, own)
        assert (own.scores > threshold).all()
    assert detector.network.score_thresh == detector.eval_threshold == FLOOR


def test_nothing_above_the_threshold_is_an_empty_result(detector):
    images = pictures(1, 64, 96)
    for found in (*detector.select(detector.candidates(images), 1.0), *detector.detect(images, 1.0)):
        assert (len(found), tuple(found.boxes.shape)) == (0, (0, 4))
        assert found.labels.dtype == torch.int64


def test_the_contract(detector):
    assert isinstance(detector, Detector)
    candidates = detector.candidates(pictures(2, 100, 150))
    count = candidates.logits.shape[1]
    assert candidates.boxes.shape == candidates.anchors.shape == (2, count, 4)
    assert candidates.logits.shape == (2, count, len(CATEGORIES))
    assert sum(candidates.state.level_sizes) == count
    assert not any(p.requires_grad for p in detector.network.parameters())
    assert not detector.network.training


def test_anchors_are_in_pixels_of_the_given_image(detector):
    """A picture twice as large is resized to the same input: anchors and boxes twice as large."""
    small, large = (detector.candidates(pictures(1, *size)) for size in ((64, 96), (128, 192)))
    torch.testing.assert_close(2 * small.anchors, large.anchors)
    wide = detector.candidates(pictures(1, 100, 400)).anchors[0]
    x, y = ((wide[:, :2] + wide[:, 2:]) / 2).max(0).values.tolist()
    assert 360 < x < 460  # 192 pixels and a padding below 32 + 64, in units of the image
    assert 90 < y < 340


@pytest.fixture(scope="module")
def coco() -> TorchvisionRetinaNet:
    """torchvision's own, 91 columns, with random weights, a column of no name (12) often on top."""
    detector = load_detector("torchvision/retinanet_resnet50_fpn", "cpu", "none")
    resizing(spread(detector.network), 64, 96)
    detector.network.head.classification_head.cls_logits.bias.view(-1, 91)[:, 12] += 4
    return detector


@pytest.mark.parametrize(("count", "size"), [(1, (96, 150)), (2, (133, 101))])
def test_a_head_of_91_columns(coco, count, size):
    named = {c.coco_id: c for c in coco.categories}
    columns = [named.get(i) for i in range(91)]
    images = pictures(count, *size)
    theirs = bare(coco.network, images, columns)
    chosen = coco.select(coco.candidates(images), FLOOR)
    for ours, official, own in zip(chosen, coco.detect(images, FLOOR), theirs, strict=True):
        assert len(own) >= 20
        assert_same(ours, own)
        assert_same(official, own)
    with torch.no_grad():
        assert all((one["labels"] == 12).any() for one in coco.network(list(images)))


def test_the_registrys_coco_categories_have_their_names_and_ids(coco):
    ids = {c.name: c.coco_id for c in coco.categories}
    assert len(coco.categories) == len(ids) == 80
    assert [ids[n] for n in ("person", "car", "bus", "truck", "traffic light", "stop sign", "dog", "toothbrush")] == [
        *(1, 3, 6, 8, 10, 13, 18, 90)
    ]
    assert sorted(set(range(1, 91)) - set(ids.values())) == [12, 26, 29, 30, 45, 66, 68, 69, 71, 83]
    assert coco.candidates(pictures(1, 32, 32)).logits.shape[-1] == 80


@pytest.mark.parametrize("goal", ["suppress:all", "suppress:{}", "inject:{}@center", "mislabel:{}->bicycle"])
def test_input_gradient_by_finite_differences(detector, goal):
    detector.network.double()
    images = pictures(2, 60, 90, dtype=torch.float64)
    clean = [found.above(0.3) for found in detector.select(detector.candidates(images), 0.3)]
    clean = [Detections(found.boxes + 0.3, found.scores, found.labels) for found in clean]  # IoU has a kink at 1
    common = detector.categories[int(clean[0].labels.mode().values)].name
    parsed = parse_goal(goal.format(common))
    targets = [parsed.resolve(detector.categories, CleanImage(90, 60, one)) for one in clean]
    objective, index = DetectionObjective(detector, targets, 0.3), torch.arange(2)
    seen = images.clone().requires_grad_()
    loss = objective(seen, index).loss
    assert loss.dtype == torch.float64
    gradients = torch.autograd.grad(loss[0], seen, retain_graph=True)[0], torch.autograd.grad(loss[1], seen)[0]
    for own in range(2):
        assert float(gradients[own][own].norm()) > 0
        assert float(gradients[own][1 - own].abs().max()) == 0
        direction = gradients[own] / gradients[own].norm()
        noise = torch.randn(direction.shape, generator=torch.Generator().manual_seed(own), dtype=torch.float64)
        direction = direction + noise / noise.norm()
        step = 1e-9  # short: IoU has a kink where a box crosses the asked one, which many do at the start
        with torch.no_grad():
            ahead, behind = (objective(images + s * direction, index).loss[own] for s in (step, -step))
        expected = float((gradients[own] * direction).sum())
        assert float(ahead - behind) / (2 * step) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("goal", ["suppress:all", "inject:car@center"])
def test_an_attack_leaves_the_model_as_it_was(detector, goal):
    before = fingerprint(detector)
    state = {key: value.clone() for key, value in detector.network.state_dict().items()}
    flags = {name: module.training for name, module in detector.network.named_modules()}
    images = pictures(1, 64, 96)
    clean = detector.detect(images, 0.5)[0]
    objective = DetectionObjective(detector, [parse_goal(goal).resolve(CATEGORIES, CleanImage(96, 64, clean))], 0.5)
    attack = PRESETS["jnd"]
    result = run(type(attack)("t", attack.step, attack.step_size, max_iterations=3), images, objective)
    assert int(result.backwards) > 0
    assert fingerprint(detector) == before
    assert all(torch.equal(value, state[key]) for key, value in detector.network.state_dict().items())
    assert {name: module.training for name, module in detector.network.named_modules()} == flags
    assert all(p.grad is None and not p.requires_grad for p in detector.network.parameters())


def test_an_attack_that_succeeds_is_one_for_the_bare_model(detector, network):
    images = pictures(1, 64, 96)
    clean = detector.detect(images, 0.5)[0]
    label = int(clean.labels.mode().values)
    box = tuple(clean.of(label).boxes[0].tolist())
    name = detector.categories[label].name
    width, height = max(96, box[2]), max(64, box[3])
    goal = parse_goal(f"suppress:{name}@{','.join(map(repr, box))}")
    objective = DetectionObjective(detector, [goal.resolve(CATEGORIES, CleanImage(width, height, clean))], 0.5)
    result = run(PRESETS["jnd"], images, objective)
    assert bool(result.success)
    assert int(result.first_iteration) > 0
    after = bare(network, result.images, list(CATEGORIES))[0].above(0.5).of(label)
    assert not (iou_matrix(after.boxes, torch.tensor([box])) >= 0.3).any()


def test_anchors_are_made_once_for_a_size_and_anew_for_another():
    detector = load_detector("demo", "cpu")
    made, generate = [], detector.network.anchor_generator.forward
    detector.network.anchor_generator.forward = lambda *given: made.append(None) or generate(*given)
    for image, count in ((noise(1, 96), 1), (noise(1, 96, seed=1), 1), (noise(2, 96), 2), (noise(1, 96)[..., :64], 3)):
        found = detector.candidates(image)
        assert len(made) == count
        torch.testing.assert_close(found.anchors, load_detector("demo", "cpu").candidates(image).anchors)


def test_logits_are_those_of_the_candidates():
    detector = load_detector("demo", "cpu")
    image = noise(2, 96)
    assert torch.equal(detector.logits(image), detector.candidates(image).logits)
