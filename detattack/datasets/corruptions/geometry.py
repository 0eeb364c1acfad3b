"""Corruptions that mix neighboring pixels or move them. Each is the same linear map along rows and columns.

The matrix of that map is what OpenCV does to an identity, so that the gradient is exact but for rounding.
"""

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from detattack.core.errors import ImageError
from detattack.datasets.corruptions.registry import Pixels, register_corruption

if TYPE_CHECKING:
    from detattack.core.boxes import Box  # whose module imports torch

SIGMAS = 3
"""Half the width of a blur's window, in σ, as OpenCV has it for 8-bit images."""
Matrix = NDArray[np.float32]


def _resize_matrix(side: int, share: float) -> Matrix:
    down = cv2.resize(np.eye(side, dtype=np.float32), (side, _smaller(side, share)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(down, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


@register_corruption("resize", what="a share of the sides", low=0.05, high=1, matrix=_resize_matrix)
def resize(pixels: Pixels, share: float) -> Pixels:
    """Resize to a share of the sides, by areas, and back, bilinearly."""
    height, width = pixels.shape[:2]
    small = _smaller(width, share), _smaller(height, share)
    down = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(down, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _smaller(side: int, share: float) -> int:
    return max(1, round(share * side))


def _blur_matrix(side: int, sigma: float) -> Matrix:
    window = round(2 * SIGMAS * sigma + 1) | 1
    kernel = cv2.getGaussianKernel(window, sigma, cv2.CV_32F)
    return np.asarray(cv2.sepFilter2D(np.eye(side, dtype=np.float32), -1, np.ones(1, np.float32), kernel), np.float32)


@register_corruption("blur", what="σ in pixels", low=0.1, high=50, matrix=_blur_matrix)
def blur(pixels: Pixels, sigma: float) -> Pixels:
    """Blur by a Gaussian of σ pixels."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)


def _moved(box: "Box", by: float, size: tuple[int, int]) -> "Box":
    x1, y1, x2, y2 = (value + by for value in box)
    return x1, y1, x2, y2


def _shift_matrix(side: int, by: float) -> Matrix:
    return np.eye(side, dtype=np.float32)[_sources(side, by)]


@register_corruption("shift", what="whole pixels", low=-64, high=64, whole=True, matrix=_shift_matrix, move=_moved)
def shift(pixels: Pixels, by: float) -> Pixels:
    """Move by whole pixels to the right and down (below 0: to the left and up); the edge is repeated."""
    height, width = pixels.shape[:2]
    return np.ascontiguousarray(pixels[_sources(height, by)][:, _sources(width, by)])


def _sources(side: int, by: float) -> NDArray[np.intp]:
    return (np.arange(side) - round(by)).clip(0, side - 1)


def _enlarged(box: "Box", cut: float, size: tuple[int, int]) -> "Box":
    (width, height), (x1, y1, x2, y2) = size, box
    across, down = width / (width - 2 * cut), height / (height - 2 * cut)
    return (x1 - cut) * across, (y1 - cut) * down, (x2 - cut) * across, (y2 - cut) * down


def _crop_matrix(side: int, cut: float) -> Matrix:
    inner = np.eye(side, dtype=np.float32)[round(cut) : side - round(cut)]
    return np.asarray(cv2.resize(inner, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


@register_corruption("crop", what="whole pixels", low=0, high=256, whole=True, matrix=_crop_matrix, move=_enlarged)
def crop(pixels: Pixels, cut: float) -> Pixels:
    """Cut whole pixels off each side, and enlarge what is left to the size that it was.

    Raises `ImageError` for an image with nothing left.
    """
    height, width = pixels.shape[:2]
    n = round(cut)
    if 2 * n >= min(height, width):
        raise ImageError(f"corruption crop:{n}: nothing is left of an image of {width}x{height}")
    inner = pixels[n : height - n, n : width - n]
    return np.asarray(cv2.resize(inner, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
