"""`detattack untargeted` and `detattack targeted`: the main job."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detattack.cli import names as n
from detattack.cli import options as o
from detattack.cli.groups import with_groups
from detattack.cli.running import given
from detattack.core.errors import InputError

if TYPE_CHECKING:
    from detattack.datasets.base import Sample
    from detattack.engine.budget import Budget

Suppress = Annotated[
    str,
    typer.Option(help="The class that is to vanish, or `all`.", autocompletion=n.one_of(["all", *n.STREET_CLASSES])),
]
As = Annotated[
    str | None,
    typer.Option(
        "--as", help="The class that it should be taken for instead.", autocompletion=n.one_of(n.STREET_CLASSES)
    ),
]
Add = Annotated[
    str,
    typer.Option(help="The class that is to appear.", show_default=False, autocompletion=n.one_of(n.STREET_CLASSES)),
]
Degrade = Annotated[
    bool, typer.Option("--degrade", help="Every object is to be missed or taken for something else: degrade:all.")
]
AtBox = Annotated[str | None, typer.Option("--box", help="x1,y1,x2,y2: only what is there.")]
IntoBox = Annotated[
    str | None,
    typer.Option(
        "--box",
        help="x1,y1,x2,y2, or center, random, road (scenes). Default: road on scenes, else center.",
        autocompletion=n.one_of(n.PLACES),
    ),
]


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Single images, and how they are judged."""

    method: o.Method = "jnd"
    score_threshold: o.ScoreThreshold = o.DEFAULT_SCORE_THRESHOLD
    scenes: o.Scenes = 6
    batch: o.Batch = 1


@with_groups
def untargeted(
    shared: ImageOptions,
    model: o.AttackedOptions,
    attack: o.AttackOptions,
    run: o.RunOptions,
    spent: o.BudgetOptions,
    context: typer.Context,
    images: o.Images = None,
    suppress: Suppress = "car",
    degrade: Degrade = False,
    loss: o.Loss = None,
    reference: o.Reference = None,
    box: AtBox = None,
    as_: As = None,
) -> None:
    """Make the detector no longer see what is there: a class, everything, or what is at a box."""
    goal = _goal_text("mislabel" if as_ else "suppress", suppress, box, as_)
    if degrade:
        named = given(context, "suppress") or given(context, "box") or given(context, "as_")
        o.check_exclusive(**{"--degrade": True, "--suppress, --box and --as": named})
        goal = "degrade:all"
    options = {"keep_others": False, "loss": loss, "reference": reference}
    _run("untargeted", goal, options, images, shared, model, attack, run, spent)


@with_groups
def targeted(
    shared: ImageOptions,
    model: o.AttackedOptions,
    attack: o.AttackOptions,
    run: o.RunOptions,
    spent: o.BudgetOptions,
    images: o.Images = None,
    add: Add = "car",
    box: IntoBox = None,
    keep_others: o.KeepOthers = False,
) -> None:
    """Make the detector see an object that is not there, at a box."""
    if images and box == "road":
        raise InputError("--box road: where the road is free is known of rendered scenes only, not of image files")
    place = ("center" if images else "road") if box is None else box
    _run(
        "targeted",
        _goal_text("inject", add, place, None),
        {"keep_others": keep_others},
        images,
        shared,
        model,
        attack,
        run,
        spent,
    )


def _goal_text(kind: str, category: str, place: str | None, new_category: str | None) -> str:
    at = "" if place is None else f"@{place}"
    to = f"->{new_category}" if new_category else ""
    return f"{kind}:{category}{at}{to}"


def _run(
    command: str,
    goal: str,
    options: Mapping[str, Any],
    images: list[Path] | None,
    shared: ImageOptions,
    model: o.AttackedOptions,
    attack: o.AttackOptions,
    run: o.RunOptions,
    spent: o.BudgetOptions,
) -> None:
    from detattack.cli.running import goes_on, print_attacks, progress_of, resumable, say_if_tuned_on
    from detattack.datasets.source import DatasetSource
    from detattack.engine.budget import budget_of
    from detattack.tasks.detection.goals import parse_goal
    from detattack.tasks.detection.task import DETECTION
    from detattack.workflows.evaluate import carried_out, make_experiment

    files = tuple(map(str, images or ()))
    source = DatasetSource(files=files) if files else DatasetSource(scenes=shared.scenes, seed=attack.seed)
    values = {
        **model.values(),
        "goal": str(parse_goal(goal)),
        **options,
        "score_threshold": shared.score_threshold,
        **attack.values,
    }
    out = run.folder(command)
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        budget = _one_budget(spent, attack.floats)
        settings = replace(attack.settings(spent.passes), budget=budget)
        chosen = settings.attack(DETECTION, shared.method)
        experiment = make_experiment(DETECTION, values, chosen, source, shared.batch, figures=True)
        experiment = experiment.with_attack(settings.on(experiment).attack(DETECTION, shared.method))
        _check_size(goal, attack.within, experiment.dataset.samples)
        say_if_tuned_on(run.config, experiment.dataset)
        told = partial(progress_of, run.quiet, spends=budget_of(chosen) is not None)
        with (
            resumable(goes_on(out)),
            carried_out(experiment, out, run.resume, run.retry_errors, told),
        ):
            pass
    print_attacks(DETECTION, out, run.json, run.quiet)


def _one_budget(spent: o.BudgetOptions, floats: bool) -> "Budget | None":
    """Parse the budget of single images. Raises `InputError` for several."""
    budgets = spent.budgets(floats)
    if len(budgets) > 1:
        raise InputError(f"--budget {spent.budget}: several budgets go with evaluate and compare")
    return budgets[0] if budgets else None


def _check_size(goal: str, within: str | None, samples: "Sequence[Sample]") -> None:
    """Raise `InputError` where the goal's box is not inside an image, or what may change does not fit it."""
    from detattack.tasks.detection.goals import parse_goal
    from detattack.tasks.within import parse_within

    place = None if within is None else parse_within(within)
    for sample in samples:
        try:
            parse_goal(goal).check_size(*sample.size)
            if place is not None and not place.of_objects:
                place.mask(sample.size, ())
        except InputError as error:
            raise InputError(f"{sample.source}: {error}") from error
