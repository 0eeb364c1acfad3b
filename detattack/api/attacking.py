"""Attack images of any kind without a run folder, or a data set into one."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ParamSpec, TypeVar

import numpy as np

from detattack.api.asked import Asked, asked_of, goal_of, path_of, task_of
from detattack.api.callbacks import Callback, checked, telling
from detattack.api.images import Taken, open_data, taken
from detattack.api.results import Attacked, Run
from detattack.core.errors import InputError
from detattack.core.types import DEFAULT_SCORE_THRESHOLD
from detattack.datasets.scenes import Scene
from detattack.detectors.base import Detector
from detattack.detectors.registry import load_detector
from detattack.engine import Attack
from detattack.engine.budget import Budget, budget_of
from detattack.runs.record import Outcome
from detattack.runs.runner import attack_all, read_all
from detattack.tasks.columns import record_columns
from detattack.tasks.detection.goals import Goal
from detattack.tasks.detection.record import DetectionRecord
from detattack.tasks.detection.task import DETECTION
from detattack.tasks.experiment import Experiment
from detattack.tasks.summary import common_summary, question
from detattack.workflows.evaluate import carried_out

P = ParamSpec("P")
T = TypeVar("T")


def formerly(**names: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a function so that it still takes the old names of parameters. names: the new ones, by the old."""

    def renamed(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def call(*args: P.args, **given: P.kwargs) -> T:
            known: Any = {names.get(name, name): value for name, value in given.items()}
            return function(*args, **known)

        return call

    return renamed


@formerly(image="images", detector="model")
def attack(
    images: Any,
    model: Any,
    goal: str | Goal | None = None,
    method: str | Attack = "jnd",
    *,
    budget: str | Budget | None = None,
    task: str | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
    **options: Any,
) -> Any:
    """Attack one image or many, and judge each result from the bytes of its PNG.

    - images: one image or a batch of arrays or tensors (`[H,W,3]`, `[3,H,W]`, `[N,H,W,3]`, `[N,3,H,W]`; uint8, or float
      in [0,1], which is rounded to 8 bits), a Pillow image, a path, a rendered scene, of which `inject:car@road` knows
      the road; or a list of such, a torch data set, a loader, a folder, what `open_data` returns
    - model: a `Detector`, a `Classifier`, or the name of one, as `load_detector` takes it
    - goal: of detectors a goal, `suppress:car` unless said; of classifiers the class that images are to be taken for,
      None: any wrong one
    - method: a name, or an `Attack`
    - budget: such as `linf:2`: all of it is spent, and the worst image is kept; None: a success is looked for
    - task: `classify` where `model` names a classifier; None: as the model is
    - callbacks: told of each iteration and image, and of the result
    - progress: whether a bar is shown
    - options: of detectors `keep_others`, `score_threshold`, `max_detections`, `loss`, `reference`; of all `robust_to`
      (corruptions after which the goal has to hold, too, such as `jpeg:75,resize:0.5`), `within` (the pixels that may
      change, such as `box`), `seed`, `batch`, `precision`; of named models `weights`, `categories`, `prompt`,
      `preprocess`, `device`; and fields of `Attack`, e.g. `step_size=0.2`, `levels=None` (floats)

    Returns an `Attacked`, whose `images` are of the kind that was given: a batch of tensors for a batch of tensors. For
    a single uint8 array `[H,W,3]` and for a scene it returns the `Outcome`: `record` tells status, K, distances and
    detections, `pixels` is the adversarial image.

    Raises `InputError` for bad input, and of a single image whatever the model raises. Of many, an error of the model
    costs its image: its record has the status `error`.
    """
    callbacks = checked(callbacks)
    asked = asked_of(model, goal, method, budget, task, options, otherwise="suppress:car")
    given = taken(images, asked.config.seed)
    experiment = asked.of(given.dataset)
    with telling(callbacks, progress, spends=budget_of(asked.config.attack) is not None) as told:
        outcomes: list[Outcome[Any]] = []
        many = attack_all(experiment, read_all(experiment.batches(), experiment.record_type))
        for outcome in [_one(experiment)] if given.single else many:
            outcomes.append(outcome)
            told.report(outcome, len(outcomes), len(given.dataset.samples))
    result = _result(images, asked, given, sorted(outcomes, key=lambda outcome: outcome.record.id))
    for callback in callbacks:
        callback.on_run(result)
    return result


@formerly(data="images", detector="model")
def evaluate(
    images: Any,
    model: Any,
    goal: str | Goal | None = None,
    method: str | Attack = "jnd",
    *,
    out: str | os.PathLike[str] | None = None,
    budget: str | Budget | None = None,
    task: str | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
    **options: Any,
) -> Run:
    """Attack a data set into a run folder: success, distances, cost, and AP where it is annotated.

    - images: what `open_data` returns or takes without options
    - goal: of detectors `suppress:all` unless said
    - out: the run folder, new; None: a temporary one, which is removed with the object that is returned

    All else as of `attack`. Returns a `Run`: a mapping of what `summary.json` holds. An error of the model costs its
    image. Raises `InputError`.
    """
    callbacks = checked(callbacks)
    asked = asked_of(model, goal, method, budget, task, options)
    experiment = asked.of(open_data(images))
    with folder_of(out) as (path, held):
        told = partial(telling, callbacks, progress, spends=budget_of(asked.config.attack) is not None)
        with carried_out(experiment, path, progress=told):
            pass
        run = Run(path, asked.model, held)
    for callback in callbacks:
        callback.on_run(run)
    return run


@contextmanager
def folder_of(out: str | os.PathLike[str] | None) -> Iterator[tuple[Path, TemporaryDirectory[str] | None]]:
    """Yield the folder of a result, and what removes it where it is temporary. Raises `InputError`."""
    if out is not None:
        yield path_of(out, "out"), None
        return
    try:
        held = TemporaryDirectory(prefix="detattack-")
    except OSError as error:
        raise InputError(f"out: no temporary folder can be made ({error.strerror or error}); name one") from error
    yield Path(held.name) / "run", held


def save_figure(
    outcome: Outcome[DetectionRecord],
    detector: Detector | str,
    path: str | os.PathLike[str],
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
) -> None:
    """Write original and adversarial image side by side, with the detector's boxes, and their difference.

    path: of a `.png` or `.pdf`. Raises `InputError`.
    """
    from detattack.tasks.detection.figure import write_attack_figure

    if not isinstance(outcome, Outcome):
        raise InputError(f"outcome: expected what `attack` returned, got {type(outcome).__name__}")
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"path: expected the name of a file, got {type(path).__name__}")
    loaded = load_detector(detector) if isinstance(detector, str) else detector
    task_of(loaded, None)
    names = [category.name for category in loaded.categories]
    try:
        write_attack_figure(Path(os.fsdecode(path)), outcome, names, score_threshold)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _one(experiment: Experiment[Any, Any, Any]) -> Outcome[Any]:
    """Attack the one image of an experiment; what the model raises is raised."""
    sample = experiment.dataset.samples[0]
    picture = sample.load()
    height, width = picture.pixels.shape[:2]
    if experiment.task is DETECTION:
        goal_of(experiment.config.goal).check_size(width, height)
    (outcome,) = experiment.attack([(experiment.record_type(1, sample.stem, sample.source, status=""), picture)])
    return outcome


def _result(images: Any, asked: Asked, given: Taken, outcomes: Sequence[Outcome[Any]]) -> Any:
    """Make what `attack` returns."""
    if given.single and (isinstance(images, Scene) or _is_plain(images, outcomes[0])):
        return outcomes[0]
    task, config = asked.task, asked.config.model_dump(mode="json")
    manifest = {"config": config, **task.manifest(asked.model, given.dataset)}
    summary = {**question(config), **common_summary(outcome.record for outcome in outcomes)}
    return Attacked(given.back(outcomes), outcomes, record_columns(task.record_columns), manifest, summary)


def _is_plain(image: Any, outcome: Outcome[Any]) -> bool:
    """Tell whether an image was given as an outcome holds one."""
    plain = isinstance(image, np.ndarray) and image.dtype == np.uint8
    return plain and outcome.pixels is not None and image.shape == outcome.pixels.shape
