"""Pictures of a result: difference maps, boxes on photos, and the three-panel figure of an attack.

One color map on one fixed range for every difference map, so that two of them can be compared; one color
for a class everywhere. Drawing never touches the array it is given. matplotlib is used through its objects,
without pyplot: nothing here depends on, or leaves behind, global state.
"""

import colorsys
import io
import math
import os
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from detattack.core.errors import InputError
from detattack.core.files import write_bytes_atomic
from detattack.core.types import DEFAULT_SCORE_THRESHOLD, Detections
from detattack.datasets.image_io import write_png
from detattack.metrics.difference import COLOR_MAP, DIFFERENCE_LABEL, Pixels, difference_map, heatmap

Box = tuple[float, float, float, float]
Color = tuple[float, float, float]


# Difference maps


def save_heatmap(path: str | os.PathLike[str], original: NDArray, adversarial: NDArray) -> None:
    """Write the heatmap of two images `[H,W,3]` as a plain PNG of their size, atomically."""
    write_png(path, heatmap(difference_map(original, adversarial)))


def heatmap_figure(path: str | os.PathLike[str], original: NDArray, adversarial: NDArray, caption: str = "") -> None:
    """Write the heatmap of two images as a figure with a color bar, PNG or PDF by extension, atomically."""
    difference = difference_map(original, adversarial)
    sheet = Sheet(difference.shape[1], difference.shape[0], panels=1, caption=caption)
    _draw_difference(sheet, difference)
    sheet.save(Path(path))


# Photos with boxes


def class_color(name: str) -> Color:
    """The color of a class, RGB in [0,1]: the same everywhere, whatever a model's order of classes."""
    if name in _FAMILIAR:
        return _FAMILIAR[name]
    seed = zlib.crc32(name.encode())
    hue, lightness = (seed % 997) / 997, 0.42 + 0.06 * (seed // 997 % 3)
    return colorsys.hls_to_rgb(hue, lightness, 0.75)


def draw_detections(
    pixels: Pixels,
    detections: Detections,
    names: Sequence[str],
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
    highlight: Collection[int] | None = None,
    goal_box: Sequence[float] | None = None,
) -> Pixels:
    """A copy of uint8 `[H,W,3]` with the detections above the threshold drawn on it, named and scored.

    names: the name of each label. highlight: labels that matter; the boxes of others are thin and unlabeled
    (None: all matter). goal_box: xyxy in pixels, drawn dashed. Lines and letters grow with the picture. A
    label that finds no free place is left out; its box is always there.
    """
    height, width = pixels.shape[:2]
    size = max(11.0, 0.024 * math.sqrt(width * height))
    stroke = _STROKE * size
    canvas = pixels.astype(np.float32)
    marks = _marks(detections, names, score_threshold, highlight, width, height, size)
    for mark in marks:
        line, strength = (stroke, 1.0) if mark.strong else (0.6 * stroke, 0.6)
        for part in _frame(mark.box, line + 0.5 * stroke):
            _fill(canvas, part, (0, 0, 0), 0.25 * strength)
        for part in _frame(mark.box, line):
            _fill(canvas, part, mark.color, strength)
    if goal_box is not None:
        _draw_goal(canvas, _box(goal_box), stroke)
    picture = Image.fromarray(np.rint(canvas).astype(np.uint8))
    for mark in marks:
        _draw_tag(picture, mark, size)
    return np.array(picture)


def caption_of(
    goal: str, status: str, iterations: int | None = None, l2: float | None = None, psnr: float | None = None
) -> str:
    """The caption of a result: goal, status, and K, L2 (on [0,1]) and PSNR (dB) where there are any."""
    parts = [goal, status]
    if iterations is not None and iterations >= 0:
        parts.append(f"K = {iterations}")
    if l2 is not None:
        parts.append(f"L2 = {l2:.3g}")
    if psnr is not None:
        parts.append(f"PSNR = {psnr:.1f} dB" if math.isfinite(psnr) else "PSNR infinite (unchanged)")
    return "  ·  ".join(parts)


def count_text(detections: Detections, score_threshold: float) -> str:
    """How many are above the threshold, in words."""
    count = len(detections.above(score_threshold))
    return f"{count or 'no'} detection{'' if count == 1 else 's'} above {score_threshold:g}"


def side_by_side(
    path: str | os.PathLike[str],
    original: Pixels,
    clean: Detections,
    adversarial: Pixels,
    attacked: Detections,
    names: Sequence[str],
    caption: str = "",
    goal_box: Sequence[float] | None = None,
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
    highlight: Collection[int] | None = None,
) -> None:
    """Write the figure of one attack: original with its boxes, adversarial image with its boxes, difference.

    original, adversarial: uint8 `[H,W,3]` of one size. clean, attacked: what the detector reports on them;
    those above the threshold are drawn. goal_box: the box asked for, xyxy in pixels, dashed. highlight: as
    in `draw_detections`. Panels have equal height, in a row (in a column for panoramas). The extension says
    PNG or PDF; boxes and letters are vectors there. Atomic. Raises InputError for another extension,
    ValueError for images of different shapes.
    """
    difference = difference_map(original, adversarial)
    height, width = difference.shape
    sheet = Sheet(width, height, panels=3, caption=caption)
    for title, pixels, found in (("Original", original, clean), ("Adversarial", adversarial, attacked)):
        counted = count_text(found, score_threshold)
        sheet.photo(title, counted, pixels, found, names, score_threshold, highlight, goal_box)
    _draw_difference(sheet, difference)
    sheet.save(Path(path))


# Colors

_FAMILIAR: dict[str, Color] = {
    name: tuple(int(code[i : i + 2], 16) / 255 for i in (0, 2, 4))  # type: ignore[misc]
    for name, code in {
        "car": "e6550d",
        "person": "1f77d0",
        "truck": "8c4fc4",
        "bus": "128a52",
        "bicycle": "d6336c",
        "motorcycle": "0b8fa3",
        "traffic light": "f2b705",
        "stop sign": "c1121f",
        "train": "5c4ad1",
        "dog": "9a5b13",
        "cat": "c2379a",
        "bird": "4c9a1f",
    }.items()
}


def _on(color: Color) -> Color:
    """White or near-black, whichever reads better on a color."""
    luminance = 0.2126 * color[0] ** 2.2 + 0.7152 * color[1] ** 2.2 + 0.0722 * color[2] ** 2.2
    return (0.08, 0.08, 0.08) if luminance > 0.36 else (1.0, 1.0, 1.0)


# Which boxes are drawn, and where their labels go


@dataclass(frozen=True)
class _Mark:
    """A box to draw. tag: the rectangle of its label in pixels, None where there is none."""

    box: Box
    color: Color
    text: str
    strong: bool
    tag: Box | None


def _marks(
    detections: Detections,
    names: Sequence[str],
    score_threshold: float,
    highlight: Collection[int] | None,
    width: int,
    height: int,
    size: float,
) -> list[_Mark]:
    """The boxes above the threshold, weakest first (the strongest ends on top), their letters `size` pixels.

    Labels are placed in the opposite order: the strongest detection chooses first.
    """
    found = detections.cpu().above(score_threshold)
    order = found.scores.argsort(descending=True, stable=True).tolist()
    marks: list[_Mark] = []
    taken: list[Box] = []
    for i in sorted(order, key=lambda i: highlight is not None and int(found.labels[i]) not in highlight):
        box = _clipped(_box(found.boxes[i].tolist()), width, height)
        if box is None:
            continue
        label = int(found.labels[i])
        strong = highlight is None or label in highlight
        text = f"{names[label]} {float(found.scores[i]):.2f}"
        edge = _grown(box, size * _STROKE / 2)
        tag = _place(edge, _tag_size(text, size), taken, width, height) if strong else None
        if tag is not None:
            taken.append(tag)
        marks.append(_Mark(box, class_color(names[label]), text, strong, tag))
    return marks[::-1]


def _box(values: Sequence[float]) -> Box:
    x1, y1, x2, y2 = (float(v) for v in values)
    return x1, y1, x2, y2


def _clipped(box: Box, width: int, height: int) -> Box | None:
    """The part of a box inside the picture; None if there is none."""
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


# Letters

_TAG_HEIGHT, _TAG_PADDING, _TAG_RADIUS, _BASELINE = 1.4, 0.32, 0.22, 0.39  # in units of the letters' size
_STROKE = 2 / 11  # of the letters' size: two pixels on a small photo
_TAG_POINTS, _CROWDED_TAG_POINTS, _CROWD = 7.5, 6.2, 15


@lru_cache(maxsize=8)
def _font(size: float) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: the same letters on every machine."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def _text_width(text: str, size: float) -> float:
    return _font(100).getlength(text) * size / 100


def _tag_size(text: str, size: float) -> tuple[float, float]:
    return _text_width(text, size) + 2 * _TAG_PADDING * size, _TAG_HEIGHT * size


# Drawing into pixels


def _frame(box: Box, line: float, dash: float = math.inf) -> Iterator[Box]:
    """The rectangles of a box's outline, `line` wide and centered on its edge, no two overlapping."""
    x1, y1, x2, y2 = box
    r = line / 2
    for y in (y1, y2):
        for start, end in _dashes(x1 - r, x2 + r, dash):
            yield start, y - r, end, y + r
    for x in (x1, x2):
        for start, end in _dashes(y1 + r, y2 - r, dash):
            yield x - r, start, x + r, end


def _dashes(start: float, end: float, dash: float) -> Iterator[tuple[float, float]]:
    """Dashes of about the length `dash` from start to end, with a dash at both ends; infinite: one line."""
    count = max(1, round((end - start) / dash / 1.7)) if math.isfinite(dash) else 0
    step = (end - start) / (count + 0.6) if count else end - start
    for i in range(count + 1):
        yield start + i * step, min(end, start + (i + (0.6 if count else 1)) * step)


def _fill(canvas: NDArray[np.float32], box: Box, color: Color, strength: float) -> None:
    """Blend a rectangle into float32 `[H,W,3]` 0-255; a pixel covered in part gets that part of the color."""
    height, width = canvas.shape[:2]
    left, top = max(0, math.floor(box[0])), max(0, math.floor(box[1]))
    right, bottom = min(width, math.ceil(box[2])), min(height, math.ceil(box[3]))
    if left >= right or top >= bottom:
        return
    columns, rows = np.arange(left, right), np.arange(top, bottom)
    across = np.minimum(box[2], columns + 1) - np.maximum(box[0], columns)
    down = np.minimum(box[3], rows + 1) - np.maximum(box[1], rows)
    alpha = (strength * np.outer(down, across).clip(0, 1))[..., None].astype(np.float32)
    region = canvas[top:bottom, left:right]
    region += alpha * (np.float32(255) * np.array(color, np.float32) - region)


def _draw_goal(canvas: NDArray[np.float32], box: Box, stroke: float) -> None:
    for part in _frame(box, 2 * stroke):
        _fill(canvas, part, (0, 0, 0), 0.55)
    for part in _frame(box, stroke, dash=5 * stroke):
        _fill(canvas, part, (1, 1, 1), 1.0)


def _draw_tag(picture: Image.Image, mark: _Mark, size: float) -> None:
    if mark.tag is None:
        return
    left, top = round(mark.tag[0]), round(mark.tag[1])
    width, height = math.ceil(mark.tag[2] - mark.tag[0]), math.ceil(mark.tag[3] - mark.tag[1])
    left, top = max(0, min(left, picture.width - width)), max(0, min(top, picture.height - height))
    # Pillow does not smooth shapes: four times as large and reduced, the round corners are smooth.
    mask = Image.new("L", (4 * width, 4 * height))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * width - 1, 4 * height - 1), 4 * _TAG_RADIUS * size, 255)
    fill = tuple(round(255 * c) for c in mark.color)
    picture.paste(fill, (left, top), mask.reduce(4))
    ink = tuple(round(255 * c) for c in _on(mark.color))
    baseline = (left + width / 2, top + height - _BASELINE * size)
    ImageDraw.Draw(picture).text(baseline, mark.text, ink, _font(size), anchor="ms")


# Drawing into figures

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "text.usetex": False,
    "pdf.fonttype": 42,
    "axes.unicode_minus": False,
}
_INK, _SOFT = "#1a1a1a", "#6b6b6b"
_PANEL_AREA, _WIDEST, _TALLEST, _PANORAMA = 9.5, 7.8, 5.2, 2.4  # inches², inches, inches, width/height
_LEAST_DPI, _MOST_DPI = 150, 300
_MARGIN, _GAP, _HEAD, _BAR_GAP, _BAR, _BAR_TEXT = 0.14, 0.16, 0.46, 0.08, 0.11, 0.56  # inches
_NARROWEST = 1.9  # inches: the titles of neighbors must not touch
_TITLE_POINTS, _SUBTITLE_POINTS, _CAPTION_POINTS = 10.5, 8.0, 9.0


class Sheet:
    """A figure of equal panels with titles, for images of `width` × `height` pixels, and a caption underneath.

    bar: whether there is room for a color bar at the last panel. All places are whole pixels and a small image's
    pixel is a whole number of the figure's: nothing is blurred.
    """

    def __init__(self, width: int, height: int, panels: int, caption: str, bar: bool = True) -> None:
        self._size = width, height
        aspect = width / height
        inches = min(math.sqrt(_PANEL_AREA * aspect), _WIDEST, _TALLEST * aspect)
        self._image_pixels_per_inch = width / inches
        zoom = math.ceil(_LEAST_DPI / self._image_pixels_per_inch)
        self.dpi = min(zoom * self._image_pixels_per_inch, _MOST_DPI)
        shrink = self.dpi / self._image_pixels_per_inch
        self._panel = max(1, round(width * shrink)), max(1, round(height * shrink))
        self._column = panels > 1 and aspect > _PANORAMA
        self._drawn = 0
        self._arrange(panels, caption, bar)

    def _arrange(self, panels: int, caption: str, bar: bool) -> None:
        across, down = (1, panels) if self._column else (panels, 1)
        self._pitch = max(self._panel[0], self._px(_NARROWEST)) + self._px(_GAP)
        self._drop = self._px(_HEAD) + self._panel[1] + self._px(_GAP / 2)
        beside = self._px(_BAR_GAP) + self._px(_BAR) + self._px(_BAR_TEXT) if bar else 0
        last = max(self._panel[0] + beside, self._px(_NARROWEST))
        self._width = 2 * self._px(_MARGIN) + (across - 1) * self._pitch + last
        text_inches = (self._width - 2 * self._px(_MARGIN)) / self.dpi
        lines = _wrapped(caption, _CAPTION_POINTS, 72 * text_inches)
        foot = self._px(0.1 + len(lines) * _CAPTION_POINTS * 1.4 / 72) if lines else 0
        self._height = 2 * self._px(_MARGIN) + down * self._drop + foot
        self.figure = Figure(figsize=(self._width / self.dpi, self._height / self.dpi), dpi=self.dpi, facecolor="white")
        FigureCanvasAgg(self.figure)
        self._text(_MARGIN, foot / self.dpi + _MARGIN - 0.06, "\n".join(lines), _CAPTION_POINTS, _INK)

    def panel(self, title: str, subtitle: str) -> Axes:
        """The next panel, with its titles: axes in pixels of the image, y downwards, no ticks or frame."""
        left, bottom = self._corner()
        top = (bottom + self._panel[1]) / self.dpi
        self._text(left / self.dpi, top + 0.275, title, _TITLE_POINTS, _INK, va="baseline", weight="bold")
        room = 72 * (self._pitch - self._px(_GAP)) / self.dpi
        points = min(_SUBTITLE_POINTS, _SUBTITLE_POINTS * room / max(_text_width(subtitle, _SUBTITLE_POINTS), 1))
        self._text(left / self.dpi, top + 0.1, subtitle, points, _SOFT, va="baseline")
        axes = self.figure.add_axes(self._fractions(left, bottom, *self._panel))
        axes.set_axis_off()
        self._drawn += 1
        return axes

    def picture(self, title: str, subtitle: str, pixels: NDArray) -> Axes:
        """The next panel, with an image `[H,W,3]` in it."""
        axes = self.panel(title, subtitle)
        width, height = self._size
        axes.imshow(self.fitted(pixels), extent=(0, width, height, 0), interpolation="nearest")
        return axes

    def photo(
        self,
        title: str,
        subtitle: str,
        pixels: Pixels,
        detections: Detections,
        names: Sequence[str],
        score_threshold: float,
        highlight: Collection[int] | None = None,
        goal_box: Sequence[float] | None = None,
    ) -> None:
        """The next panel, with an image, its detections above the threshold and the box asked for; the arguments are
        those of `draw_detections`."""
        axes = self.picture(title, subtitle, pixels)
        if goal_box is not None:
            _add_goal(axes, _box(goal_box))
        points = _TAG_POINTS if len(detections.above(score_threshold)) <= _CROWD else _CROWDED_TAG_POINTS
        size = points / 72 * self._image_pixels_per_inch
        _add_marks(axes, _marks(detections, names, score_threshold, highlight, *self._size, size), size, points)

    def color_bar(self) -> None:
        """The color bar of difference maps, at the right of the panel drawn last."""
        self._drawn -= 1
        left, bottom = self._corner()
        self._drawn += 1
        x = left + self._panel[0] + self._px(_BAR_GAP)
        axes = self.figure.add_axes(self._fractions(x, bottom, self._px(_BAR), self._panel[1]))
        mappable = ScalarMappable(Normalize(0, 1), matplotlib.colormaps[COLOR_MAP])
        tall = self._panel[1] / self.dpi > 1.4
        bar = self.figure.colorbar(mappable, cax=axes, ticks=[0, 0.25, 0.5, 0.75, 1] if tall else [0, 0.5, 1])
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7, length=2, width=0.5, pad=2, color=_SOFT, labelcolor=_SOFT)
        fits = _text_width(DIFFERENCE_LABEL, 7.5) < 72 * self._panel[1] / self.dpi
        label = DIFFERENCE_LABEL if fits else DIFFERENCE_LABEL.replace(" × 10, ", "\n× 10, ")
        bar.set_label(label, size=7.5 if fits else 6.5, color=_SOFT, labelpad=3)

    def fitted(self, pixels: NDArray) -> NDArray:
        """An image at the resolution of its panel: averaged if it is larger, pixels repeated if smaller."""
        method = cv2.INTER_AREA if self._panel[0] < pixels.shape[1] else cv2.INTER_NEAREST
        return np.asarray(cv2.resize(pixels, self._panel, interpolation=method))

    def save(self, path: Path) -> None:
        """Write it as PNG or PDF by extension, atomically. Raises `InputError` for another extension."""
        save_figure(self.figure, path, self.dpi)

    def _corner(self) -> tuple[int, int]:
        """Left and bottom of the next panel, in pixels from the lower left."""
        right, down = (0, self._drawn) if self._column else (self._drawn, 0)
        top = self._height - self._px(_MARGIN) - down * self._drop - self._px(_HEAD)
        return self._px(_MARGIN) + right * self._pitch, top - self._panel[1]

    def _px(self, inches: float) -> int:
        return round(inches * self.dpi)

    def _fractions(self, left: int, bottom: int, width: int, height: int) -> tuple[float, float, float, float]:
        return left / self._width, bottom / self._height, width / self._width, height / self._height

    def _text(self, x: float, y: float, text: str, points: float, color: str, **style: Any) -> None:
        """Text whose upper left (unless `va` says otherwise) is (x, y) inches from the lower left."""
        self.figure.text(
            x * self.dpi / self._width,
            y * self.dpi / self._height,
            text,
            size=points,
            color=color,
            ha="left",
            family="DejaVu Sans",
            parse_math=False,  # a "$" in a file's name is a dollar
            linespacing=1.3,
            **{"va": "top", **style},
        )


def save_figure(figure: Figure, path: Path, dpi: float) -> None:
    """Write a figure as PNG or PDF by extension, atomically. Raises `InputError` for another extension."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "pdf"):
        raise InputError(f"{path}: figures are written as .png or .pdf")
    buffer = io.BytesIO()
    # Without date and program version the same figure has the same bytes.
    metadata = {"CreationDate": None} if kind == "pdf" else {"Software": None}
    with matplotlib.rc_context(_STYLE):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    write_bytes_atomic(path, buffer.getvalue())


def _draw_difference(sheet: Sheet, difference: NDArray[np.float32]) -> None:
    largest = float(difference.max())
    subtitle = f"largest {largest:.2f}" + (", shown as 1" if largest > 1 else "")
    sheet.picture("Difference", subtitle, heatmap(sheet.fitted(difference)))
    sheet.color_bar()


def _add_marks(axes: Axes, marks: list[_Mark], size: float, points: float) -> None:
    """Boxes and labels as vectors; letters are `size` pixels of the image high, `points` on paper."""
    for mark in marks:
        x1, y1, x2, y2 = mark.box
        line, strength = (1.1 * _STROKE * points, 1.0) if mark.strong else (0.1 * points, 0.6)
        for width, color, alpha in ((line + 0.8, "black", 0.25 * strength), (line, mark.color, strength)):
            outline = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, lw=width, ec=color, alpha=alpha)
            outline.set_joinstyle("miter")
            axes.add_patch(outline)
    for mark in marks:
        if mark.tag is not None:
            _add_tag(axes, mark, mark.tag, size, points)


def _add_tag(axes: Axes, mark: _Mark, tag: Box, size: float, points: float) -> None:
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
        color=_on(mark.color),
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


def _wrapped(text: str, points: float, width: float) -> list[str]:
    """The lines of a text, at most `width` points wide; a longer word has a line of its own."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if line and _text_width(longer, points) > width:
                lines.append(line.rstrip())
                line = word
            else:
                line = longer
        lines.append(line.rstrip())
    return lines
