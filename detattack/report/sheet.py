"""Figures of several panels, as PNG or PDF: pictures side by side with titles, a color bar and a caption.

matplotlib is used through its objects, without pyplot: nothing here depends on, or leaves behind, global state.
"""

import io
import math
from dataclasses import replace
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
from numpy.typing import NDArray

from detattack.core.errors import InputError
from detattack.core.files import write_bytes_atomic
from detattack.engine.budget import GRAY_LEVELS, Budget
from detattack.metrics.difference import COLOR_MAP, DIFFERENCE_LABEL, heatmap
from detattack.report.colors import INK, SOFT
from detattack.report.lettering import text_width, wrapped
from detattack.runs.record import BaseRecord

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "text.usetex": False,
    "pdf.fonttype": 42,
    "axes.unicode_minus": False,
}
_PANEL_AREA, _WIDEST, _TALLEST, _PANORAMA = 9.5, 7.8, 5.2, 2.4  # inches², inches, inches, width/height
_LEAST_DPI, _MOST_DPI = 150, 300
_MARGIN, _GAP, _HEAD, _BAR_GAP, _BAR, _BAR_TEXT = 0.14, 0.16, 0.46, 0.08, 0.11, 0.56  # inches
_NARROWEST = 1.9  # inches: the titles of neighbors must not touch
_TITLE_POINTS, _SUBTITLE_POINTS, _CAPTION_POINTS = 10.5, 8.0, 9.0


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of a size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


class Sheet:
    """A figure of equal panels with titles, for images of `width` × `height` pixels, and a caption underneath.

    All places are whole pixels and a small image's pixel is a whole number of the figure's: nothing is blurred.

    - bar: whether there is room for a color bar at the last panel.
    - size: of the images, width and height in pixels; panel_size: of a panel, in pixels of the figure.
    - image_pixels_per_inch: on paper.
    """

    def __init__(self, width: int, height: int, panels: int, caption: str, bar: bool = True) -> None:
        self.size = width, height
        aspect = width / height
        inches = min(math.sqrt(_PANEL_AREA * aspect), _WIDEST, _TALLEST * aspect)
        self.image_pixels_per_inch = width / inches
        zoom = math.ceil(_LEAST_DPI / self.image_pixels_per_inch)
        self.dpi = min(zoom * self.image_pixels_per_inch, _MOST_DPI)
        shrink = self.dpi / self.image_pixels_per_inch
        self.panel_size = max(1, round(width * shrink)), max(1, round(height * shrink))
        self._column = panels > 1 and aspect > _PANORAMA
        self._drawn = 0
        self._arrange(panels, caption, bar)

    def _arrange(self, panels: int, caption: str, bar: bool) -> None:
        across, down = (1, panels) if self._column else (panels, 1)
        self._pitch = max(self.panel_size[0], self._px(_NARROWEST)) + self._px(_GAP)
        self._drop = self._px(_HEAD) + self.panel_size[1] + self._px(_GAP / 2)
        beside = self._px(_BAR_GAP) + self._px(_BAR) + self._px(_BAR_TEXT) if bar else 0
        last = max(self.panel_size[0] + beside, self._px(_NARROWEST))
        self._width = 2 * self._px(_MARGIN) + (across - 1) * self._pitch + last
        text_inches = (self._width - 2 * self._px(_MARGIN)) / self.dpi
        lines = wrapped(caption, _CAPTION_POINTS, 72 * text_inches)
        foot = self._px(0.1 + len(lines) * _CAPTION_POINTS * 1.4 / 72) if lines else 0
        self._height = 2 * self._px(_MARGIN) + down * self._drop + foot
        self.figure = Figure(figsize=(self._width / self.dpi, self._height / self.dpi), dpi=self.dpi, facecolor="white")
        FigureCanvasAgg(self.figure)
        self._text(_MARGIN, foot / self.dpi + _MARGIN - 0.06, "\n".join(lines), _CAPTION_POINTS, INK)

    def panel(self, title: str, subtitle: str) -> Axes:
        """Add the next panel, with its titles: axes in pixels of the image, y downwards, no ticks or frame."""
        left, bottom = self._corner()
        top = (bottom + self.panel_size[1]) / self.dpi
        self._text(left / self.dpi, top + 0.275, title, _TITLE_POINTS, INK, va="baseline", weight="bold")
        room = 72 * (self._pitch - self._px(_GAP)) / self.dpi
        points = min(_SUBTITLE_POINTS, _SUBTITLE_POINTS * room / max(text_width(subtitle, _SUBTITLE_POINTS), 1))
        self._text(left / self.dpi, top + 0.1, subtitle, points, SOFT, va="baseline")
        axes = self.figure.add_axes(self._fractions(left, bottom, *self.panel_size))
        axes.set_axis_off()
        self._drawn += 1
        return axes

    def picture(self, title: str, subtitle: str, pixels: NDArray[Any]) -> Axes:
        """Draw the next panel, with an image `[H,W,3]` in it."""
        axes = self.panel(title, subtitle)
        width, height = self.size
        axes.imshow(self.fitted(pixels), extent=(0, width, height, 0), interpolation="nearest")
        return axes

    def color_bar(self) -> None:
        """Draw the color bar of difference maps, at the right of the panel drawn last."""
        self._drawn -= 1
        left, bottom = self._corner()
        self._drawn += 1
        x = left + self.panel_size[0] + self._px(_BAR_GAP)
        axes = self.figure.add_axes(self._fractions(x, bottom, self._px(_BAR), self.panel_size[1]))
        mappable = ScalarMappable(Normalize(0, 1), matplotlib.colormaps[COLOR_MAP])
        tall = self.panel_size[1] / self.dpi > 1.4
        bar = self.figure.colorbar(mappable, cax=axes, ticks=[0, 0.25, 0.5, 0.75, 1] if tall else [0, 0.5, 1])
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7, length=2, width=0.5, pad=2, color=SOFT, labelcolor=SOFT)
        fits = text_width(DIFFERENCE_LABEL, 7.5) < 72 * self.panel_size[1] / self.dpi
        label = DIFFERENCE_LABEL if fits else DIFFERENCE_LABEL.replace(" × 10, ", "\n× 10, ")
        bar.set_label(label, size=7.5 if fits else 6.5, color=SOFT, labelpad=3)

    def difference(self, difference: NDArray[np.float32]) -> None:
        """Draw the next panel, a difference map `[H,W]` as a heatmap, with its color bar."""
        largest = float(difference.max())
        subtitle = f"largest {largest:.2f}" + (", shown as 1" if largest > 1 else "")
        self.picture("Difference", subtitle, heatmap(self.fitted(difference)))
        self.color_bar()

    def fitted(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Resize an image to its panel: averaged if it is larger, pixels repeated if smaller."""
        method = cv2.INTER_AREA if self.panel_size[0] < pixels.shape[1] else cv2.INTER_NEAREST
        return np.asarray(cv2.resize(pixels, self.panel_size, interpolation=method))

    def save(self, path: Path) -> None:
        """Write it as PNG or PDF by extension, atomically. Raises `InputError` for another extension."""
        save_figure(self.figure, path, self.dpi)

    def _corner(self) -> tuple[int, int]:
        """Left and bottom of the next panel, in pixels from the lower left."""
        right, down = (0, self._drawn) if self._column else (self._drawn, 0)
        top = self._height - self._px(_MARGIN) - down * self._drop - self._px(_HEAD)
        return self._px(_MARGIN) + right * self._pitch, top - self.panel_size[1]

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


def budget_caption(goal: str, record: BaseRecord, budget: Budget) -> str:
    """Write the caption of what a budget did to an image: whether it is broken, and the true size of its change."""
    size = record.quality.get(budget.norm)
    scale = GRAY_LEVELS if budget.norm == "linf" else 1  # RMS is in gray levels
    change = "" if size is None else f"  ·  changed by {replace(budget, size=float(f'{scale * size:.3g}')).label}"
    asked = f"{goal}  ·  budget {budget.label}"
    return caption_of(asked, record.outcome(spends=True) + change, psnr=record.quality.get("psnr"))


def caption_of(
    goal: str, status: str, iterations: int | None = None, l2: float | None = None, psnr: float | None = None
) -> str:
    """Write the caption of a result: goal, status, and K, L2 (on [0,1]) and PSNR (dB) where there are any."""
    parts = [goal, status]
    if iterations is not None and iterations >= 0:
        parts.append(f"K = {iterations}")
    if l2 is not None:
        parts.append(f"L2 = {l2:.3g}")
    if psnr is not None:
        parts.append(f"PSNR = {psnr:.1f} dB" if math.isfinite(psnr) else "PSNR infinite (unchanged)")
    return "  ·  ".join(parts)
