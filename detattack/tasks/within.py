"""`--within`: the pixels of an image that an attack may change."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from detattack.core.boxes import Box, to_box
from detattack.core.errors import InputError
from detattack.datasets.image_io import read_image

Mask = NDArray[np.bool_]
FORMS = "box, box:SHARE, outside, border:PIXELS, x1,y1,x2,y2 or the PNG of a mask"


class Within(ABC):
    """Where pixels may change. Derived classes are frozen dataclasses.

    of_objects: whether it is about the boxes of a goal
    """

    of_objects: bool = False

    @property
    def digest(self) -> str | None:
        """What tells a mask from another that is called the same; None: its text says all."""
        return None

    @abstractmethod
    def __str__(self) -> str:
        """Write the text that `parse_within` reads back as an equal one."""

    @abstractmethod
    def mask(self, size: tuple[int, int], boxes: Sequence[Box]) -> Mask:
        """Make the mask `[H,W]` of an image, True where pixels may change; those count whose center is inside.

        - size: (width, height) in pixels
        - boxes: of what the goal is about

        Raises `InputError` for an image that it does not fit.
        """


@dataclass(frozen=True)
class Inside(Within):
    """Inside of the boxes of a goal. share: of their sides, around their middle, in (0,1]."""

    share: float = 1.0
    of_objects = True

    def __str__(self) -> str:
        return "box" if self.share == 1 else f"box:{self.share:g}"

    def mask(self, size: tuple[int, int], boxes: Sequence[Box]) -> Mask:
        """Raise `InputError` where there is no box."""
        if not boxes:
            raise InputError(f"--within {self}: the goal is about no object here")
        return _inside([_middle(box, self.share) for box in boxes], size)


@dataclass(frozen=True)
class Outside(Within):
    """Outside of all boxes of a goal."""

    of_objects = True

    def __str__(self) -> str:
        return "outside"

    def mask(self, size: tuple[int, int], boxes: Sequence[Box]) -> Mask:
        """All that is in no box."""
        return ~_inside(boxes, size)


@dataclass(frozen=True)
class Border(Within):
    """A border of so many pixels."""

    pixels: int

    def __str__(self) -> str:
        return f"border:{self.pixels}"

    def mask(self, size: tuple[int, int], boxes: Sequence[Box]) -> Mask:
        """Whatever the boxes."""
        (width, height), n = size, self.pixels
        return ~_inside([(n, n, width - n, height - n)], size)


@dataclass(frozen=True)
class Place(Within):
    """A box, the same in all images."""

    box: Box

    def __str__(self) -> str:
        return ",".join(f"{value:g}" for value in self.box)

    def mask(self, size: tuple[int, int], boxes: Sequence[Box]) -> Mask:
        """Raise `InputError` where the box is not inside the image."""
        (width, height), (x1, y1, x2, y2) = size, self.box
        if not (x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height):
            raise InputError(f"--within {self}: is not inside an image of {width}x{height}")
        return _inside([self.box], size)


@dataclass(frozen=True)
class MaskFile(Within):
    """The white pixels of an image file, those brighter than middle gray. What is transparent is seen over black."""

    path: str

    def __str__(self) -> str:
        return self.path

    @cached_property
    def pixels(self) -> Mask:
        """The mask `[H,W]`. Raises `InputError` for a file that is no image, or without a white pixel."""
        try:
            white: Mask = read_image(self.path).pixels.mean(2) * _opacity(self.path) > 127.5
        except (InputError, OSError, ValueError) as error:
            raise InputError(f"--within {self}: neither {FORMS} ({error})") from error
        if not white.any():
            raise InputError(f"--within {self}: has no white pixel, nothing may change")
        return white

    @property
    def digest(self) -> str | None:
        """Of its pixels."""
        return hashlib.sha256(self.pixels.tobytes()).hexdigest()

    def mask(self, size: tuple[int, int], boxes: Sequence[Box]) -> Mask:
        """Raise `InputError` for an image of another size."""
        height, width = self.pixels.shape
        if (width, height) != size:
            raise InputError(f"--within {self}: is {width}x{height}, the image {size[0]}x{size[1]}")
        return self.pixels


def _opacity(path: str) -> NDArray[np.float64] | float:
    """Return the opacity `[H,W]` in [0,1] of an image that can be read, upright."""
    with Image.open(path) as image:
        if not image.has_transparency_data:
            return 1.0
        return np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))[..., 3] / 255


def parse_within(text: str) -> Within:
    """Parse where pixels may change; a mask's file is read. Raises `InputError`."""
    kind, colon, value = text.partition(":")
    if text == "outside":
        return Outside()
    if kind == "box":
        share = _number(value) if colon else 1.0
        if share is None or not 0 < share <= 1:
            raise InputError(f"--within {text!r}: the share of a box's sides is a number above 0, at most 1")
        return Inside(share)
    if kind == "border" and colon:
        pixels = _number(value)
        if pixels is None or pixels < 1 or pixels != int(pixels):
            raise InputError(f"--within {text!r}: a border is of whole pixels, 1 or more")
        return Border(int(pixels))
    numbers = [_number(part) for part in text.split(",")]
    if None not in numbers:
        return Place(_checked_box(text, [number for number in numbers if number is not None]))
    file = MaskFile(text)
    _ = file.pixels  # raises for one that is none
    return file


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _checked_box(text: str, numbers: Sequence[float]) -> Box:
    if len(numbers) != 4 or not (numbers[0] < numbers[2] and numbers[1] < numbers[3]):
        raise InputError(f"--within {text!r}: a box is x1,y1,x2,y2 with x1 < x2 and y1 < y2, in pixels")
    return to_box(numbers)


def _middle(box: Box, share: float) -> Box:
    x1, y1, x2, y2 = box
    across, down = (1 - share) / 2 * (x2 - x1), (1 - share) / 2 * (y2 - y1)
    return x1 + across, y1 + down, x2 - across, y2 - down


def _inside(boxes: Sequence[Box], size: tuple[int, int]) -> Mask:
    """Make the mask of the pixels whose center is in a box."""
    width, height = size
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    found = np.zeros((height, width), bool)
    for x1, y1, x2, y2 in boxes:
        found |= ((y >= y1) & (y < y2))[:, None] & ((x >= x1) & (x < x2))[None]
    return found
