"""What `evaluate` and `compare` have in common where budgets are spent."""

import json as json_module
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from detattack.cli import options as o
from detattack.cli.status import FAILED

if TYPE_CHECKING:
    from detattack.engine import Attack
    from detattack.engine.budget import Budget
    from detattack.runs.ray_workers import Workers
    from detattack.tasks.experiment import Experiment
    from detattack.workflows.budgets import Robustness


def spend(
    experiment: "Experiment[Any, Any, Any]",
    attacks: "Mapping[str, Mapping[Budget, Attack]]",
    out: Path,
    pool: "Workers | None",
    run: o.RunOptions,
) -> "Robustness":
    """Run or resume attacks with several budgets each."""
    from detattack.cli.running import goes_on, progress_of, resumable
    from detattack.cli.scaling import executor_of
    from detattack.cli.terminal import say
    from detattack.workflows.budgets import spend_budgets
    from detattack.workflows.compare import check_folder

    check_folder(out, run.resume, run.retry_errors)
    small = {str(one) for by_budget in attacks.values() for one, attack in by_budget.items() if attack.levels is None}
    if small and not all(attack.levels is None for by_budget in attacks.values() for attack in by_budget.values()):
        say(f"NOTE: {', '.join(sorted(small))}: below one gray level, judged on floats", file=sys.stderr)
    with executor_of(pool, experiment, run.quiet) as executor, resumable(goes_on(out)):
        told = partial(progress_of, run.quiet, spends=True)
        return spend_budgets(experiment, attacks, out, run.resume, run.retry_errors, told, executor)


def print_robustness(out: Path, found: "Robustness", run: o.RunOptions, strict: bool) -> None:
    """Print finished budget runs; status 1 where it is `strict` and an image ended in an error."""
    from detattack.cli.tables import print_table
    from detattack.cli.terminal import say

    if run.json:
        content = {"run": str(out), "summary": {"budgets": found.rows}}
        print(json_module.dumps(content, allow_nan=False))
    elif run.quiet:
        print(out, file=sys.stderr)
    else:
        print_table(found.rows, found.columns)
        say(f"run folder: {out}")
    if strict and any(summary["error"] for summary in found.summaries):
        raise typer.Exit(FAILED)
