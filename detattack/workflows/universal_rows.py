"""The table of universal changes: judged images untouched, changed, and with noise, the same wherever it is shown."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from detattack.tasks.columns import number

HEADINGS = ("judged images", "AP", "AP50", "objects missed", "images broken")


@dataclass(frozen=True)
class Row:
    """What a model sees on the judged images.

    - judged: what is on them
    - ap, ap50: None: the images are not annotated
    - missed, broken: rates as `metrics.rates` makes them; None: the images are untouched
    """

    judged: str
    ap: float | None
    ap50: float | None
    missed: Mapping[str, Any] | None = None
    broken: Mapping[str, Any] | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The cells as values, by the names of the fields; of rates the share."""
        shares = {name: rate and rate["rate"] for name, rate in (("missed", self.missed), ("broken", self.broken))}
        return {"judged": self.judged, "ap": self.ap, "ap50": self.ap50, **shares}

    @property
    def texts(self) -> list[str]:
        """The cells as people read them; of rates the counts."""
        counts = [f"{one['successes']} of {one['trials']}" if one else "-" for one in (self.missed, self.broken)]
        return [self.judged, number(self.ap, ".3f"), number(self.ap50, ".3f"), *counts]


def rows_of(*results: Mapping[str, Any]) -> Iterator[Row]:
    """Make the rows of what `find` returned for changes that were judged on the same images; at least one.

    Of several changes each has noise of its own, which is named after it.
    """
    yield _row("untouched", results[0]["clean"])
    for result in results:
        name = result["change_is"]
        for judged, one in ((name, result["change"]), (f"noise, {name}" if results[1:] else "noise", result["noise"])):
            yield _row(judged, one["ap"], one["missed"], one["broken"])


def _row(judged: str, ap: Mapping[str, Any] | None, *rates: Mapping[str, Any]) -> Row:
    return Row(judged, *((ap["ap"], ap["ap50"]) if ap else (None, None)), *rates)
