"""The text of goals: `CLASS`, `CLASS@BOX`, `CLASS@BOX->CLASS`."""

import math
import re
from typing import NamedTuple

from detattack.core.boxes import Box
from detattack.core.errors import InputError

ALL = "all"
"""In place of a class: every class."""
PLACES = ("center", "random", "road")
"""In place of a box: places that are found for each image."""
_PARTS = re.compile(r"(?P<category>[^@>]+?)(?:@(?P<place>[^>]+?))?(?:->(?P<new>[^@>]+))?")


class Parts(NamedTuple):
    """`CATEGORY@PLACE->NEW`; None for what is not there."""

    category: str
    place: str | None
    new: str | None


def parse_parts(text: str) -> Parts:
    """Part what follows `KIND:`. Raises `InputError` where it does not have that form."""
    found = _PARTS.fullmatch(text)
    if not found:
        raise InputError(f"{text!r} is not of the form CLASS, CLASS@PLACE or CLASS@PLACE->CLASS")
    category, place, new = (part and part.strip() for part in found.group("category", "place", "new"))
    return Parts(category, place, new)


def parse_place(text: str) -> Box | str:
    """One of `PLACES`, or a box. Raises `InputError`."""
    return text if text in PLACES else parse_box(text)


def parse_fixed_box(kind: str, text: str | None) -> Box | None:
    """Parse the box of a goal that is about what is there already, where it names one. Raises `InputError`."""
    if text in PLACES:
        raise InputError(f"{kind} takes a box, not {text!r}")
    return parse_box(text) if text else None


def parse_box(text: str) -> Box:
    """`x1,y1,x2,y2` in pixels, x1 < x2 and y1 < y2. Raises `InputError`."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 4 or not all(math.isfinite(v) for v in values):
        raise InputError(f"box {text!r}: not four numbers x1,y1,x2,y2")
    x1, y1, x2, y2 = values
    if x1 >= x2 or y1 >= y2:
        raise InputError(f"box {text!r}: inverted or empty (x1 < x2 and y1 < y2 are needed)")
    return x1, y1, x2, y2


def box_text(box: Box) -> str:
    """Write the text that `parse_box` reads back as the same box, short where that loses nothing."""
    return ",".join(map(_number, box))


def at_text(place: Box | str | None) -> str:
    """`@PLACE`; nothing for None."""
    return "" if place is None else "@" + (place if isinstance(place, str) else box_text(place))


def check_inside(box: Box, width: int, height: int) -> None:
    """Raise `InputError` where the box is not inside an image of that size."""
    x1, y1, x2, y2 = box
    if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
        text = ",".join(f"{v:g}" for v in box)
        raise InputError(f"box {text}: outside the image of {width}×{height} pixels")


def _number(value: float) -> str:
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))
