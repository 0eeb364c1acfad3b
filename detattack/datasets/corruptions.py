"""What happens to images on their way in the world: compression, resizing, blur. Does an attack survive it?"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detattack.core.errors import InputError, unknown

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Change:
    """A change of an image uint8 `[H,W,3]`, of which the size stays the same.

    `jpeg`: saved and read again at quality 1 to 100. `resize`: down to this share of the sides, and up again.
    `blur`: Gaussian, σ in pixels. `none`: nothing.
    """

    name: str
    value: float = 0.0

    def __str__(self) -> str:
        return self.name if self.name == "none" else f"{self.name}:{self.value:g}"

    def __call__(self, pixels: Pixels) -> Pixels:
        return _CHANGES[self.name](pixels, self.value)


UNCHANGED = Change("none")


def parse_changes(text: str) -> list[Change]:
    """From `jpeg:90,resize:0.5,blur:1`. Raises `InputError`."""
    return [_parsed(part.strip()) for part in text.split(",") if part.strip()]


def _parsed(text: str) -> Change:
    name, _, value = text.partition(":")
    if name not in LIMITS:
        raise unknown("change", name, LIMITS)
    low, high, what = LIMITS[name]
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        raise InputError(f"change {text!r}: {what}, from {low:g} to {high:g}")
    return Change(name, number)


LIMITS = {
    "jpeg": (1.0, 100.0, "a quality"),
    "resize": (0.05, 1.0, "a share of the sides"),
    "blur": (0.1, 50.0, "σ in pixels"),
}


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


_CHANGES: dict[str, Callable[[Pixels, float], Pixels]] = {
    "none": lambda pixels, _: pixels,
    "jpeg": _jpeg,
    "resize": _resize,
    "blur": _blur,
}
