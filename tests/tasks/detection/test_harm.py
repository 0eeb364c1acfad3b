"""How much of an image's AP is left: worked out by hand, and the matching against pycocotools'."""

from math import sqrt

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from detattack.core.boxes import iou_matrix
from detattack.core.types import WHOLLY_WRONG, Detections
from detattack.metrics.coco import ANY_AREA, GroundTruth
from detattack.tasks.detection.harm import THRESHOLDS, harm, true_positives

CAR, DOG = 0, 1
HERE, THERE, FAR = (10.0, 10.0, 60.0, 60.0), (100.0, 10.0, 150.0, 80.0), (200.0, 10.0, 250.0, 60.0)


def found(*rows: tuple[tuple, float, int]) -> Detections:
    boxes = torch.tensor([box for box, _, _ in rows], dtype=torch.float32).reshape(-1, 4)
    return Detections(boxes, torch.tensor([row[1] for row in rows]), torch.tensor([row[2] for row in rows]).long())


def shifted(box, overlap: float):
    """A box of the same size beside it, with that IoU: of the width w, (w − d) / (w + d)."""
    move = (box[2] - box[0]) * (1 - overlap) / (1 + overlap)
    return (box[0] + move, box[1], box[2] + move, box[3])


def harm_of(detections, *objects: tuple[tuple, int]) -> float:
    boxes = torch.tensor([box for box, _ in objects], dtype=torch.float32).reshape(-1, 4)
    return harm(detections, boxes, torch.tensor([label for _, label in objects]).long())


def test_one_detection_of_one_object():
    assert harm_of(found((HERE, 0.64, CAR)), (HERE, CAR)) == pytest.approx(-0.8)


def test_two_objects_add_up():
    seen = found((HERE, 0.64, CAR), (THERE, 0.36, DOG))
    assert harm_of(seen, (HERE, CAR), (THERE, DOG)) == pytest.approx(-1.4)


@pytest.mark.parametrize("label", [CAR, DOG])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_false_positives_of_any_class_above_divide_it(label, count):
    false = [(FAR, 0.9, label)] * count
    assert harm_of(found((HERE, 0.36, CAR), *false), (HERE, CAR)) == pytest.approx(-0.6 / (1 + count))


def test_true_positives_above_keep_the_precision_up():
    seen = found((HERE, 0.81, CAR), (FAR, 0.64, CAR), (THERE, 0.49, DOG))
    assert harm_of(seen, (HERE, CAR), (THERE, DOG)) == pytest.approx(-(0.9 + 0.7 * 2 / 3))


@pytest.mark.parametrize("label", [CAR, DOG])
def test_those_below_do_not(label):
    assert harm_of(found((HERE, 0.36, CAR), (FAR, 0.3, label)), (HERE, CAR)) == pytest.approx(-0.6)


@pytest.mark.parametrize(("overlap", "share"), [(0.72, 0.5), (0.52, 0.1), (0.98, 1.0), (0.93, 0.9)])
def test_a_box_counts_at_the_thresholds_that_it_reaches(overlap, share):
    assert harm_of(found((shifted(HERE, overlap), 0.25, CAR)), (HERE, CAR)) == pytest.approx(-0.5 * share)


def test_below_its_threshold_a_box_is_a_false_positive_itself():
    """At IoU .72 the surer one is right at five thresholds; at the other five it is above the right one."""
    seen = found((shifted(HERE, 0.72), 0.81, CAR), (HERE, 0.36, CAR))
    assert harm_of(seen, (HERE, CAR)) == pytest.approx(-(0.9 + 0.6 / 2) / 2)


def test_a_duplicate_is_a_false_positive():
    assert harm_of(found((HERE, 0.81, CAR), (HERE, 0.64, CAR)), (HERE, CAR)) == pytest.approx(-0.9)
    seen = found((HERE, 0.81, CAR), (HERE, 0.64, CAR), (THERE, 0.49, CAR))
    assert harm_of(seen, (HERE, CAR), (THERE, CAR)) == pytest.approx(-(0.9 + 0.7 * 2 / 3))


def test_of_two_objects_the_nearer_one_is_taken():
    near = shifted(HERE, 0.7)
    seen = found((HERE, 0.9, CAR), (near, 0.8, CAR))
    assert harm_of(seen, (HERE, CAR), (near, CAR)) == pytest.approx(-(sqrt(0.9) + sqrt(0.8)))


@pytest.mark.parametrize(
    "seen",
    [
        found(),
        found((HERE, 0.9, DOG)),
        found((FAR, 0.9, CAR)),
        found((shifted(HERE, 0.48), 0.9, CAR)),
    ],
)
def test_without_a_true_positive_what_is_false_counts(seen):
    assert harm_of(seen, (HERE, CAR)) == pytest.approx(WHOLLY_WRONG + float(seen.scores.sum()))


def test_an_image_without_objects_can_only_have_more_that_is_false():
    assert harm_of(found()) == -1
    assert harm_of(found((HERE, 0.5, CAR), (THERE, 0.5, DOG))) == pytest.approx(-0.5)
    assert harm_of(found((HERE, 0.5, CAR))) < harm_of(found((HERE, 0.9, CAR)))


def test_the_order_of_the_detections_does_not_matter():
    rows = [(HERE, 0.6, CAR), (FAR, 0.9, CAR), (shifted(THERE, 0.72), 0.7, DOG), (THERE, 0.2, DOG)]
    objects = (HERE, CAR), (THERE, DOG)
    assert harm_of(found(*rows), *objects) == harm_of(found(*reversed(rows)), *objects)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_detections_of_an_adapter_may_have_a_gradient_and_another_precision(dtype):
    seen = found((HERE, 0.25, CAR))
    seen = Detections(seen.boxes.to(dtype).requires_grad_(), seen.scores, seen.labels)
    assert harm_of(seen, (HERE, CAR)) == -0.5


# The matching is COCO's

corners = st.floats(0, 100, width=32)
lengths = st.floats(10, 80, width=32)
objects_of = st.lists(st.tuples(corners, corners, lengths, lengths, st.integers(0, 1)), min_size=1, max_size=4)
moves = st.tuples(*[st.floats(-14, 14, width=32)] * 4)
detections_of = st.lists(st.tuples(st.integers(0, 3), moves, st.integers(0, 1)), max_size=8)


def rows_of(boxes, labels, scores=None):
    rows = []
    for i, ((x1, y1, x2, y2), label) in enumerate(zip(boxes.double().tolist(), labels.tolist(), strict=True)):
        row = {"image_id": 1, "category_id": label + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        rows.append(row | ({"area": 1.0, "iscrowd": 0, "id": i + 1} if scores is None else {"score": scores[i]}))
    return rows


@settings(max_examples=200, deadline=None)
@given(objects_of, detections_of)
def test_matches_are_those_of_pycocotools(objects, moved):
    boxes = torch.tensor([(x, y, x + w, y + h) for x, y, w, h, _ in objects])
    labels = torch.tensor([label for *_, label in objects])
    seen = torch.stack([boxes[i % len(objects)] + torch.tensor(move) for i, move, _ in moved] or [torch.zeros(4)])
    seen = torch.stack((seen[:, :2], seen[:, 2:].maximum(seen[:, :2] + 1)), 1).reshape(-1, 4)[: len(moved)]
    classes = torch.tensor([label for *_, label in moved]).long()
    overlaps = iou_matrix(seen, boxes)
    assume(not ((overlaps[..., None] - torch.tensor(THRESHOLDS)).abs() < 1e-4).any())
    equal = (overlaps[:, :, None] - overlaps[:, None]).abs() + torch.eye(len(objects))
    assume(not ((equal < 1e-4) & (overlaps[:, :, None] > 0.4)).any())  # which of two is nearest, the last bit decides
    scores = [0.9 - 0.05 * i for i in range(len(seen))]

    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}]
    truth = GroundTruth(rows_of(boxes, labels), categories, [1], None)
    evaluation = truth.matched(rows_of(seen, classes, scores), {"all": ANY_AREA})
    expected = torch.zeros(len(THRESHOLDS), len(seen), dtype=torch.bool)
    for category in (0, 1):
        one = evaluation.evalImgs[category]
        if one is not None and len(one["dtScores"]):
            expected[:, classes == category] = torch.from_numpy(one["dtMatches"] > 0)
    assert torch.equal(true_positives(seen, classes, boxes, labels), expected)
