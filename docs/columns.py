"""Write the tables of docs/columns.md from the columns of the tasks: `python docs/columns.py`."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detattack.metrics.image_quality import MEASURES
from detattack.tasks.columns import IDENTITY, PASSES, RecordColumn, measure_column
from detattack.tasks.image_table import PANDAS
from detattack.tasks.registry import find_task

PAGE = Path(__file__).resolve().parent / "columns.md"
START, END = "<!-- written by docs/columns.py -->\n", "<!-- end -->\n"


def table(title: str, columns: Sequence[RecordColumn]) -> str:
    """Return a section with a row a column."""
    rows = [
        f"| `{one.key}` | {PANDAS[one.kind]} | {one.unit} | {one.text.replace('|', '/').rstrip('.')} |"
        for one in columns
    ]
    return "\n".join([f"## {title}", "", "| column | type | unit | what it is |", "|---|---|---|---|", *rows, ""])


def written(page: str) -> str:
    """Return the page with its tables."""
    sections = (
        table("Every task, first", IDENTITY),
        table("Detectors", find_task("detect").record_columns),
        table("Classifiers", find_task("classify").record_columns),
        table("Measures", [measure_column(name) for name in MEASURES]),
        table("Every task, last", PASSES),
    )
    before, _, after = page.partition(START)[0], None, page.partition(END)[2]
    return before + START + "\n" + "\n".join(sections) + END + after


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
