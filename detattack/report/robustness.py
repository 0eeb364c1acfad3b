"""What lies beside a run that is one of several budgets: the others, as `robustness.json` tells them.

The file is not part of the run, and may come from anybody. One that does not fit the run, or is damaged, counts as
none: it must not stop the page of a sound run.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, Field

from detattack.core.errors import InputError
from detattack.engine.budget import Budget, parse_budgets

CURVE = "robustness.json"
"""What a folder holds that has a run for each of several budgets."""
MOST_BYTES = 1_000_000
MOST_ROWS = 200


@dataclass(frozen=True)
class Robustness:
    """AP clean, and under each budget, the smallest first."""

    clean: float
    ap: dict[Budget, float]


class _Row(BaseModel):
    method: str = ""
    budget: str
    ap_clean: float = Field(ge=0, le=1)
    ap: float = Field(ge=0, le=1)


class _Curve(BaseModel):
    budgets: list[_Row] = Field(max_length=MOST_ROWS)


def robustness_beside(path: Path, budget: Budget | None) -> Robustness | None:
    """Read the AP of the runs of the same method with other budgets; None where a run is alone, or has no AP.

    - path: the run's folder, `OUT/BUDGET` or `OUT/METHOD/BUDGET`
    - budget: the run's own
    """
    here = path.resolve()
    if budget is None or here.name != budget.folder:
        return None
    beside = _rows(here.parent / CURVE)
    rows = beside or [row for row in _rows(here.parent.parent / CURVE) if row.method == here.parent.name]
    try:
        found = {one: row for row in rows for (one,) in [parse_budgets(row.budget)]}
    except (InputError, ValueError):  # a row that names several
        return None
    if budget not in found or len(found) < 2 or len(found) != len(rows) or len({one.norm for one in found}) > 1:
        return None
    ordered = sorted(found, key=lambda one: one.size)
    return Robustness(found[budget].ap_clean, {one: found[one].ap for one in ordered})


def _rows(file: Path) -> list[_Row]:
    try:
        if not file.is_file() or file.stat().st_size > MOST_BYTES:
            return []
        return _Curve.model_validate_json(file.read_bytes()).budgets
    except (OSError, ValueError):  # pydantic's errors are ValueErrors
        return []
