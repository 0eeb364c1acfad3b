"""What objects are taken for: by hand, and rows that add up to the objects for any boxes."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detattack.metrics.confusion import BACKGROUND, Confusion, folded
from detattack.metrics.labelled_boxes import LabelledBoxes

NAMES = ("car", "bus", "dog")
HERE, SHIFTED, THERE = (0, 0, 10, 10), (2, 0, 12, 10), (50, 0, 60, 10)
"""Corners; IoU of the first two 80/120 = 2/3."""


def boxes(*rows):
    return LabelledBoxes.detections([box for _, box in rows], [NAMES.index(n) for n, _ in rows], [1.0] * len(rows))


def counted(*images):
    confusion = Confusion()
    for objects, found in images:
        confusion.add(objects, found)
    return confusion.by_name(NAMES)


def test_kept_relabeled_vanished_and_new():
    clean = boxes(("car", HERE), ("bus", THERE), ("dog", (20, 20, 30, 30)))
    attacked = boxes(("dog", THERE), ("car", SHIFTED), ("car", (80, 80, 90, 90)))
    assert counted((clean, attacked)) == {
        "car": {"car": 1},
        "bus": {"dog": 1},
        "dog": {BACKGROUND: 1},
        BACKGROUND: {"car": 1},
    }


def test_the_same_class_comes_before_the_larger_overlap():
    """The bus lies on the car exactly, the car beside it: the car stays one, and the bus is new."""
    assert counted((boxes(("car", HERE)), boxes(("bus", HERE), ("car", SHIFTED)))) == {
        "car": {"car": 1},
        BACKGROUND: {"bus": 1},
    }


def test_a_detection_is_at_one_object():
    """Two cars on one place and one car found: the closer one is kept."""
    clean = boxes(("car", SHIFTED), ("car", HERE))
    assert counted((clean, boxes(("car", HERE)))) == {"car": {"car": 1, BACKGROUND: 1}}


def test_images_add_up_and_do_not_mix():
    one, other = boxes(("car", HERE)), boxes(("bus", HERE))
    assert counted((one, other), (one, other), (other, boxes())) == {"car": {"bus": 2}, "bus": {BACKGROUND: 1}}


def test_crowds_are_no_objects_and_what_lies_in_them_is_not_new():
    annotations = [
        {"bbox": [0, 0, 100, 100], "category_id": 7, "iscrowd": 1},
        {"bbox": [200, 0, 10, 10], "category_id": 7},
        {"bbox": [300, 0, 10, 10], "category_id": 8},
    ]
    truth = LabelledBoxes.objects(annotations, {7: 0})
    found = boxes(("car", HERE), ("bus", HERE), ("car", (200, 0, 210, 10)))
    assert counted((truth, found)) == {"car": {"car": 1}, BACKGROUND: {"bus": 1}}


def test_a_class_without_a_name_has_its_number():
    strange = LabelledBoxes.detections([HERE], [7], [1.0])
    assert counted((boxes(), strange)) == {BACKGROUND: {"class 7": 1}}


def test_nothing_at_all():
    assert counted() == counted((boxes(), boxes())) == {}
    names, (table,) = folded([{}], 3)
    assert (names, table.tolist()) == ([], [[0]])


def test_the_most_frequent_classes_are_told_apart():
    counts = {"car": {"car": 5, "dog": 1}, "bus": {"dog": 1, "bus": 2}, "dog": {BACKGROUND: 1}, BACKGROUND: {"bus": 1}}
    names, (table, other) = folded([counts, {"bird": {"car": 1}}], 1)
    assert names == ["car", "3 others"]
    assert table.tolist() == [[5, 1, 0], [0, 3, 1], [0, 1, 0]]
    assert other.tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert folded([counts], 3)[0] == ["car", "bus", "dog"]


@st.composite
def scenes(draw):
    def some():
        count = draw(st.integers(0, 6))
        corners = [
            (x, y, x + w, y + h) for x, y, w, h in (draw(st.tuples(*[st.integers(1, 12)] * 4)) for _ in range(count))
        ]
        return LabelledBoxes.detections(corners, [draw(st.integers(0, 2)) for _ in range(count)], [1.0] * count)

    return some(), some()


@settings(max_examples=100, deadline=None)
@given(st.lists(scenes(), max_size=3))
def test_rows_add_up_to_the_objects_and_columns_to_the_detections(images):
    table = counted(*images)
    rows = Counter({name: sum(cells.values()) for name, cells in table.items() if name != BACKGROUND})
    columns = Counter()
    for cells in table.values():
        columns.update({name: n for name, n in cells.items() if name != BACKGROUND})
    objects, found = (Counter(NAMES[label] for image in images for label in image[side].labels) for side in (0, 1))
    assert (rows, columns) == (objects, found)
    assert BACKGROUND not in table.get(BACKGROUND, {})
    names, (square,) = folded([table], 2)
    assert square.sum() == sum(map(sum, (cells.values() for cells in table.values())))
    assert len(square) == len(names) + 1
    assert np.trace(square) >= sum(table.get(name, {}).get(name, 0) for name in NAMES)
