"""What the commands that search hyper-parameters have in common, whatever the task."""

import json as json_module
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detattack.cli import names as n
from detattack.cli.status import INTERRUPTED

if TYPE_CHECKING:
    from detattack.cli.trial_progress import TrialProgress
    from detattack.datasets.base import Dataset
    from detattack.engine.presets import Attack
    from detattack.runs.record import BaseRecord
    from detattack.workflows.tune import Plan, Scores, Space
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
DECIDING = ("task", "config", "methods", "model", "data", "objective", "sampler", "grid_trials")
"""The keys of the manifest that a resumed search must share with the one it continues."""


@dataclass(frozen=True)
class Request:
    """A checked search: how, and which methods. presets: the methods of the task."""

    plan: "Plan"
    spaces: "Sequence[Space]"
    presets: "Mapping[str, Attack]"


@dataclass(frozen=True)
class Subject:
    """What is searched on. run_of: the run of an attack. model: its fingerprint. origin: where it comes from, by
    name, for people. dataset: its images."""

    record_type: "type[BaseRecord]"
    run_of: "Callable[[Attack], Any]"
    model: str
    device: str
    origin: Mapping[str, Any]
    dataset: "Dataset"


def make_request(
    given: Mapping[str, Any],
    presets: "Mapping[str, Attack]",
    attack_of: "Callable[[str, Mapping[str, str]], Attack]",
) -> Request:
    """The options of a search, checked before anything loads. attack_of: of a method and what `--set` changes of it.

    Raises `InputError`.
    """
    from detattack.cli.comparing import method_names, overrides_of
    from detattack.workflows.tune import make_plan, make_space, parse_also

    plan = make_plan(given["objective"], given["sampler"], given["trials"], given["seed"])
    names = method_names(given["methods"], presets)
    fixed = overrides_of(names, given["set"], presets)
    attacks = {name: attack_of(name, fixed[name]) for name in names}
    also = parse_also(given["also"], attacks.values())
    return Request(plan, [make_space(attacks[name], also, fixed[name]) for name in names], presets)


def tune_all(request: Request, subject: Subject, out: Path, resume: bool, quiet: bool) -> "list[Found]":
    """Searches all methods, or what is left of them, into a folder. Ctrl-C leaves with status 130 and says how to go
    on. Raises `InputError`."""
    from detattack.cli.terminal import say_notes
    from detattack.cli.trial_progress import TrialProgress
    from detattack.runs.folder import claimed
    from detattack.runs.runner import read_all
    from detattack.workflows.tune_output import write_all

    run = subject.run_of(request.spaces[0].attack)
    groups = read_all(run.batches(), subject.record_type)
    with claimed(out, _manifest(request, subject, run), resume, DECIDING):
        try:
            images = sum(map(len, groups))
            say_notes(run.dataset.notes)
            with TrialProgress(request.plan, len(request.spaces) * request.plan.trials, images, not quiet) as progress:
                methods = [_tune_one(space, request, subject, groups, out, progress) for space in request.spaces]
        except KeyboardInterrupt:
            print(f"detattack: interrupted; --out {out} --resume goes on", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        write_all(out, methods)
        return methods


def _tune_one(
    space: "Space", request: Request, subject: Subject, groups: list[Any], out: Path, progress: "TrialProgress"
) -> "Found":
    from detattack.runs.runner import attack_all
    from detattack.workflows.tune import scores_of, search
    from detattack.workflows.tune_output import make_found, write_best
    from detattack.workflows.tuned_on import tuned_on

    def evaluate(attack: "Attack") -> "Scores":
        return scores_of(progress.counted(attack_all(subject.run_of(attack), groups)))

    progress.start(space.attack.name)
    trials = search(space, request.plan, out, evaluate, progress.report)
    found = make_found(space, request.plan, trials, subject.origin, tuned_on(subject.dataset), request.presets)
    write_best(out, found)
    return found


def _manifest(request: Request, subject: Subject, run: Any) -> dict[str, Any]:
    from detattack.runs.manifest import make_manifest

    plan = request.plan
    config = run.config.model_dump(mode="json", exclude={"attack", "loss"}) | {"device": subject.device}
    return make_manifest(
        config,
        subject.model,
        run.dataset.fingerprint,
        task=f"tune {subject.record_type.task}",
        methods={space.attack.name: asdict(space) for space in request.spaces},
        objective=plan.objective.name,
        sampler=plan.sampler,
        grid_trials=plan.trials if plan.sampler == "grid" else None,
    )


def say(out: Path, methods: "Sequence[Found]", json: bool, quiet: bool) -> None:
    """Prints a finished search."""
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

    from detattack.cli.tables import number
    from detattack.cli.terminal import Terminal

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
