"""Counts as people write them: `1 image`, `2 images`."""


def counted(count: int, one: str, several: str = "") -> str:
    """Write a count with its noun.

    - count: a whole number
    - one: the noun of one
    - several: that of all other counts; empty: the regular plural of `one`
    """
    return f"{count} {worded(count, one, several)}"


def worded(count: int, one: str, several: str = "") -> str:
    """Choose the word that goes with a count, without the count: all as of `counted`."""
    return one if count == 1 else several or _plural(one)


def _plural(noun: str) -> str:
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"
