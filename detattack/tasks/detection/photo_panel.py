"""A photo with its detections as a panel of a figure: boxes and letters are vectors."""

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

from detattack.core.boxes import Box
from detattack.core.wording import worded
from detattack.metrics.difference import Pixels
from detattack.report.colors import ink_on
from detattack.report.sheet import Sheet
from detattack.tasks.detection.box_marks import STROKE, Mark, Shown, place_marks

_TAG_RADIUS, _BASELINE = 0.22, 0.39  # in units of the letters' size
_TAG_POINTS, _CROWDED_TAG_POINTS, _CROWD = 7.5, 6.2, 15


def draw_photo(sheet: Sheet, title: str, subtitle: str, pixels: Pixels, shown: Shown) -> None:
    """Draw the next panel of a sheet: an image uint8 `[H,W,3]`, its detections, and the box asked for."""
    axes = sheet.picture(title, subtitle, pixels)
    if shown.goal_box is not None:
        _add_goal(axes, shown.goal_box)
    crowded = len(shown.detections.above(shown.score_threshold)) > _CROWD
    points = _CROWDED_TAG_POINTS if crowded else _TAG_POINTS
    size = points / 72 * sheet.image_pixels_per_inch
    _add_marks(axes, place_marks(shown, *sheet.size, size), size, points)


def count_text(shown: Shown) -> str:
    """Say how many detections are shown."""
    count = len(shown.detections.above(shown.score_threshold))
    return f"{count or 'no'} {worded(count, 'detection')} above {shown.score_threshold:g}"


def _add_marks(axes: Axes, marks: list[Mark], size: float, points: float) -> None:
    """Boxes and labels as vectors; letters are `size` pixels of the image high, `points` on paper."""
    for mark in marks:
        x1, y1, x2, y2 = mark.box
        line, strength = (1.1 * STROKE * points, 1.0) if mark.strong else (0.1 * points, 0.6)
        for width, color, alpha in ((line + 0.8, "black", 0.25 * strength), (line, mark.color, strength)):
            outline = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, lw=width, ec=color, alpha=alpha)
            outline.set_joinstyle("miter")
            axes.add_patch(outline)
    for mark in marks:
        if mark.tag is not None:
            _add_tag(axes, mark, mark.tag, size, points)


def _add_tag(axes: Axes, mark: Mark, tag: Box, size: float, points: float) -> None:
    radius = _TAG_RADIUS * size
    shape = FancyBboxPatch(
        (tag[0], tag[1]),
        tag[2] - tag[0],
        tag[3] - tag[1],
        boxstyle=f"round,pad=0,rounding_size={radius}",
        fc=mark.color,
        ec="none",
    )
    axes.add_patch(shape)
    axes.text(
        (tag[0] + tag[2]) / 2,
        tag[3] - _BASELINE * size,
        mark.text,
        size=points,
        color=ink_on(mark.color),
        ha="center",
        va="baseline",
        family="DejaVu Sans",
        parse_math=False,
    )


def _add_goal(axes: Axes, box: Box) -> None:
    x1, y1, x2, y2 = box
    for width, color, alpha, dashes in ((2.6, "black", 0.55, "solid"), (1.3, "white", 1.0, (0, (3.5, 2.5)))):
        outline = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, lw=width, ec=color, alpha=alpha, ls=dashes)
        axes.add_patch(outline)
