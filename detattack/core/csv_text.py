"""Tables as CSV."""

import csv
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

END = "\r\n"


def csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    r"""Write rows as CSV that end in `\n`. A value with `\r` or `\n` in it, as names of files may have, is quoted."""
    lines: list[str] = []
    # the writer quotes the characters that rows end in, and of the two, before Python 3.13, those alone
    csv.writer(SimpleNamespace(write=lines.append), lineterminator=END).writerows(rows)
    return "".join(f"{line.removesuffix(END)}\n" for line in lines)
