"""The one exception for anything the user can fix; the command line prints it as one line and exits with status 2."""

from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

NEAR, SPREAD = 0.5, 0.25
"""Similarity (0 to 1) that a known name needs to be suggested, and how far below the best suggestion it may lie."""
SUGGESTED, SHOWN = 3, 20
"""How many similar names a message suggests, and how many known names it lists if they are more than twice as many."""


class InputError(Exception):
    """Bad input. The message says in one line what is wrong and where."""


class ImageError(InputError):
    """What is wrong with one image; the others of a data set go on without it."""


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Return an `InputError` for a name that is not in `known`, which suggests similar names.

    - kind: what the name stands for, e.g. `method`
    - name: as the user gave it
    - known: all valid names
    """
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


def kind_and_reason(error: BaseException) -> str:
    """Return the type and the reason of an error of someone else's code: `KeyError: 'a.png'`."""
    return f"{type(error).__name__}: {reason(error)}"


def first_error(error: "ValidationError") -> str:
    """Return the first error that pydantic found, as one line."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    got = repr(first["input"])
    return f"{where}: {first['msg'][0].lower()}{first['msg'][1:]} (got {got if len(got) <= 80 else got[:77] + '...'})"


def _likeness(name: str, known: str) -> float:
    """Return the similarity of two names from 0 (unlike) to 1: equal, but for prefixes (`hf/facebook/`) of `known`.

    A known name that begins alike scores nearly as high.
    """
    if not name:
        return 0.0
    tails = (known, known.partition("/")[2], known.rpartition("/")[2])
    return max(*(_ratio(name, tail) for tail in tails), 0.9 * _ratio(name, known[: len(name)]))


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()


def _shortened(names: list[str]) -> str:
    if len(names) <= 2 * SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:SHOWN])}, ... ({len(names)} in all)"
