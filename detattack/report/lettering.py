"""How wide a text is in the figures' letters, DejaVu Sans, which comes with matplotlib: the same on every machine."""

from functools import cache
from pathlib import Path

import matplotlib
from PIL import ImageFont

_MEASURED_AT = 100


def text_width(text: str, size: float) -> float:
    """Measure the width of a text in letters of a size, in the size's unit."""
    return _font().getlength(text) * size / _MEASURED_AT


def wrapped(text: str, size: float, width: float) -> list[str]:
    """Break a text into lines at most `width` wide, in the size's unit; a longer word has a line of its own."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if line and text_width(longer, size) > width:
                lines.append(line.rstrip())
                line = word
            else:
                line = longer
        lines.append(line.rstrip())
    return lines


@cache
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), _MEASURED_AT)
