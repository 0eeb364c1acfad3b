"""What the commands that search hyper-parameters have in common, whatever the task."""

import json as json_module
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detattack.cli import names as n
from detattack.cli import options as o

if TYPE_CHECKING:
    from detattack.cli.trial_progress import TrialProgress
    from detattack.engine import Attack
    from detattack.tasks.base import Task
    from detattack.tasks.experiment import Experiment
    from detattack.workflows.evaluate import Settings
    from detattack.workflows.search import Plan
    from detattack.workflows.tune_output import Found

Methods = Annotated[
    str,
    typer.Option(
        "--method",
        "--methods",
        help="Methods with commas between; each is given the same number of trials.",
        autocompletion=n.some_of(n.METHODS),
    ),
]
Objective = Annotated[
    str,
    typer.Option(
        help="l2: smallest mean L2 at full success; paper: largest mean PSNR·SSIM/iterations.",
        autocompletion=n.one_of(["l2", "paper"]),
    ),
]
Sampler = Annotated[
    str,
    typer.Option(help="tpe, or grid, whose fineness is that of --trials.", autocompletion=n.one_of(["tpe", "grid"])),
]
Trials = Annotated[int, typer.Option(help="Settings that are tried, a method.")]
Also = Annotated[
    str,
    typer.Option(
        help="Search these too, with commas between: loss_weight, radius. What --set names is fixed.",
        autocompletion=n.some_of(["loss_weight", "radius"]),
    ),
]
Out = Annotated[Path | None, typer.Option(help="The folder of the search. Default: a new one in runs/.")]
Floats = Annotated[bool, typer.Option("--float", help="Judge floats instead of 8-bit images.")]


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How settings are searched."""

    methods: Methods = "jnd,baseline,fgsm,fgv"
    objective: Objective = "l2"
    sampler: Sampler = "tpe"
    trials: Trials = 40
    also: Also = ""
    max_iterations: o.MaxIterations = None
    floats: Floats = False
    precision: o.Precision = "fp32"
    set: o.Assignments = None


@dataclass(frozen=True, kw_only=True)
class SearchRunOptions(o.ResumableOptions):
    """Where the search is kept, and what is printed."""

    out: Out = None


def carried_out(
    task: "Task[Any, Any, Any]",
    search: SearchOptions,
    run: SearchRunOptions,
    out: Path,
    seed: int,
    settings: "Settings",
    experiment_of: "Callable[[Attack], Experiment[Any, Any, Any]]",
    origin: Mapping[str, Any],
) -> "list[Found]":
    """Search the methods, or what is left of them.

    - experiment_of: loads model and images, given the attack of the first method
    - origin: where they come from, by name, for people who read the configs
    """
    from detattack.cli.running import goes_on, resumable
    from detattack.workflows.evaluate import method_names, overrides_of
    from detattack.workflows.search import make_plan
    from detattack.workflows.tune import make_request, tune

    plan = make_plan(search.objective, search.sampler, search.trials, seed)
    names = method_names(search.methods, task.methods)
    attacks = settings.attacks(task, names)
    request = make_request(plan, attacks, overrides_of(names, search.set or (), task.methods), search.also)
    experiment = experiment_of(attacks[names[0]])

    @contextmanager
    def progress(plan: "Plan", trials: int, images: int) -> "Iterator[TrialProgress]":
        from detattack.cli.trial_progress import TrialProgress

        with TrialProgress(plan, trials, images, not run.quiet) as told:
            yield told

    with resumable(goes_on(out)):
        return tune(experiment, request, out, {**origin, "data": experiment.dataset.fingerprint}, run.resume, progress)


def say(out: Path, methods: "Sequence[Found]", json: bool, quiet: bool) -> None:
    """Print a finished search."""
    if json:
        summary = {
            "objective": methods[0].plan.objective.name,
            "methods": {found.name: found.as_json() for found in methods},
        }
        print(json_module.dumps({"run": str(out), "summary": summary}, allow_nan=False))
    elif quiet:
        print(out, file=sys.stderr)
    else:
        _print_table(out, methods)


def _print_table(out: Path, methods: "Sequence[Found]") -> None:
    from rich.table import Table
    from rich.text import Text

    from detattack.cli.terminal import Terminal
    from detattack.tasks.columns import number

    console = Terminal()
    table = Table(title=f"best by {methods[0].plan.objective.text}", title_justify="left", box=None)
    for name in ("method", "trial", "success", "L2", "K", "PSNR·SSIM/K"):
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    table.add_column("settings", overflow="fold")
    for found in methods:
        best, scores = found.best, found.best.scores
        texts = [f"{best.number}/{len(found.trials)}", f"{scores.success_rate:.1%}", number(scores.l2, ".4f")]
        texts += [number(scores.k, ".1f"), f"{scores.paper:.3f}"]
        settings = ", ".join(f"{name} {value:g}" for name, value in best.values.items())
        table.add_row(found.name, *texts, Text(settings))
    console.print(table)
    console.print(f"folder: {out}", markup=False, highlight=False, soft_wrap=True)
