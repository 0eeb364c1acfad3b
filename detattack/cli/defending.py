"""`detattack evaluate --defense`: what a defense is worth."""

import json as json_module
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from detattack.cli import options as o
from detattack.cli.status import FAILED
from detattack.core.errors import InputError

if TYPE_CHECKING:
    from detattack.runs.ray_workers import Workers
    from detattack.tasks.experiment import Experiment
    from detattack.workflows.defense import Weighed


def check_defense(
    task: str, model: o.AttackedOptions, shard: str | None, transfer_to: str | None, survive: str | None, budgets: int
) -> None:
    """Raise `InputError` for what does not go with `--defense`."""
    if task != "detect":
        raise InputError(f"--defense: is for detectors, not for task {task}")
    others = {
        "--through-models": model.through_models,
        "--shard": shard,
        "--transfer-to": transfer_to,
        "--survive": survive,
        "several budgets": budgets > 1,
    }
    named = next((name for name, value in others.items() if value), None)
    if named:
        raise InputError(f"--defense and {named} exclude each other")


def weigh_defense(
    plain: "Experiment[Any, Any, Any]",
    defended: "Experiment[Any, Any, Any]",
    out: Path,
    pool: "Workers | None",
    run: o.RunOptions,
) -> "Weighed":
    """Run or resume the attacks with and without knowledge of a defense."""
    from detattack.cli.running import goes_on, progress_of, resumable
    from detattack.cli.scaling import executor_of
    from detattack.engine.budget import budget_of
    from detattack.workflows.defense import weigh

    told = partial(progress_of, run.quiet, spends=budget_of(plain.config.attack) is not None)
    with resumable(goes_on(out)):
        return weigh(
            plain,
            defended,
            out,
            run.resume,
            run.retry_errors,
            told,
            lambda experiment: executor_of(pool, experiment, run.quiet),
        )


def print_defense(out: Path, found: "Weighed", run: o.RunOptions, strict: bool) -> None:
    """Print the table; status 1 where it is `strict` and an image ended in an error."""
    from detattack.cli.tables import print_table
    from detattack.workflows.defense import COUNTED, shown_columns

    if run.json:
        print(json_module.dumps({"run": str(out), "defense": found.rows}, allow_nan=False))
    elif run.quiet:
        print(out, file=sys.stderr)
    else:
        print_table(found.rows, shown_columns(found.rows))
        print(COUNTED)
        print(f"run folders: {out}")
    if strict and any(summary["error"] for summary in found.summaries):
        raise typer.Exit(FAILED)
