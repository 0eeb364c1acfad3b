"""Verdicts on a property of an adapter, as `models check` gives them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What is checked, `passed`, `failed` or `not compared`, and the figures behind it."""

    name: str
    verdict: str
    detail: str

    @property
    def passed(self) -> bool:
        return self.verdict == "passed"


class Failed(Exception):
    """A property that does not hold."""

    verdict = "failed"


class NotCompared(Failed):
    """Too little to judge by."""

    verdict = "not compared"
