"""The numbers behind a figure, as files beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detattack.core.files import write_text_atomic
from detattack.tasks.columns import Column
from detattack.workflows.compare import markdown_table, to_csv


def write_facts(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    heading: Sequence[str],
    made: Mapping[str, Any],
    markdown: tuple[Sequence[Mapping[str, Any]], Sequence[Column]] | None = None,
    below: Sequence[str] = (),
) -> dict[str, Any]:
    """Write `path` with .csv, .md and .json; return what the JSON holds.

    - rows, columns: of the table
    - heading, below: paragraphs around the table
    - made: what the JSON says of how it was made
    - markdown: the rows and columns for people, where they are others than those of the CSV
    """
    content = {"rows": list(rows), **made}
    table = markdown_table(*(markdown or (rows, columns)))
    for suffix, text in (
        ("csv", to_csv(rows, columns)),
        ("md", "\n\n".join([*heading, table.rstrip(), *below]) + "\n"),
        ("json", json.dumps(content, indent=1, allow_nan=False) + "\n"),
    ):
        write_text_atomic(path.with_suffix(f".{suffix}"), text)
    return content
