"""Several budgets: a run for each, the larger one begun where the smaller ended, and AP against the budget.

A change within a small budget is within a larger one, too: what an attack found there is the least that it can do here.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from detattack.core.files import swept, write_text_atomic
from detattack.engine import Attack
from detattack.engine.budget import LABELS, UNITS, Budget
from detattack.report.measures import CHANGE
from detattack.report.robustness import CURVE
from detattack.runs.folder import SUMMARY
from detattack.runs.runner import Executor
from detattack.tasks.base import Task
from detattack.tasks.columns import Column, Curve, measure_columns
from detattack.tasks.experiment import Experiment
from detattack.workflows.compare import DPI, Reporting, check_folder, markdown_table, to_csv, to_latex
from detattack.workflows.evaluate import carried_out

Attacks = Mapping[str, Mapping[Budget, Attack]]
"""What is to be run: attacks by method and budget."""


@dataclass(frozen=True, eq=False)
class Robustness:
    """Finished budget runs. rows: one for each method and budget, in the columns of their table."""

    rows: Sequence[Mapping[str, Any]]
    columns: Sequence[Column]
    summaries: Sequence[Mapping[str, Any]]


def spend_budgets(
    experiment: Experiment[Any, Any, Any],
    attacks: Attacks,
    out: Path,
    resume: bool = False,
    retry_errors: bool = False,
    progress: Reporting | None = None,
    executor: Executor | None = None,
) -> Robustness:
    """Run or resume attacks with several budgets each, and write one table and one figure.

    Of one method the runs are in `out/BUDGET`, of several in `out/METHOD/BUDGET`. Raises `InputError`.
    """
    check_folder(out, resume, retry_errors)
    for by_budget in attacks.values():
        for attack in by_budget.values():
            experiment.with_attack(attack)  # raises for what is wrong with any, before the first is run
    rows, summaries = [], []
    notes = True
    for method, by_budget in attacks.items():
        start: Path | None = None
        for budget, attack in by_budget.items():
            folder = out / budget.folder if len(attacks) == 1 else out / method / budget.folder
            one = replace(experiment.with_attack(attack), start=start)
            told = partial(progress, str(folder.relative_to(out))) if progress else None
            with carried_out(one, folder, True, resume and retry_errors, told, executor, notes) as finished:
                summaries.append(finished.read_json(SUMMARY))
            rows.append(row_of(experiment, method, budget, summaries[-1]))
            start, notes = folder, False
    columns = columns_of(experiment.task, len(attacks))
    _write(out, rows, columns, experiment.task.curves)
    return Robustness(rows, columns, summaries)


def columns_of(task: Task[Any, Any, Any], methods: int) -> Sequence[Column]:
    """List the columns of the table."""
    return [
        *([Column("method", "method")] if methods > 1 else []),
        Column("budget", "budget"),
        Column("judged", "judged on"),
        *task.budget_columns,
        *measure_columns("mean", *CHANGE),
        Column("backwards", "backwards", ".1f"),
    ]


def row_of(
    experiment: Experiment[Any, Any, Any], method: str, budget: Budget, summary: Mapping[str, Any]
) -> dict[str, Any]:
    """Make a row of the table from the summary of a run."""
    change, own = summary["change"], {"broken": summary["success_rate"], **experiment.task.budget_row(summary)}
    return {
        "method": method,
        "budget": str(budget),
        "judged": "floats" if summary["floats"] else "8-bit files",
        **{column.key: own[column.key] for column in experiment.task.budget_columns},
        **{f"mean_{name}": change[name]["mean"] for name in CHANGE},
        "backwards": summary["passes"]["backwards"]["mean"],
    }


def _write(out: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], curves: Sequence[Curve]) -> None:
    with swept(out):
        write_text_atomic(out / CURVE, json.dumps({"budgets": rows}, indent=1, allow_nan=False) + "\n")
        shown = [{column.key: row[column.key] for column in columns} for row in rows]
        write_text_atomic(out / "robustness.csv", to_csv(shown, columns))
        write_text_atomic(out / "robustness.md", markdown_table(rows, columns))
        write_text_atomic(out / "robustness.tex", to_latex(rows, columns))
        drawn = next((curve for curve in curves if any(row[curve.key] is not None for row in rows)), None)
        if drawn:
            _write_figure(out, rows, drawn)


def _write_figure(out: Path, rows: Sequence[Mapping[str, Any]], curve: Curve) -> None:
    """Draw a curve against the budget, as PNG and PDF: no line claims what is between."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from detattack.report.sheet import save_figure

    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for method in dict.fromkeys(row["method"] for row in rows):
        of_method = [row for row in rows if row["method"] == method]
        sizes = [float(row["budget"].partition(":")[2]) for row in of_method]
        values = [math.nan if row[curve.key] is None else row[curve.key] for row in of_method]
        axes.plot(sizes, values, marker="o", markersize=4, drawstyle="steps-post", label=method)
    if curve.clean:
        axes.axhline(rows[0][curve.clean], color="gray", linestyle=":", linewidth=1, label="clean")
    norm = rows[0]["budget"].partition(":")[0]
    axes.set(xlabel=f"budget, {LABELS[norm]} ({UNITS[norm]})", ylabel=curve.label, xscale="log")
    axes.set_xticks(sorted({float(row["budget"].partition(":")[2]) for row in rows}))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set_ylim(0, None)
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    for kind in ("png", "pdf"):
        save_figure(figure, out / f"robustness.{kind}", DPI)
