"""`detattack untargeted` and `detattack targeted`: the main job."""

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detattack.cli import names as n
from detattack.cli import options as o
from detattack.core.errors import InputError

if TYPE_CHECKING:
    from detattack.datasets.base import Sample
    from detattack.tasks.detection.goals import Goal
    from detattack.tasks.detection.task import Run

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
AtBox = Annotated[str | None, typer.Option("--box", help="x1,y1,x2,y2: only what is there.")]
IntoBox = Annotated[
    str | None,
    typer.Option(
        "--box",
        help="x1,y1,x2,y2, or center, random, road (scenes). Default: road on scenes, else center.",
        autocompletion=n.one_of(n.PLACES),
    ),
]


def untargeted(
    images: o.Images = None,
    suppress: Suppress = "car",
    box: AtBox = None,
    as_: As = None,
    model: o.Model = "demo",
    weights: o.Weights = None,
    categories: o.Categories = None,
    method: o.Method = "jnd",
    score_threshold: o.ScoreThreshold = 0.5,
    max_iterations: o.MaxIterations = None,
    floats: o.Floats = False,
    perceptual: o.Perceptual = False,
    seed: o.Seed = 0,
    scenes: o.Scenes = 6,
    device: o.Device = "auto",
    batch: o.Batch = 1,
    precision: o.Precision = "fp32",
    config: o.Config = None,
    set: o.Assignments = None,
    out: o.Out = None,
    resume: o.Resume = False,
    retry_errors: o.RetryErrors = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Make the detector no longer see what is there: a class, everything, or what is at a box."""
    given = locals()
    goal = _goal_text("mislabel" if as_ else "suppress", suppress, box, as_)
    _run("untargeted", goal, False, given)


def targeted(
    images: o.Images = None,
    add: Add = "car",
    box: IntoBox = None,
    keep_others: o.KeepOthers = False,
    model: o.Model = "demo",
    weights: o.Weights = None,
    categories: o.Categories = None,
    method: o.Method = "jnd",
    score_threshold: o.ScoreThreshold = 0.5,
    max_iterations: o.MaxIterations = None,
    floats: o.Floats = False,
    perceptual: o.Perceptual = False,
    seed: o.Seed = 0,
    scenes: o.Scenes = 6,
    device: o.Device = "auto",
    batch: o.Batch = 1,
    precision: o.Precision = "fp32",
    config: o.Config = None,
    set: o.Assignments = None,
    out: o.Out = None,
    resume: o.Resume = False,
    retry_errors: o.RetryErrors = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Make the detector see an object that is not there, at a box."""
    given = locals()
    if images and box == "road":
        raise InputError("--box road: where the road is free is known of rendered scenes only, not of image files")
    place = ("center" if images else "road") if box is None else box
    goal = _goal_text("inject", add, place, None)
    _run("targeted", goal, keep_others, given)


def _goal_text(kind: str, category: str, place: str | None, new_category: str | None) -> str:
    at = "" if place is None else f"@{place}"
    to = f"->{new_category}" if new_category else ""
    return f"{kind}:{category}{at}{to}"


def _run(command: str, goal: str, keep_others: bool, given: dict[str, Any]) -> None:
    from detattack.cli.running import carried_out, folder_of
    from detattack.cli.tables import print_json, print_table, skipped_lines

    out = folder_of(given["out"], given["resume"], command)
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        run = _make_run(goal, keep_others, given)
        with carried_out(run, out, given["resume"], given["quiet"], retry_errors=given["retry_errors"]) as folder:
            records, summary = folder.records(), folder.read_json("summary.json")
    if given["json"]:
        print_json(out, records, summary)
    elif not given["quiet"]:
        print_table(out, records, summary, skipped_lines(records, run.detector, run.config.score_threshold))
    else:
        print(out, file=sys.stderr)


def _make_run(goal: str, keep_others: bool, given: dict[str, Any]) -> "Run":
    """Everything is resolved and checked before the first file is written."""
    from detattack.cli.running import config_of, say_if_tuned_on
    from detattack.datasets.base import image_files
    from detattack.datasets.rendered import rendered_scenes
    from detattack.detectors.registry import load_detector
    from detattack.tasks.detection.goals import parse_goal
    from detattack.tasks.detection.task import Run

    parsed = parse_goal(goal)
    config = config_of(given, parsed, keep_others)
    if given["images"]:
        dataset = image_files(given["images"])
    else:
        dataset = rendered_scenes(given["scenes"], given["seed"], parsed.suits)
    detector = load_detector(config.model, config.device, config.weights, config.categories)
    parsed.check(detector.categories)
    for sample in dataset.samples:
        _check_place(parsed, sample)
    say_if_tuned_on(given["config"], dataset)
    return Run(detector, config, dataset, figures=True)


def _check_place(goal: "Goal", sample: "Sample") -> None:
    try:
        goal.check_size(*sample.size)
    except InputError as error:
        raise InputError(f"{sample.source}: {error}") from error
