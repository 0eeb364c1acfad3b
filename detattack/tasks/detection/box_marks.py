"""Which boxes a figure draws, and where their labels go: at the box, in the picture, on no other label."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from detattack.core.boxes import Box
from detattack.core.types import Detections
from detattack.report.colors import Color, class_color
from detattack.report.lettering import text_width

TAG_HEIGHT, TAG_PADDING, STROKE = 1.4, 0.32, 2 / 11
"""Of a label and of a box's line, in units of the letters' size; a line is two pixels wide on a small photo."""


@dataclass(frozen=True)
class Shown:
    """What a figure shows of the detections of an image: those above a threshold.

    - names: of each label.
    - highlight: labels that matter; the boxes of others are thin and unlabeled. None: all matter.
    - goal_box: the box asked for, drawn dashed.
    """

    detections: Detections
    names: Sequence[str]
    score_threshold: float
    highlight: Collection[int] | None = None
    goal_box: Box | None = None


@dataclass(frozen=True)
class Mark:
    """A box to draw. tag: the rectangle of its label in pixels, None where there is none."""

    box: Box
    color: Color
    text: str
    strong: bool
    tag: Box | None


def place_marks(shown: Shown, width: int, height: int, size: float) -> list[Mark]:
    """Place the boxes and labels in a picture of `width` × `height` pixels, weakest first: the strongest ends on top.

    Labels, their letters `size` pixels high, are placed in the opposite order: the strongest detection chooses first.
    A label that finds no free place is left out; its box is always there.
    """
    highlight, names = shown.highlight, shown.names
    found = shown.detections.cpu().above(shown.score_threshold)
    order = found.scores.argsort(descending=True, stable=True).tolist()
    marks: list[Mark] = []
    taken: list[Box] = []
    for i in sorted(order, key=lambda i: highlight is not None and int(found.labels[i]) not in highlight):
        box = _clipped(_corners(found.boxes[i].tolist()), width, height)
        if box is None:
            continue
        label = int(found.labels[i])
        strong = highlight is None or label in highlight
        text = f"{names[label]} {float(found.scores[i]):.2f}"
        edge = _grown(box, size * STROKE / 2)
        tag = _place(edge, _tag_size(text, size), taken, width, height) if strong else None
        if tag is not None:
            taken.append(tag)
        marks.append(Mark(box, class_color(names[label]), text, strong, tag))
    return marks[::-1]


def _corners(values: Sequence[float]) -> Box:
    x1, y1, x2, y2 = (float(v) for v in values)
    return x1, y1, x2, y2


def _clipped(box: Box, width: int, height: int) -> Box | None:
    """Return the part of a box inside the picture; None if there is none."""
    if not all(math.isfinite(v) for v in box):
        return None
    x1, y1, x2, y2 = box
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


def _grown(box: Box, by: float) -> Box:
    return box[0] - by, box[1] - by, box[2] + by, box[3] + by


def _place(box: Box, tag: tuple[float, float], taken: list[Box], width: int, height: int) -> Box | None:
    """Where a label of size `tag` goes: at the box, inside the picture, on no other label; None: nowhere."""
    w, h = tag
    if w > width or h > height:
        return None
    hidden = min(1.0, w * h / max((box[2] - box[0]) * (box[3] - box[1]), 1e-9))
    best, best_cost = None, math.inf
    for rank, (x, y) in enumerate(_places(box, w, h)):
        x, y = min(max(x, 0.0), width - w), min(max(y, 0.0), height - h)
        spot = (x, y, x + w, y + h)
        covered = max((_overlap(spot, other) for other in taken), default=0.0) / (w * h)
        if covered > 0.05:
            continue
        inside = _overlap(spot, box) / (w * h)
        cost = 0.1 * rank + inside * hidden + 5 * covered
        if cost < best_cost:
            best, best_cost = spot, cost
    return best


def _places(box: Box, w: float, h: float) -> Iterator[tuple[float, float]]:
    """Corners of a label at a box, the usual place (above, flush left) first."""
    x1, y1, x2, y2 = box
    for x in (x1, x2 - w):
        yield from ((x, y1 - h), (x, y1), (x, y2), (x, y2 - h))
    yield from ((x2, y1), (x1 - w, y1), (x2, y2 - h), (x1 - w, y2 - h))
    for step in range(1, max(1, int((y2 - y1) / h))):
        yield x1, y1 + step * h


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _tag_size(text: str, size: float) -> tuple[float, float]:
    return text_width(text, size) + 2 * TAG_PADDING * size, TAG_HEIGHT * size
