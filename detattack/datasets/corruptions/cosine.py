"""A gradient through JPEG: in the cosine transform of its blocks, by how near each coefficient is to a change.

JPEG rounds each coefficient c of a block to a whole number of steps q: it changes in the file once it has passed half a
step. A gradient that goes straight through pushes all coefficients a little, most of which then round back. Here the
gradient of a coefficient is weighed by (1 − d)⁸, where d in [0,1] is how many steps it has to go, downhill, before it
rounds to something else: few are pushed far, and what they cost is not lost.
"""

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detattack.datasets.corruptions.registry import Pixels

Floats = NDArray[np.float32]
BLOCK = 8
"""Sides of a block, in pixels."""
SHARPNESS = 8
"""The power. Of 1, 2, 4, 8 and 16, that of the smallest changes which survive JPEG 75, but for a few per cent."""
FAINT = 0.02
"""Weight before the power of what is a whole step away, so that no coefficient is out of reach."""
TO_YCC: Floats = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
"""JFIF's luma and chroma of red, green and blue."""


def pull_jpeg(pixels: Pixels, quality: float, gradient: Floats) -> Floats:
    """Pull a gradient `[H,W,3]` back through JPEG of a quality, at an image uint8 `[H,W,3]`."""
    height, width = pixels.shape[:2]
    padding = [(0, -height % (2 * BLOCK)), (0, -width % (2 * BLOCK)), (0, 0)]
    values = np.pad(pixels.astype(np.float32) - 128, padding, mode="edge") @ TO_YCC.T
    slopes = np.pad(gradient, padding) @ np.linalg.inv(TO_YCC)
    pulled = np.empty_like(values)
    for channel, table in enumerate(tables(round(quality))):
        share = 1 if channel == 0 else 2  # of chroma, JPEG keeps every second pixel
        coefficients, rates = (transformed(_halved(plane[..., channel], share)) for plane in (values, slopes))
        plane = transformed(rates * nearness(coefficients, rates, table), back=True)
        pulled[..., channel] = plane.repeat(share, 0).repeat(share, 1)
    return np.asarray((pulled @ TO_YCC)[:height, :width], np.float32)


def nearness(coefficients: Floats, rates: Floats, table: Floats) -> Floats:
    """Tell how near each coefficient is to its next rounding, downhill: from nearly 0 to 1.

    - coefficients: of a plane, `[H,W]`, in blocks
    - rates: their gradient
    - table: steps of quantization, `[8,8]`
    """
    steps = coefficients / np.tile(table, [side // BLOCK for side in coefficients.shape])
    ahead = 0.5 - np.sign(rates) * (steps - steps.round())
    return np.asarray(np.maximum(ahead, FAINT) ** SHARPNESS)


def transformed(plane: Floats, back: bool = False) -> Floats:
    """Transform a plane `[H,W]`, block by block, by the orthonormal cosine transform, or back."""
    matrix = _cosines().T if back else _cosines()
    rows, columns = (side // BLOCK for side in plane.shape)
    blocks = plane.reshape(rows, BLOCK, columns, BLOCK).transpose(0, 2, 1, 3)
    return np.asarray((matrix @ blocks @ matrix.T).transpose(0, 2, 1, 3).reshape(plane.shape))


@lru_cache
def tables(quality: int) -> tuple[Floats, Floats, Floats]:
    """Return the steps of quantization of Pillow's encoder, `[8,8]` each, of luma and twice of chroma."""
    buffer = io.BytesIO()
    Image.new("RGB", (BLOCK, BLOCK)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        found = image.quantization  # type: ignore[attr-defined]
    luma, chroma = (np.array(found[i], np.float32).reshape(BLOCK, BLOCK) for i in (0, 1))
    return luma, chroma, chroma


@lru_cache
def _cosines() -> Floats:
    """Return the matrix of the transform of 8 values."""
    k = np.arange(BLOCK)[:, None]
    cosines = np.cos(np.pi * (2 * k.T + 1) * k / (2 * BLOCK)) * np.where(k == 0, 0.5**0.5, 1) / 2
    return cosines.astype(np.float32)


def _halved(plane: Floats, share: int) -> Floats:
    height, width = plane.shape
    return np.asarray(plane.reshape(height // share, share, width // share, share).mean((1, 3)))
