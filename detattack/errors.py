"""The one exception for anything the user can put right; the command line prints it as one line, exit status 2."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(Exception):
    """Bad input. The message names what is wrong and where, in one line."""


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """An `InputError` for a name that is not among `known`, with the nearest names suggested."""
    names = list(known)
    near = get_close_matches(name.lower(), [n.lower() for n in names], n=3, cutoff=0.5)
    close = [n for low in near for n in names if n.lower() == low]
    hint = f"did you mean {' or '.join(repr(n) for n in close)}?" if close else f"known: {_shortened(names)}"
    return InputError(f"unknown {kind} {name!r}: {hint}")


def _shortened(names: list[str], limit: int = 12) -> str:
    return ", ".join(names[:limit]) + (f", ... ({len(names)} in all)" if len(names) > limit else "")
