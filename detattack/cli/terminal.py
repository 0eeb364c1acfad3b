"""What comes from files and models is shown as text.

Nothing in a name moves the cursor, colors the screen, sets the window's title, or turns the direction of reading.
"""

import re
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""Control and direction characters, and what no encoding can hold; newline and tab are layout."""


def shown(text: object) -> str:
    r"""Write out what a terminal would obey, or not show: `\x1b[31m`."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


class Terminal(Console):
    """A console that obeys rich alone, and no text that is printed.

    Cells of a table are measured before, so that long names are better `shown` when they are put in.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich's, `shown`."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(shown(segment.text), segment.style)


def say(text: object, **options: Any) -> None:
    """As `print`, `shown`."""
    print(shown(text), **options)


def say_notes(notes: Iterable[str]) -> None:
    """Say on stderr, a line each, what people should know of data and model.

    It changes what the figures mean, so that `--quiet` hides none of it.
    """
    for note in notes:
        say(f"NOTE: {' '.join(note.split())}", file=sys.stderr)
