"""Which boxes a figure draws, and where their labels go."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detattack.tasks.detection.box_marks import Shown, place_marks
from tests.tasks.detection.drawn import NAMES, found


def overlap(a, b) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def test_nothing_below_the_threshold_has_a_mark():
    one = found((5, 5, 50, 50, 0.5, 1))
    assert place_marks(Shown(one, NAMES, 0.5), 80, 60, 11.0) == []  # detected means above the threshold, not at it
    assert len(place_marks(Shown(one, NAMES, 0.49), 80, 60, 11.0)) == 1


@pytest.mark.parametrize("size", [(1, 1), (5, 8), (32, 32), (70, 900)])
def test_boxes_beyond_the_picture_and_broken_ones(size):
    nan, inf = float("nan"), float("inf")
    detections = found(
        (-50, -50, 1000, 1000, 0.9, 0), (-9, -9, -1, -1, 1, 1), (2, 2, 2, 2, 0.9, 1), (nan, 0, 5, 5, 1, 2),
        (0, 0, inf, 4, 0.7, 2), (0.2, 0.2, 0.7, 0.7, 0.6, 1),
    )  # fmt: skip
    boxes = [mark.box for mark in place_marks(Shown(detections, NAMES, 0.5), *size, 11.0)]
    assert len(boxes) == 2  # those that are finite and have a part in the picture
    assert all(0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1] for x1, y1, x2, y2 in boxes)


def test_highlighted_classes_stand_out():
    both = found((10, 40, 100, 90, 0.99, 0), (150, 120, 300, 180, 0.6, 1))
    faint, strong = place_marks(Shown(both, NAMES, 0.5, highlight={1}), 320, 200, 11.0)
    assert (strong.strong, strong.text, strong.tag is not None) == (True, "car 0.60", True)
    assert (faint.strong, faint.tag) == (False, None)
    assert all(mark.strong for mark in place_marks(Shown(both, NAMES, 0.5), 320, 200, 11.0))


boxes = st.lists(
    st.tuples(
        st.floats(-50, 400),
        st.floats(-50, 300),
        st.floats(0.1, 300),
        st.floats(0.1, 200),
        st.integers(51, 100),
    ),
    max_size=30,
)


@settings(max_examples=50, deadline=None)
@given(boxes, st.sampled_from([(480, 320), (120, 600), (40, 40)]))
def test_labels_stay_in_the_picture_and_off_each_other(rows, size):
    detections = found(*((x, y, x + w, y + h, s / 100, s % 3) for x, y, w, h, s in rows))
    marks = place_marks(Shown(detections, NAMES, 0.5), *size, 11.0)
    tags = [mark.tag for mark in marks if mark.tag is not None]
    for i, tag in enumerate(tags):
        assert -1e-6 <= tag[0] < tag[2] <= size[0] + 1e-6
        assert -1e-6 <= tag[1] < tag[3] <= size[1] + 1e-6
        for other in tags[i + 1 :]:
            area = max((t[2] - t[0]) * (t[3] - t[1]) for t in (tag, other))
            assert overlap(tag, other) <= 0.051 * area
    if marks and size == (480, 320):
        assert marks[-1].tag is not None  # the strongest chooses first


def test_in_a_crowd_labels_are_left_out_rather_than_piled_up():
    crowd = found(*((20 + 3 * i, 30 + 2 * i, 60 + 3 * i, 60 + 2 * i, 0.99 - i / 100, i % 3) for i in range(40)))
    marks = place_marks(Shown(crowd, NAMES, 0.5), 240, 180, 11.0)
    tags = [mark.tag for mark in marks if mark.tag is not None]
    assert len(marks) == 40
    assert 8 <= len(tags) < 40
    for i, tag in enumerate(tags):
        for other in tags[i + 1 :]:
            area = max((t[2] - t[0]) * (t[3] - t[1]) for t in (tag, other))
            assert overlap(tag, other) <= 0.051 * area


def test_a_label_sits_on_its_box():
    (mark,) = place_marks(Shown(found((100, 100, 300, 200, 0.9, 1)), NAMES, 0.5), 480, 320, 11.0)
    assert mark.text == "car 0.90"
    assert mark.tag[3] == pytest.approx(99)  # above, on the outer edge of the two pixels of the line
    assert mark.tag[0] == pytest.approx(99)
    (top,) = place_marks(Shown(found((100, 0, 300, 200, 0.9, 1)), NAMES, 0.5), 480, 320, 11.0)
    assert top.tag[1] == 0
