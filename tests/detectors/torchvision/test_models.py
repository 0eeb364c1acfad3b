"""torchvision's nine detectors: parity with the bare model, weights and categories of a user's own, two stages."""

import copy

import pytest
import torch
from torchvision.models import detection

from detattack.core.boxes import iou_matrix
from detattack.core.categories import COCO_IDS
from detattack.core.errors import InputError
from detattack.core.types import Category, Detections
from detattack.detectors.base import Detector
from detattack.detectors.check import check_detector
from detattack.detectors.parts import log_odds
from detattack.detectors.parts.settings import with_setting
from detattack.detectors.registry import fingerprint, load_detector
from detattack.detectors.torchvision.models import ARCHITECTURES, expected_ap
from detattack.engine import PRESETS, run
from detattack.tasks.detection.goals import CleanImage, parse_goal
from detattack.tasks.detection.objective import DetectionObjective
from tests.detectors.random_networks import assert_alike, enough, pictures, resizing

QUICK = ("fasterrcnn_mobilenet_v3_large_320_fpn", "fcos_resnet50_fpn", "ssd300_vgg16", "ssdlite320_mobilenet_v3_large")
SLOW = tuple(name for name in ARCHITECTURES if name not in QUICK)
MOST_PROPOSALS = 200
"""Instead of 1000: the head of a Faster R-CNN takes most of the time, and nothing here needs so many."""
TWO_STAGE = "fasterrcnn_mobilenet_v3_large_320_fpn"


def random(name: str):
    """A detector with random weights, small inputs and few proposals."""
    detector = load_detector(f"torchvision/{name}", "cpu", "none")
    shrink(detector.network, name)
    if name.startswith("fasterrcnn"):
        detector.network.rpn._post_nms_top_n["testing"] = MOST_PROPOSALS
    return detector


def shrink(network, name: str):
    """Resize to less than 800 pixels before the network, where the size is not part of it."""
    if not name.startswith("ssd"):
        resizing(network, 96, 160)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Products of other shapes are shared out otherwise among threads, and random weights enlarge what that rounds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=[*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def detector(request):
    return random(request.param)


@pytest.fixture(scope="module")
def two_stage():
    return random(TWO_STAGE)


@torch.no_grad()
def bare(detector, images, threshold) -> list[Detections]:
    """The network's own forward; detections of columns that name nothing left out."""
    label = {c.coco_id: i for i, c in enumerate(detector.categories)}
    found = with_setting(detector.network, detector.THRESHOLD, threshold)(list(images))
    results = []
    for one in found:
        rows = [i for i, column in enumerate(one["labels"].tolist()) if column in label]
        labels = torch.tensor([label[int(one["labels"][i])] for i in rows], dtype=torch.int64)
        results.append(Detections(one["boxes"][rows], one["scores"][rows], labels))
    return results


@pytest.mark.parametrize(("count", "size"), [(1, (96, 128)), (2, (131, 171)), (1, (150, 110))])
def test_candidates_and_select_are_the_models_own_inference(detector, count, size):
    images = pictures(count, *size)
    candidates = detector.candidates(images)
    threshold = enough(detector, candidates)
    theirs = bare(detector, images, threshold)
    chosen, official = detector.select(candidates, threshold), detector.detect(images, threshold)
    for ours, detected, own in zip(chosen, official, theirs, strict=True):
        assert len(own) >= 20
        assert_alike(ours, own)
        assert_alike(detected, own)


def test_models_check_passes(detector):
    assert not [finding for finding in check_detector(detector, 3) if not finding.passed]


def test_the_contract_and_cocos_categories(detector):
    assert isinstance(detector, Detector)
    assert {c.name: c.coco_id for c in detector.categories} == COCO_IDS
    assert detector.expected_ap is None  # random weights have no card
    assert 0.2 < expected_ap(detector.name.removeprefix("torchvision/")) < 0.5


# Scores of all kinds as log-odds


def test_log_odds_of_softmax_give_its_scores_and_gradients():
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(50, 7, generator=generator, dtype=torch.float64) * 5).requires_grad_()
    odds = log_odds.of_softmax(logits)
    torch.testing.assert_close(odds.sigmoid(), logits.softmax(-1))
    assert torch.autograd.gradcheck(log_odds.of_softmax, logits[:5].detach().requires_grad_())


def test_log_odds_do_not_saturate_where_scores_do():
    sure = torch.tensor([[40.0, 0.0, -40.0]], requires_grad=True)
    odds = log_odds.of_softmax(sure)
    torch.testing.assert_close(odds, torch.tensor([[40.0, -40.0, -80.0]]))
    (gradient,) = torch.autograd.grad(odds[0, 0], sure)
    assert gradient.tolist() == [pytest.approx([1, -1, 0])]
    log_scores = torch.tensor([-1e-9, -1e-3, -0.7, -90.0])
    torch.testing.assert_close(log_odds.of_log_score(log_scores)[1:].sigmoid(), log_scores.exp()[1:])
    assert log_odds.of_log_score(torch.tensor([0.0])).isfinite().all()


@pytest.mark.parametrize("name", ["fcos_resnet50_fpn", "ssd300_vgg16"])
def test_input_gradient_by_finite_differences(name):
    detector = random(name)
    detector.network.double()
    images = pictures(1, 60, 90, dtype=torch.float64)
    assert_gradient(detector, images, detector.candidates)


def assert_gradient(detector, images, candidates, step=1e-7):
    def loss(seen):
        found = candidates(seen)
        return found.logits.logsumexp(1).mean() + found.boxes.tanh().mean()

    seen = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(seen), seen)
    assert gradient.isfinite().all()
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0), dtype=images.dtype)
    direction = gradient / gradient.norm() + noise / noise.norm()
    with torch.no_grad():
        slope = float(loss(images + step * direction) - loss(images - step * direction)) / (2 * step)
    assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-3)


# Two stages


def test_input_gradient_of_two_stages_at_fixed_proposals(two_stage, monkeypatch):
    detector = copy.deepcopy(two_stage)
    detector.network.double()
    images = pictures(1, 96, 128, dtype=torch.float64)
    rpn, asked = detector.network.rpn, images.new_tensor([[[20.0, 20, 70, 60]]])
    batch, _ = detector.network.transform(list(images))
    kept = detector._regions(batch, detector.network.backbone(batch.tensors), None)
    fixed = [one.boxes.detach() for one in kept], [one.boxes.new_full((len(one.boxes),), 0.5) for one in kept]
    monkeypatch.setattr(rpn, "filter_proposals", lambda *arguments: fixed)
    assert_gradient(detector, images, detector.candidates)
    assert detector.candidates(images, asked).logits.shape[1] > len(kept[0].boxes)


@pytest.mark.parametrize("seed", range(12))
def test_suppression_leaves_no_hidden_detection(two_stage, seed):
    """Whatever the image and the threshold: what `detect` finds has a candidate above the threshold, so the loss
    sees it; and where no candidate is above it, nothing is detected."""
    images = pictures(1, 96 + 8 * seed, 128, seed)
    candidates = two_stage.candidates(images)
    scores = candidates.logits[candidates.valid].sigmoid()
    rounding = 1e-6
    levels = [
        *scores.flatten().quantile(torch.tensor([0.5, 0.9, 0.99, 0.999])).tolist(),
        float(scores.max()) + rounding,
    ]
    for threshold in levels:
        found = two_stage.detect(images, threshold)[0]
        above = (scores > threshold - rounding).nonzero()
        assert len(found) <= len(above)
        for label, score in zip(found.labels, found.scores, strict=True):
            assert float((scores[:, label] - score).abs().min()) < 1e-5
    assert not len(found)  # at the last threshold no candidate is above it


@pytest.mark.parametrize("goal", ["suppress:all", "inject:{}@center"])
def test_success_on_two_stages_is_success_for_the_bare_model(two_stage, goal):
    images = pictures(1, 96, 128, 3)
    clean = two_stage.detect(images, 0.0)[0]
    threshold = float(clean.scores[3] if goal == "suppress:all" else clean.scores[0] * 1.02)
    name = two_stage.categories[int(clean.labels[0])].name
    target = parse_goal(goal.format(name)).resolve(two_stage.categories, CleanImage(128, 96, clean.above(threshold)))
    objective = DetectionObjective(two_stage, [target], threshold)
    result = run(PRESETS["jnd"], images, objective)
    after = bare(two_stage, result.images, threshold)[0]
    assert bool(result.success)
    assert target.holds(after)
    assert not target.holds(clean.above(threshold))


def test_an_asked_box_adds_regions_with_a_gradient_to_both_stages(two_stage):
    detector = copy.deepcopy(two_stage)
    detector.network.rpn._post_nms_top_n["testing"] = 5  # hardly anything is proposed
    images, asked = pictures(2, 96, 128), torch.tensor([[[20.0, 20, 70, 60]], [[0.0, 0, 128, 96]]])
    plain, more = detector.candidates(images), detector.candidates(images, asked)
    assert plain.valid.sum(1).tolist() == [5, 5]
    assert more.valid.sum(1).tolist() == [15, 15]
    assert more.state.proposed.sum(1).tolist() == [5, 5]
    for i in range(2):
        assert float(iou_matrix(more.anchors[i, 5:], asked[i]).min()) > 0.3
        assert_alike(detector.select(more, 0.0)[i], detector.select(plain, 0.0)[i])
    seen = images.clone().requires_grad_()
    added = detector.candidates(seen, asked).logits[0, 5:].amax()
    (gradient,) = torch.autograd.grad(added, seen)
    assert float(gradient[0].norm()) > 0
    assert float(gradient[1].norm()) == 0


def test_what_is_not_proposed_comes_to_be_proposed(two_stage):
    """Climbing an added region's logit brings a proposal to the asked place."""
    detector = copy.deepcopy(two_stage)
    detector.network.rpn._post_nms_top_n["testing"] = 5
    image = pictures(1, 96, 128)
    added = detector.candidates(image, torch.tensor([[[20.0, 20, 70, 60]]]))
    asked = added.anchors[:, 5:][:, added.logits[0, 5:].amax(1).argmin()][:, None]
    before = float(iou_matrix(detector.candidates(image).anchors[0], asked[0]).max())
    for _ in range(60):
        image.requires_grad_()
        candidates = detector.candidates(image, asked)
        near = iou_matrix(candidates.anchors[0, :5], asked[0]).max()
        if near >= 0.7:
            break
        (gradient,) = torch.autograd.grad(candidates.logits[0, 5:].amax(), image)
        image = (image + 0.3 * gradient / gradient.norm()).detach()
    assert before < 0.5 < 0.7 <= float(near)


# A user's own


def own_weights(name: str, count: int, path):
    network = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=count)
    if name.startswith("fcos"):
        network.head.classification_head.cls_logits.bias.data[: count - 2] -= 2
    torch.save(network.state_dict(), path)
    return network


@pytest.mark.parametrize(
    ("name", "count"),
    [(TWO_STAGE, 3), ("ssdlite320_mobilenet_v3_large", 3), ("fcos_resnet50_fpn", 2), ("fcos_resnet50_fpn", 3)],
)
def test_a_fine_tuned_model_with_its_own_categories(name, count, tmp_path):
    network = own_weights(name, count, tmp_path / "own.pth").eval()
    (tmp_path / "names.txt").write_text("wolf\n\ntv\n")
    detector = load_detector(f"torchvision/{name}", "cpu", str(tmp_path / "own.pth"), str(tmp_path / "names.txt"))
    assert detector.categories == (Category("wolf", 1), Category("tv", 2))
    for one in (network, detector.network):
        shrink(one, name)
    image = pictures(1, 64, 96)
    candidates = detector.candidates(image)
    assert candidates.logits.shape[-1] == 2
    threshold = enough(detector, candidates)
    network_head = network.roi_heads if name == TWO_STAGE else network
    network_head.score_thresh = threshold
    with torch.no_grad():
        expected = network(list(image))[0]
    first = 1 if count == 3 else 0
    rows = expected["labels"] >= first
    found = detector.detect(image, threshold)[0]
    assert torch.equal(found.labels, expected["labels"][rows] - first)
    assert torch.equal(found.boxes, expected["boxes"][rows])


def test_categories_of_a_coco_file_keep_their_ids(tmp_path):
    own_weights(TWO_STAGE, 3, tmp_path / "own.pth")
    (tmp_path / "instances.json").write_text(
        '{"images": [], "categories": [{"id": 9, "name": "b"}, {"id": 4, "name": "a"}]}'
    )
    detector = load_detector(
        f"torchvision/{TWO_STAGE}", "cpu", str(tmp_path / "own.pth"), str(tmp_path / "instances.json")
    )
    assert detector.categories == (Category("a", 4), Category("b", 9))


def test_random_weights_for_categories_of_ones_own(tmp_path):
    (tmp_path / "names.txt").write_text("person\ncar\n")
    prints = set()
    for name in (TWO_STAGE, "fcos_resnet50_fpn"):
        detector = load_detector(f"torchvision/{name}", "cpu", "none", str(tmp_path / "names.txt"))
        assert detector.categories == (Category("person", 1), Category("car", 3))
        prints.add(fingerprint(detector))
    assert len(prints) == 2


def bad(*arguments) -> str:
    with pytest.raises(InputError) as error:
        load_detector(*arguments)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_weights_and_categories_that_do_not_fit_are_one_line(tmp_path):
    path, names = tmp_path / "own.pth", tmp_path / "names.txt"
    own_weights(TWO_STAGE, 4, path)
    spec = f"torchvision/{TWO_STAGE}"
    assert "has 4 columns, not COCO's 91; name them by --categories" in bad(spec, "cpu", str(path))
    names.write_text("cat\ndog\n")
    assert "4 columns, --categories names 2 classes (column 0 is the background)" in bad(
        spec, "cpu", str(path), str(names)
    )
    names.write_text("cat\ndog\nowl\nfox\n")
    assert "(column 0 is the background)" in bad(spec, "cpu", str(path), str(names))
    assert "pass --weights FILE too" in bad(spec, "cpu", None, str(names))
    assert "do not fit the model: the file has no 'backbone." in bad("torchvision/fcos_resnet50_fpn", "cpu", str(path))
    assert "names its own classes" in bad("demo", "cpu", None, str(names))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "names no class"),
        ("cat\ncat\n", "names 'cat' twice"),
        ('[{"name": "cat"}]', "a category is without `id` or `name`"),
        ("{broken", "not JSON that can be read"),
    ],
)
def test_files_of_categories_that_are_none(content, message, tmp_path):
    (tmp_path / "names.txt").write_text(content)
    assert message in bad(f"torchvision/{TWO_STAGE}", "cpu", "none", str(tmp_path / "names.txt"))
    assert "cannot be read" in bad(f"torchvision/{TWO_STAGE}", "cpu", "none", str(tmp_path / "none.txt"))
