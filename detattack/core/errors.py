"""The one exception for anything the user can put right; the command line prints it as one line, exit status 2."""

from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

NEAR, SPREAD = 0.5, 0.25
"""How alike a name and a known one must be for it to be suggested, and how much less alike than the nearest one it may
be; 1: equal."""
SUGGESTED, SHOWN = 3, 20
"""Names in a message: so many that are near, or so many of those that are known where they are more than twice that."""


class InputError(Exception):
    """Bad input. The message names what is wrong and where, in one line."""


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """An `InputError` for a name that is not among `known`, with the nearest names suggested."""
    names = list(known)
    near = {one: _likeness(name.lower(), one.lower()) for one in names}
    best = max(near.values(), default=0.0)
    least = max(NEAR, best if best == 1 else best - SPREAD)
    close = sorted((one for one in near if near[one] >= least), key=lambda one: -near[one])[:SUGGESTED]
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {_shortened(names) or 'none'}"
    return InputError(f"unknown {kind} {name!r}: {hint}")


def reason(error: BaseException, limit: int = 120) -> str:
    """Return the first line of an error's message, its type where it has none; at most `limit` characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:limit]


def first_error(error: "ValidationError") -> str:
    """What pydantic found first, in one line."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    got = repr(first["input"])
    return f"{where}: {first['msg'][0].lower()}{first['msg'][1:]} (got {got if len(got) <= 80 else got[:77] + '...'})"


def _likeness(name: str, known: str) -> float:
    """From 0, not alike, to 1: the name is the known one, or what follows its prefix (`torchvision/`). A known one that
    begins alike is nearly as near."""
    if not name:
        return 0.0
    return max(_ratio(name, known), _ratio(name, known.partition("/")[2]), 0.9 * _ratio(name, known[: len(name)]))


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()


def _shortened(names: list[str]) -> str:
    if len(names) <= 2 * SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:SHOWN])}, ... ({len(names)} in all)"
