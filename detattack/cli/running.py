"""What the commands that run over a data set have in common: from options to a checked run, and carrying it out."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from detattack.cli.status import INTERRUPTED
from detattack.core.errors import InputError

if TYPE_CHECKING:
    from detattack.datasets.base import Dataset
    from detattack.detectors.base import Detector
    from detattack.runs.runner import Workforce
    from detattack.tasks.detection.config import RunConfig
    from detattack.tasks.detection.goals import Goal
    from detattack.tasks.detection.task import Run

AUTO = "auto"


def folder_of(out: Path | None, resume: bool, name: str) -> Path:
    """`--out`, or a new folder in `runs/`, named after what is run and the time. Raises `InputError` where a run is to
    be continued and none is named."""
    if resume and out is None:
        raise InputError("--resume needs --out, the folder of what it is to continue")
    return out or Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"


def make_run(given: dict[str, Any], **changes: Any) -> "Run":
    """The checked run of a data-set command's options. Nothing is written. Raises `InputError`."""
    from detattack.core.types import DEFAULT_MAX_DETECTIONS
    from detattack.runs.batching import parse_shard
    from detattack.tasks.detection.goals import parse_goal
    from detattack.tasks.detection.task import Run

    goal = parse_goal(given["goal"])
    batch = _batch_size(given["batch"])
    shard = parse_shard(given["shard"]) if given.get("shard") else None
    most = given.get("max_detections", DEFAULT_MAX_DETECTIONS)
    config = config_of(given, goal, given["keep_others"], batch=batch or 1, max_detections=most)
    dataset = data_set(given, goal).after(given["skip"]).first(given["limit"])
    detector = _loaded(config)
    goal.check(detector.categories)
    dataset = _with_shared_classes(detector, dataset)
    if batch is None:
        config = config.model_copy(update={"batch": _automatic(detector, config, dataset, given)})
    run = Run(detector, config, dataset, shard=shard, all_measures=given["quality"] == "all")
    if not run.batches():
        raise InputError(f"shard {given['shard']}: has no image, the data set is too small for so many shards")
    return replace(run, **changes)


def config_of(given: dict[str, Any], goal: "Goal", keep_others: bool, **changes: Any) -> "RunConfig":
    """The config of a command's options."""
    from detattack.cli.comparing import overrides_of
    from detattack.engine.config import named_attack, resolve_attack
    from detattack.engine.presets import PRESETS
    from detattack.tasks.detection.config import make_config

    method = named_attack(given["method"]).name
    overrides = {"perceptual": given.get("perceptual", False)} | overrides_of([method], given["set"], PRESETS)[method]
    names = ("model", "weights", "categories", "score_threshold", "seed", "device", "batch", "precision")
    values = {name: given[name] for name in names}
    attack = resolve_attack(method, given["floats"], given["max_iterations"], overrides)
    return make_config(goal=str(goal), keep_others=keep_others, attack=attack, **(values | changes))


def data_set(given: dict[str, Any], goal: "Goal") -> "Dataset":
    """The images that the options name, those to be skipped included. Raises `InputError`."""
    from detattack.datasets.base import folder_dataset
    from detattack.datasets.coco import coco_dataset
    from detattack.datasets.rendered import rendered_scenes

    images, annotations = given["images"], given["annotations"]
    if images is None:
        if annotations is not None:
            raise InputError("--annotations needs --images, the folder of the images that it speaks of")
        return rendered_scenes(given["skip"] + given["scenes"], given["seed"], goal.suits)
    if goal.rendered_only:
        raise InputError(f"goal '{goal}': where the road is free is known of rendered scenes only, not of image files")
    if annotations is None:
        return folder_dataset(images)
    return coco_dataset(images, annotations, given.get("missing", "skip"))  # `tune` has no such option


def say_if_tuned_on(config: Path | None, dataset: "Dataset") -> None:
    """Says on stderr where the images are some that the config file was tuned on."""
    from detattack.cli.terminal import say_notes
    from detattack.workflows.tuned_on import overlap_note

    note = config and overlap_note(config, dataset)
    say_notes([note] if note else [])


@contextmanager
def carried_out(
    run: Any,
    out: Path,
    resume: bool,
    quiet: bool,
    title: str = "",
    again: str = "",
    workforce: "Workforce | None" = None,
    retry_errors: bool = False,
    notes: bool = True,
) -> Iterator[Any]:
    """Runs or resumes; the complete folder, open. Ctrl-C leaves with status 130 and says how to go on.

    title: what the progress bar calls it. again: how to go on, where it is not by --out and --resume. workforce: who
    attacks; None: this process. retry_errors: as of `execute`. notes: whether to say what people should know of the
    data and the model. Raises `InputError` where `retry_errors` comes without `resume`.
    """
    from detattack.cli.progress import Progress
    from detattack.cli.terminal import say_notes
    from detattack.runs.runner import execute

    check_retry(resume, retry_errors)
    again = again or f"--out {out} --resume goes on"
    with closing(run.open_folder(out, resume)) as folder:
        try:
            say_notes((*run.dataset.notes, *_random_weights(run.config)) if notes else ())
            with Progress(not quiet, title) as progress:
                execute(run, folder, progress.report, progress.measuring, workforce, retry_errors)
        except KeyboardInterrupt:
            print(f"detattack: interrupted; {again}", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except OSError as error:
            raise OSError(f"{' '.join(str(error).split())}; the run stopped at a consistent state, {again}") from error
        yield folder


def check_retry(resume: bool, retry_errors: bool) -> None:
    """Raises `InputError` where there is no run whose errors could be tried again."""
    if retry_errors and not resume:
        raise InputError("--retry-errors goes with --resume, which continues the run that has them")


def _random_weights(config: Any) -> list[str]:
    """What is to be said of a model without training."""
    return [f"model {config.model}: random weights; figures of it mean nothing"] if config.weights == "none" else []


def _loaded(config: "RunConfig") -> "Detector":
    from detattack.detectors.registry import load_detector

    return load_detector(config.model, config.device, config.weights, config.categories)


def _batch_size(text: str) -> int | None:
    """A number from 1 on, or None for `auto`."""
    if str(text) == AUTO:
        return None
    try:
        size = int(text)
    except ValueError:
        size = 0
    if size < 1:
        raise InputError(f"--batch {text!r}: neither a number from 1 on nor {AUTO!r}")
    return size


def _automatic(detector: "Detector", config: "RunConfig", dataset: "Dataset", given: dict[str, Any]) -> int:
    """The batch size of the run that is resumed, or the one that fits."""
    from detattack.runs.manifest import batch_of
    from detattack.tasks.detection.auto_batch import fitting_batch

    before = batch_of(given["out"]) if given["out"] and given["resume"] else None
    return before or fitting_batch(detector, config, dataset.samples)


def _with_shared_classes(detector: "Detector", dataset: "Dataset") -> "Dataset":
    """The data set, with a note on annotated classes that AP does not count. Raises `InputError` where that is all."""
    from detattack.datasets.coco import category_ids, classes_not_counted
    from detattack.tasks.detection.summary import not_counted_line

    if dataset.categories and not category_ids(detector.categories, dataset.categories):
        names = ", ".join(repr(c["name"]) for c in dataset.categories[:5])
        raise InputError(f"the annotations ({names}, ...) and the model {detector.name} have no class name in common")
    note = not_counted_line(classes_not_counted(detector.categories, dataset.categories, dataset.annotations))
    return replace(dataset, notes=(*dataset.notes, note)) if note else dataset
