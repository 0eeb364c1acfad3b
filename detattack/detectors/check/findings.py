"""The verdicts of `models check` on a property of an adapter."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The verdict on one property.

    - name: The property.
    - verdict: `passed`, `failed` or `not compared`.
    - detail: The figures behind the verdict, in one line.
    """

    name: str
    verdict: str
    detail: str

    @property
    def passed(self) -> bool:
        """Tell whether the property holds."""
        return self.verdict == "passed"


class Failed(Exception):
    """Raised for a property that does not hold."""

    verdict = "failed"


class NotCompared(Failed):
    """Raised where there are too few detections to judge a property by."""

    verdict = "not compared"
