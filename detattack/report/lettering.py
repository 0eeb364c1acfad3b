"""How wide a text is in the figures' letters, DejaVu Sans, which comes with matplotlib: the same on every machine."""

from bisect import bisect_right
from functools import cache
from pathlib import Path

import matplotlib
from PIL import ImageFont

_MEASURED_AT = 100


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Measure the width of a text in letters of a size, in the size's unit."""
    return _font("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf").getlength(text) * size / _MEASURED_AT


def wrapped(text: str, size: float, width: float) -> list[str]:
    """Break a text into lines at most `width` wide, in the size's unit; a longer word is broken, too."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split(" "):
            *full, rest = _broken(word, size, width)
            if line and (full or text_width(f"{line} {rest}", size) > width):
                lines.append(line.rstrip())
                line = ""
            lines += full
            line = f"{line} {rest}" if line else rest
        lines.append(line.rstrip())
    return lines


def _broken(word: str, size: float, width: float) -> list[str]:
    """Break a word into parts at most `width` wide, a letter at least, after a comma where there is one."""
    parts = []
    while text_width(word, size) > width and len(word) > 1:
        widths = [text_width(word[:end], size) for end in range(1, len(word))]
        fitting = bisect_right(widths, width)
        end = word.rfind(",", 0, fitting) + 1 or max(1, fitting)
        parts.append(word[:end])
        word = word[end:]
    return [*parts, word]


@cache
def _font(file: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", file)), _MEASURED_AT)
