"""What AP50 loses to which error: cases worked out by hand, and pycocotools on any detections.

AP is the mean of the interpolated precision over the 101 recalls 0, .01, ..., 1.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detattack.metrics.coco import evaluate
from detattack.metrics.error_split import ERRORS, KINDS, ErrorTally, judge
from detattack.metrics.labelled_boxes import LabelledBoxes
from tests.metrics.test_coco_properties import CATEGORIES, CLASSES, cases

CAR, BUS = 0, 1
HERE, THERE, NEAR, TOUCHED = (0, 0, 10, 10), (50, 0, 10, 10), (5, 0, 10, 10), (9, 0, 10, 10)
"""IoU with HERE: 1, 0, 50/150 = 1/3, 10/190 < .1."""


def objects(*rows, crowd=()):
    annotations = [
        {"bbox": box, "category_id": label, "iscrowd": int(i in crowd)} for i, (label, box) in enumerate(rows)
    ]
    return LabelledBoxes.objects(annotations, {CAR: CAR, BUS: BUS})


def found(*rows):
    corners = [(x, y, x + w, y + h) for _, (x, y, w, h), _ in rows]
    return LabelledBoxes.detections(corners, [label for label, _, _ in rows], [score for _, _, score in rows])


def split(*images, **options):
    tally = ErrorTally(2, **options)
    for one in images:
        tally.add(*one)
    return tally.split()


def lost(**values):
    return pytest.approx(dict.fromkeys(ERRORS, 0.0) | values, abs=1e-12)


def counts(result):
    return {name: n for name, n in (result.objects | result.detections).items() if n}


# By hand


def test_missed():
    """Of two cars one is found: precision 1 up to recall .5, at 51 recalls. With one car to be found AP is 1."""
    result = split((objects((CAR, HERE), (CAR, THERE)), found((CAR, HERE, 0.9))))
    assert result.ap50 == pytest.approx(51 / 101)
    assert result.lost == lost(missed=50 / 101)
    assert counts(result) == {"right": 1, "missed": 1}


def test_wrong_class():
    """The car is taken for a bus, above the real bus: AP of car 0, of bus 1/2. Repaired, both are 1. Nothing is missed:
    the car is there, under another name."""
    result = split((objects((CAR, HERE), (BUS, THERE)), found((BUS, HERE, 0.9), (BUS, THERE, 0.8))))
    assert result.ap50 == pytest.approx((0 + 1 / 2) / 2)
    assert result.lost == lost(wrong_class=3 / 4)
    assert result.objects == {"right": 1, "wrong_class": 1, "wrong_place": 0, "missed": 0}


def test_wrong_place():
    """IoU 1/3 is no match; the box put right, AP is 1."""
    result = split((objects((CAR, HERE)), found((CAR, NEAR, 0.9))))
    assert result.ap50 == 0
    assert result.lost == lost(wrong_place=1)
    assert result.objects == {"right": 0, "wrong_class": 0, "wrong_place": 1, "missed": 0}


def test_duplicate():
    """Right, wrong, right: precision 1 at 51 recalls, 2/3 at 50. Without the second AP is 1."""
    rows = found((CAR, HERE, 0.9), (CAR, HERE, 0.8), (CAR, THERE, 0.7))
    result = split((objects((CAR, HERE), (CAR, THERE)), rows))
    assert result.ap50 == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert result.lost == lost(duplicate=50 / 303)
    assert (result.detections["right"], result.detections["duplicate"]) == (2, 1)


def test_background():
    """Wrong, right: precision 1/2 at every recall. IoU 1/19 is background still."""
    result = split((objects((CAR, HERE)), found((CAR, TOUCHED, 0.9), (CAR, HERE, 0.8))))
    assert result.ap50 == pytest.approx(1 / 2)
    assert result.lost == lost(background=1 / 2)
    assert result.detections["background"] == 1


def test_wrong_class_in_a_wrong_place():
    """A bus over half a car, above the real bus: AP of car 1, of bus 1/2. It is removed; the car needs no help."""
    rows = found((BUS, NEAR, 0.9), (BUS, THERE, 0.8), (CAR, HERE, 0.7))
    result = split((objects((CAR, HERE), (BUS, THERE)), rows))
    assert result.ap50 == pytest.approx((1 + 1 / 2) / 2)
    assert result.lost == lost(both=1 / 4)
    assert result.detections["both"] == 1


def test_all_of_it_in_two_images():
    """Car: .9 right, .8 duplicate, .7 wrong place at the second of three cars; the third is missed.
    Precision 1 up to recall 1/3 (34 recalls), then nothing. Repaired place: right, wrong, right of three: 1 at 34
    recalls, 2/3 at 33 (.34 to .66). One car less: precision 1 up to recall 1/2 (51 recalls)."""
    first = objects((CAR, HERE)), found((CAR, HERE, 0.9), (CAR, HERE, 0.8))
    second = objects((CAR, HERE), (CAR, THERE)), found((CAR, NEAR, 0.7))
    result = split(first, second)
    assert result.ap50 == pytest.approx(34 / 101)
    assert result.lost == lost(wrong_place=33 * 2 / 303, missed=17 / 101)


# Rules


def test_only_the_strongest_wrong_detection_of_an_object_is_put_right():
    """The weaker one is removed: right alone. A class whose name was wrong counts as found once."""
    result = split((objects((CAR, HERE), (BUS, THERE)), found((CAR, NEAR, 0.5), (BUS, HERE, 0.6), (BUS, THERE, 0.9))))
    assert result.objects == {"right": 1, "wrong_class": 1, "wrong_place": 0, "missed": 0}
    assert result.lost == lost(wrong_class=1 / 2)
    assert result.detections["wrong_place"] == 1


def test_a_wrong_class_at_an_object_that_is_found_is_removed():
    rows = found((CAR, HERE, 0.9), (BUS, HERE, 0.8), (BUS, THERE, 0.7))
    result = split((objects((CAR, HERE), (BUS, THERE)), rows))
    assert result.lost == lost(wrong_class=1 / 4)
    assert result.objects["right"] == 2


def test_where_everything_vanished_everything_was_missed():
    result = split((objects((CAR, HERE), (BUS, THERE)), found()))
    assert result.ap50 == 0
    assert result.lost == lost(missed=1)


def test_in_a_crowd_a_detection_is_neither_right_nor_wrong():
    truth = objects((CAR, (0, 0, 100, 100)), (CAR, (200, 0, 10, 10)), crowd=[0])
    rows = found((CAR, HERE, 0.9), (BUS, HERE, 0.8), (CAR, (200, 0, 10, 10), 0.7))
    result = split((truth, rows))
    assert result.ap50 == pytest.approx(1)
    assert result.detections == dict.fromkeys(KINDS, 0) | {"right": 1, "background": 1}
    assert sum(result.objects.values()) == 1


def test_only_so_many_detections_of_a_class_count():
    rows = found((CAR, TOUCHED, 0.9), (CAR, HERE, 0.8), (BUS, HERE, 0.7))
    result = split((objects((CAR, HERE)), rows), most=1)
    assert result.detections == dict.fromkeys(KINDS, 0) | {"background": 1, "wrong_class": 1}


@pytest.mark.parametrize("images", [[], [(objects(), found())], [(objects(), found((CAR, HERE, 0.9)))]])
def test_without_objects_there_is_nothing_to_lose(images):
    result = split(*images)
    assert result.ap50 is None
    assert result.lost == dict.fromkeys(ERRORS)
    assert sum(result.objects.values()) == 0


def test_a_class_that_only_the_detector_knows_costs_no_other_one():
    result = split((objects((CAR, HERE)), found((CAR, HERE, 0.9), (BUS, THERE, 0.95))))
    assert result.ap50 == pytest.approx(1)
    assert result.lost == lost()


# Any


def by_image(case):
    """Objects and detections of each image of a case, by its id; labels are places in CLASSES."""
    images, annotations, results = case
    labels = {category: i for i, category in enumerate(CLASSES)}
    for image in sorted(images):
        own = [r for r in results if r["image_id"] == image]
        corners = [(x, y, x + w, y + h) for x, y, w, h in (r["bbox"] for r in own)]
        rows = LabelledBoxes.detections(corners, [labels[r["category_id"]] for r in own], [r["score"] for r in own])
        yield image, LabelledBoxes.objects([a for a in annotations if a["image_id"] == image], labels), rows


@settings(max_examples=60, deadline=None)
@given(cases(most=40), st.sampled_from((100, 10)))
def test_ap50_is_pycocotools_s_and_counts_add_up(case, most):
    images, annotations, results = case
    tally = ErrorTally(len(CLASSES), most)
    for _, truth, rows in by_image(case):
        tally.add(truth, rows)
    result = tally.split()
    assert result.ap50 == pytest.approx(evaluate(annotations, CATEGORIES, results, images, None, most).ap50, abs=1e-9)
    assert sum(result.objects.values()) == sum(not a["iscrowd"] for a in annotations)
    assert result.objects["right"] == result.detections["right"]
    for name in ("wrong_class", "wrong_place"):
        assert result.objects[name] <= result.detections[name]


@settings(max_examples=40, deadline=None)
@given(cases(most=40), st.sampled_from(("duplicate", "background", "both")))
def test_what_is_gained_without_wrong_detections_is_pycocotools_s(case, error):
    images, annotations, results = case
    results = [{**r, "score": (i * 7919 % 104729 + 1) / 104730} for i, r in enumerate(results)]  # no ties
    row_of = {r["score"]: r for r in results}
    tally, kept = ErrorTally(len(CLASSES)), []
    for _, truth, rows in by_image((images, annotations, results)):
        tally.add(truth, rows)
        judged = judge(truth, rows)
        kept += [row_of[s] for s in judged.scores[judged.kinds != KINDS.index(error)].tolist()]
    result, without = tally.split(), evaluate(annotations, CATEGORIES, kept, images).ap50
    if result.ap50 is not None:
        assert result.lost[error] == pytest.approx(max(0, without - result.ap50), abs=1e-9)
