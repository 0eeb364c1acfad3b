"""What a defense is worth: a model attacked without knowing it and through it, both judged behind it, in one table."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from detattack.core.files import swept, write_text_atomic
from detattack.datasets.corruptions import UNCORRUPTED
from detattack.detectors.defended import UNSEEN, Defended
from detattack.runs.folder import SUMMARY, RunFolder
from detattack.runs.runner import Executor
from detattack.tasks.columns import Column
from detattack.tasks.detection.task import DETECTION
from detattack.tasks.experiment import Experiment
from detattack.workflows.compare import Reporting, check_folder, markdown_table
from detattack.workflows.evaluate import carried_out
from detattack.workflows.transfer import Transfer, transfer

UNDEFENDED, ADAPTIVE = "undefended", "adaptive"
"""Folders of the two runs."""
TABLE, MARKDOWN = "defense.json", "defense.md"
UNSEEN_DRAWS = 8
"""Draws of a random defense that no attack saw, by which the files are judged again."""
Executors = Callable[[Experiment[Any, Any, Any]], AbstractContextManager[Executor | None]]
COUNTED = (
    "non-adaptive: of the undefended successes, without those for which the goal holds behind the defense untouched; "
    "AP over the attacked images alone"
)
"""What the row of the files behind the defense counts, other than the rows of the two runs."""
COLUMNS = (
    Column("attack", "attack"),
    Column("judge", "judged by"),
    Column("successes", "success"),
    Column("success", "rate", ".0%"),
    Column("unseen", "at unseen draws", ".0%"),
    Column("l2", "median L2", ".2f"),
    Column("ap_clean", "AP clean", ".3f"),
    Column("ap_attacked", "AP attacked", ".3f"),
)


@dataclass(frozen=True, eq=False)
class Weighed:
    """What a defense is worth. rows: of the table, in its columns; summaries: of both runs."""

    rows: Sequence[Mapping[str, Any]]
    summaries: Sequence[Mapping[str, Any]]


def weigh(
    plain: Experiment[Any, Any, Any],
    defended: Experiment[Any, Any, Any],
    out: Path,
    resume: bool = False,
    retry_errors: bool = False,
    progress: Reporting | None = None,
    executors: Executors = lambda experiment: nullcontext(),
) -> Weighed:
    """Run or resume both attacks, judge the files of both behind the defense, and write one table.

    - plain, defended: the same of a model and of that model behind the defense
    - executors: starts who attacks, for each of the two

    Raises `InputError`.
    """
    check_folder(out, resume, retry_errors)
    summaries = {}
    for name, one in ((UNDEFENDED, plain), (ADAPTIVE, defended)):
        told = partial(progress, name) if progress else None
        with (
            executors(one) as executor,
            carried_out(one, out / name, True, resume and retry_errors, told, executor) as folder,
        ):
            summaries[name] = folder.read_json(SUMMARY)
    guard: Defended = defended.model
    rows = [
        _own_row("undefended", plain.model.name, summaries[UNDEFENDED]),
        _judged_row("non-adaptive", guard, out / UNDEFENDED, summaries[UNDEFENDED]),
        {**_own_row("adaptive", guard.name, summaries[ADAPTIVE]), "unseen": at_unseen(guard, out / ADAPTIVE)},
    ]
    with swept(out):
        write_text_atomic(out / TABLE, json.dumps({"defense": rows}, indent=1, allow_nan=False) + "\n")
        write_text_atomic(out / MARKDOWN, f"{markdown_table(rows, shown_columns(rows))}\n{COUNTED}\n")
    return Weighed(rows, tuple(summaries.values()))


def shown_columns(rows: Sequence[Mapping[str, Any]]) -> Sequence[Column]:
    """List the columns of the table: those without a value in any row are left out."""
    return [column for column in COLUMNS if any(row[column.key] is not None for row in rows)]


def _own_row(name: str, judge: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Make the row of a run as its own model judged it."""
    attacked, own = summary["attacked"], DETECTION.comparison_row(summary)
    return {
        "attack": name,
        "judge": judge,
        "successes": f"{summary['success']} of {attacked}",
        "success": summary["success"] / attacked if attacked else None,
        "unseen": None,
        "l2": summary["median_l2"],
        "ap_clean": own["ap_clean"],
        "ap_attacked": own["ap_adversarial"],
    }


def _judged_row(name: str, guard: Defended, run: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Make the row of a run whose files the defended model judges."""
    judged = _transferred(guard, run)
    ap = judged.ap or {"clean": {"ap": None}, "adversarial": {"ap": None}}
    return {
        "attack": name,
        "judge": guard.name,
        "successes": f"{judged.success['successes']} of {judged.success['trials']}",
        "success": judged.success["rate"],
        "unseen": at_unseen(guard, run),
        "l2": summary["median_l2"],
        "ap_clean": ap["clean"]["ap"],
        "ap_attacked": ap["adversarial"]["ap"],
    }


def at_unseen(guard: Defended, run: Path) -> float | None:
    """Judge a run's successes at draws that no attack saw, one by one: the mean rate; None where nothing is random."""
    if not guard.defense.random:
        return None
    rates = [_transferred(guard.drawn(UNSEEN + i), run).success["rate"] for i in range(UNSEEN_DRAWS)]
    known = [one for one in rates if one is not None]
    return fmean(known) if known else None


def _transferred(guard: Defended, run: Path) -> Transfer:
    with closing(RunFolder.open(run, DETECTION.record_type)) as folder:
        return transfer(DETECTION, folder, guard, UNCORRUPTED)
