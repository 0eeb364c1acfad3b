"""What all figures of experiments have in common: letters, lines, and how they are saved."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from classify.figure import GRID
from detattack.report.colors import INK, SOFT
from detattack.report.sheet import save_figure

DPI = 200


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """Make an empty figure of that many inches that makes room for its labels."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    return figure


def soften(axes: Axes) -> None:
    """Thin gray lines, no frame but the two axes."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(SOFT)
        axes.spines[side].set_linewidth(0.6)
    axes.tick_params(labelsize=8, length=2.5, width=0.6, color=SOFT, labelcolor=INK)
    axes.grid(color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)


def logarithmic(axes: Axes) -> None:
    """Make the x axis logarithmic with plain numbers, also where it spans less than a power of ten."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()


def save_both(figure: Figure, path: Path) -> None:
    """Write `path` with .png and with .pdf, atomically."""
    for kind in ("png", "pdf"):
        save_figure(figure, path.with_suffix(f".{kind}"), DPI)
