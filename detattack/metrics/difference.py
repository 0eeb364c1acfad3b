"""Difference maps: the L2 norm over channels of an attack's change, and its heatmap."""

from functools import lru_cache

import matplotlib
import numpy as np
from numpy.typing import NDArray

COLOR_MAP = "inferno"
"""The color map of every difference map: perceptually uniform, and still ordered when printed in gray."""
DIFFERENCE_GAIN = 10.0
"""Factor on the L2 norm before it is shown."""
DIFFERENCE_LABEL = "L2 over channels × 10, range 0–1"
"""Label of a color bar."""
Pixels = NDArray[np.uint8]
Values = NDArray[np.uint8] | NDArray[np.floating]


def difference_map(original: Values, adversarial: Values) -> NDArray[np.float32]:
    """Return the L2 norm over channels of the difference of two images, × 10: float32 `[H,W]`, not clipped.

    - original, adversarial: `[H,W,3]`; uint8 pixels are taken as value/255, floats as they are, in [0,1]

    Raises ValueError for different shapes.
    """
    if original.shape != adversarial.shape or original.ndim != 3:
        raise ValueError(f"cannot compare images {list(original.shape)} and {list(adversarial.shape)}")
    difference = _unit(original) - _unit(adversarial)
    return DIFFERENCE_GAIN * np.sqrt(np.einsum("hwc,hwc->hw", difference, difference))


def heatmap(difference: NDArray[np.floating]) -> Pixels:
    """Return a difference map `[H,W]` in the color map, range 0-1 (more is shown as 1): uint8 `[H,W,3]`."""
    levels = np.rint(np.nan_to_num(difference).clip(0, 1) * 255).astype(np.uint8)
    return _color_table()[levels]


def levels_of(drawn: Pixels) -> NDArray[np.uint8]:
    """Return what a heatmap `[H,W,3]` was drawn from, in steps of 1/255: uint8 `[H,W]`."""
    codes = drawn.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    known, order = _color_codes()
    return order[np.searchsorted(known, codes).clip(0, len(known) - 1)]


def fitting_gain(levels: NDArray[np.uint8]) -> int:
    """Return the factor at which a difference is well seen, given the levels of its heatmap.

    Its 99.9th percentile becomes 1. A whole number, `DIFFERENCE_GAIN` or more.
    """
    changed = levels[levels > 0]
    top = float(np.percentile(changed, 99.9)) if changed.size else 255.0
    return max(int(DIFFERENCE_GAIN), round(DIFFERENCE_GAIN * 255 / top))


def rescaled(levels: NDArray[np.uint8], gain: int) -> Pixels:
    """Draw a difference anew, at another factor, from the levels of its heatmap: uint8 `[H,W,3]`."""
    return heatmap(levels * (gain / (255 * DIFFERENCE_GAIN)))


@lru_cache(maxsize=1)
def _color_codes() -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Return the colors as numbers, sorted, and the level of each."""
    codes = _color_table().astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    order = np.argsort(codes)
    return codes[order], order.astype(np.uint8)


@lru_cache(maxsize=1)
def _color_table() -> Pixels:
    colors = matplotlib.colormaps[COLOR_MAP](np.linspace(0, 1, 256))[:, :3]
    table = np.rint(colors * 255).astype(np.uint8)
    table.flags.writeable = False
    return table


def _unit(image: Values) -> NDArray[np.float32]:
    if image.dtype == np.uint8:
        return image.astype(np.float32) / np.float32(255)
    return image.astype(np.float32)
