"""A page of sections, each with tables that can be sorted, plots and pictures: leaderboards and comparisons.

Styles, script and data are inside the page, as in a run's (`page.py`), under the same content security policy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from detattack import __version__
from detattack.report.page import as_script, page_template, policy, template
from detattack.report.plots import Plot

COLORS = 8
"""Of series and rows: the classes `s0` to `s7` of the style sheet."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table of the page: its text, what it is sorted by, and what stands beside it.

    value: sorted by; "": the text; None: the figure is missing, and its row is last in either direction
    """

    text: str
    value: Any = ""
    note: str = ""
    link: str = ""
    kind: int | None = None


@dataclass(frozen=True)
class Line:
    """A row of a table of the page."""

    cells: Sequence[Cell]
    faint: bool = False


@dataclass(frozen=True)
class Grid:
    """A table of the page."""

    head: Sequence[str]
    rows: Sequence[Line]
    title: str = ""
    after: str = ""
    shape: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page. wide: each picture has the width of the page."""

    title: str
    about: str = ""
    tables: Sequence[Grid] = ()
    plots: Sequence[Plot] = ()
    pictures: Sequence[Mapping[str, Any]] = ()
    wide: bool = False

    @property
    def anchor(self) -> str:
        """What a link to it names."""
        return self.title.lower().replace(" ", "-")


@dataclass(frozen=True)
class Page:
    """A page of sections.

    - back: the address of the page that leads here
    - viewer: what the page's script knows of images that are shown side by side; empty: there are none.
    """

    title: str
    kind: str
    facts: Sequence[str]
    sections: Sequence[Section]
    notes: Sequence[str] = ()
    warnings: Sequence[Mapping[str, str]] = field(default=())
    viewer: Mapping[str, Any] = field(default_factory=dict)
    back: str = ""


def render(page: Page) -> str:
    """Render a page, with style, script and pictures in it."""
    scripts = ("elements.js", "leaderboard.js", "plots.js", *(["side_by_side.js"] if page.viewer else []))
    style = Markup(template("report.css") + "\n" + template("leaderboard.css"))
    script = Markup("\n".join(map(template, scripts)))
    numbers = [plot.svg.numbers for section in page.sections for plot in section.plots]
    return page_template("leaderboard.html.j2").render(
        **vars(page),
        style=style,
        script=script,
        data=as_script({"numbers": numbers, **page.viewer}),
        policy=policy(style, script),
        version=__version__,
    )
