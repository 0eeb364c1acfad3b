"""Image corruptions used to test whether an attack holds: JPEG, resize, blur."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detattack.core.errors import InputError, unknown

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Corruption:
    """An image corruption: a function of an image uint8 `[H,W,3]` that keeps its size.

    - name: `jpeg` (encoded and decoded), `resize` (down and up again), `blur` (Gaussian) or `none`
    - value: JPEG quality 1 to 100; share of the sides in (0,1]; σ in pixels
    """

    name: str
    value: float = 0.0

    def __str__(self) -> str:
        return self.name if self.name == "none" else f"{self.name}:{self.value:g}"

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return the corrupted image, uint8 `[H,W,3]`."""
        return _FUNCTIONS[self.name](pixels, self.value)


UNCORRUPTED = Corruption("none")


def parse_corruptions(text: str) -> list[Corruption]:
    """Parse a list such as `jpeg:90,resize:0.5,blur:1`. Raises `InputError`."""
    return [_parsed(part.strip()) for part in text.split(",") if part.strip()]


def _parsed(text: str) -> Corruption:
    name, _, value = text.partition(":")
    if name not in LIMITS:
        raise unknown("corruption", name, LIMITS)
    low, high, what = LIMITS[name]
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        raise InputError(f"corruption {text!r}: {what}, from {low:g} to {high:g}")
    return Corruption(name, number)


LIMITS = {
    "jpeg": (1.0, 100.0, "a quality"),
    "resize": (0.05, 1.0, "a share of the sides"),
    "blur": (0.1, 50.0, "σ in pixels"),
}
"""Smallest and largest value of each corruption, and what the value is."""


def _jpeg(pixels: Pixels, quality: float) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=round(quality))
    with Image.open(buffer) as image:
        return np.array(image.convert("RGB"))


def _resize(pixels: Pixels, share: float) -> Pixels:
    height, width = pixels.shape[:2]
    small = (max(1, round(share * width)), max(1, round(share * height)))
    down = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(down, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _blur(pixels: Pixels, sigma: float) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)


_FUNCTIONS: dict[str, Callable[[Pixels, float], Pixels]] = {
    "none": lambda pixels, _: pixels,
    "jpeg": _jpeg,
    "resize": _resize,
    "blur": _blur,
}
