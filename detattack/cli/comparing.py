"""What the commands that compare methods have in common, whatever the task."""

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
    from detattack.tasks.experiment import Experiment
    from detattack.workflows.compare import Comparison


def carried_out(
    experiment: "Experiment[Any, Any, Any]",
    attacks: "Mapping[str, Attack]",
    out: Path,
    workers: o.WorkerOptions,
    device: str,
    run: o.RunOptions,
) -> "Comparison":
    """Run or resume a comparison."""
    from detattack.cli.running import goes_on, progress_of, resumable, say_if_tuned_on
    from detattack.cli.scaling import executor_of, workers_of
    from detattack.workflows.compare import check_folder, compare

    pool = workers_of(workers, device)
    check_folder(out, run.resume, run.retry_errors)
    say_if_tuned_on(run.config, experiment.dataset)
    with executor_of(pool, experiment, run.quiet) as executor, resumable(goes_on(out)):
        told = partial(progress_of, run.quiet)
        return compare(experiment, attacks, out, run.resume, run.retry_errors, told, executor)


def print_comparison(
    experiment: "Experiment[Any, Any, Any]", out: Path, found: "Comparison", run: o.RunOptions, strict: bool
) -> None:
    """Print a finished comparison; status 1 where it is `strict` and an image ended in an error."""
    from detattack.cli.tables import print_rows, print_table, warn
    from detattack.cli.terminal import say, say_notes
    from detattack.workflows.compare import COMPARED, interval_text, label_of
    from detattack.workflows.evaluate import notes_of

    task, summaries = experiment.task, [method.summary for method in found.methods]
    warn(task, summaries[0])
    told = notes_of(experiment)  # before the first method
    notes = dict.fromkeys(note for summary in summaries for note in task.notes(summary))
    say_notes(note for note in notes if note not in told)
    if run.json:
        print(json_module.dumps({"run": str(out), "summary": found.content}, allow_nan=False))
    elif run.quiet:
        print(out, file=sys.stderr)
    else:
        paired = found.content["differences"]
        print_table(found.content["methods"], task.columns)
        if "skipped" in found.content:
            say(found.content["skipped"])
        if paired:
            first = found.content["first"]
            say(f"\nminus {first}, image by image, where both succeed (success: all), 95% CI by bootstrap")
            keys = ("success", *COMPARED)
            lines = [[name, *(interval_text(one[key]) for key in keys)] for name, one in paired.items()]
            print_rows(["", *map(label_of, keys)], lines)
        say(f"run folder: {out}")
    if strict and any(summary["error"] for summary in summaries):
        raise typer.Exit(FAILED)
