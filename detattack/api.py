"""What a notebook imports: the command line's main job on arrays, without a run folder.

from detattack.api import attack, load_detector, scene

detector = load_detector("demo")
result = attack(scene(8).image, detector, goal="suppress:car")
print(result.record.status, result.record.k, result.record.quality["psnr"])
result.save("blind.png")

A model in memory becomes a detector by `wrap`, and a data set is attacked by `evaluate`.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detattack.core.boxes import to_box
from detattack.core.errors import InputError
from detattack.core.types import DEFAULT_SCORE_THRESHOLD, Candidates, Category, Detections
from detattack.datasets.base import Dataset, Picture
from detattack.datasets.image_io import read_image
from detattack.datasets.maite import MaiteDataset, dataset_of, is_maite
from detattack.datasets.memory import Names, memory_dataset
from detattack.datasets.open import open_dataset
from detattack.datasets.scenes import Scene, free_road_box, render, scene_seed
from detattack.datasets.source import DatasetSource
from detattack.detectors.base import Detector
from detattack.detectors.maite import MaiteModel
from detattack.detectors.registry import lacks, load_detector
from detattack.detectors.wrap import wrap
from detattack.engine import PRESETS, Attack
from detattack.engine.budget import Budget, check_floats, parse_budgets
from detattack.engine.config import LARGEST_SEED, named_attack, resolve_attack
from detattack.runs.record import Outcome
from detattack.tasks.attack_batch import attack_batch
from detattack.tasks.detection.config import DetectionConfig
from detattack.tasks.detection.goals import Goal, parse_goal
from detattack.tasks.detection.record import DetectionRecord
from detattack.tasks.detection.task import DETECTION
from detattack.tasks.experiment import Experiment
from detattack.workflows.evaluate import carried_out

__all__ = [
    "PRESETS",
    "Attack",
    "Budget",
    "Candidates",
    "Category",
    "DetectionRecord",
    "Detections",
    "Detector",
    "Goal",
    "InputError",
    "MaiteDataset",
    "MaiteModel",
    "Outcome",
    "Scene",
    "attack",
    "evaluate",
    "load_detector",
    "load_image",
    "open_data",
    "parse_goal",
    "save_figure",
    "scene",
    "wrap",
]


def load_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Load the pixels of an image file, uint8 `[H,W,3]` RGB, upright. Raises `InputError` for what is refused."""
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"image: expected the path of a file, got {type(path).__name__}")
    return read_image(os.fsdecode(path)).pixels


def scene(number: int, seed: int = 0) -> Scene:
    """Scene `number` >= 1 of the rendered data set `seed` >= 0: its `image`, and what is in it. Raises `InputError`."""
    for what, value, least in (("scene", number, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= LARGEST_SEED:
            raise InputError(f"{what} {value!r}: not a whole number from {least} on")
    return render(scene_seed(int(seed), int(number)))


def attack(
    image: NDArray[np.uint8] | Scene,
    detector: Detector | str,
    goal: str | Goal = "suppress:car",
    method: str | Attack = "jnd",
    *,
    keep_others: bool = False,
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
    seed: int = 0,
    budget: str | Budget | None = None,
    loss: str | Sequence[str] = (),
    robust_to: str | Sequence[str] = (),
    within: str | None = None,
    **overrides: Any,
) -> Outcome[DetectionRecord]:
    """Attacks one image and judges the result from the bytes of its PNG.

    image: uint8 `[H,W,3]` RGB, or a rendered scene, of which `inject:car@road` knows the road. detector: or the name of
    one, as `load_detector` takes it. keep_others: all other detections have to stay. budget: such as `linf:2`, all of
    which is spent on the worst image; None: a success is looked for. loss: names of registered losses instead of the
    goal's own. robust_to: corruptions after which the goal has to hold, too, such as `jpeg:75,resize:0.5`. within: the
    pixels that may change, such as `box`. overrides: fields of `Attack`, e.g. `step_size=0.2`, `levels=None` (floats).

    The outcome's `record` tells status, K, distances and detections; `pixels` is the adversarial image. Raises
    `InputError` for bad input, and whatever the detector raises.
    """
    detector = _detector(detector)
    wanted = _goal(goal)
    chosen = _method(method, budget, overrides)
    more = {"keep_others": keep_others, "loss": loss, "score_threshold": score_threshold, "seed": seed}
    config = _config(detector, wanted, chosen, robust_to=robust_to, within=within, **more)
    picture = _picture(image, config.seed)
    height, width = picture.pixels.shape[:2]
    wanted.check_size(width, height)
    DETECTION.adapt_dataset(detector, config, Dataset((), ""))
    record = DetectionRecord(1, "image", "image", status="")
    (outcome,) = attack_batch(DETECTION, config, None, None, detector, [(record, picture)])
    return outcome


def open_data(
    images: Any, annotations: str | os.PathLike[str] | None = None, *, categories: Names | None = None, **options: Any
) -> Dataset:
    """Open a data set, as `evaluate` takes it.

    images: a path, as `--images` takes it (a folder, VOC's folders, YOLO's `data.yaml`), or images in memory: a list, a
    torch or MAITE data set, or a loader, with or without targets. annotations: of a path, COCO's file or a folder of
    XML files. categories: of images in memory, names of the labels. options: of a path, `format`, `split`, `missing`,
    `skip`, `limit`. Raises `InputError`.
    """
    if not isinstance(images, str | os.PathLike):
        given = [*([] if annotations is None else ["annotations"]), *options]
        if given:
            raise InputError(f"{', '.join(given)}: of a path only, not of images in memory")
        return dataset_of(images) if is_maite(images) else memory_dataset(images, categories)
    known = ("format", "split", "missing", "skip", "limit")
    wrong = next((name for name in options if name not in known), None)
    if wrong is not None or categories is not None:
        raise InputError(f"{wrong or 'categories'}: not of a path, which takes annotations, {', '.join(known)}")
    named = None if annotations is None else os.fsdecode(annotations)
    return open_dataset(DatasetSource(images=os.fsdecode(images), annotations=named, **options))


def evaluate(
    data: Any,
    detector: Detector | str,
    goal: str | Goal = "suppress:all",
    method: str | Attack = "jnd",
    *,
    out: str | os.PathLike[str],
    keep_others: bool = False,
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
    seed: int = 0,
    budget: str | Budget | None = None,
    loss: str | Sequence[str] = (),
    robust_to: str | Sequence[str] = (),
    within: str | None = None,
    batch: int = 1,
    **overrides: Any,
) -> dict[str, Any]:
    """Attacks a data set into a run folder; the content of its `summary.json`: success, distances, AP where annotated.

    data: what `open_data` returns or takes without options. out: the run folder, new. batch: images of one size that
    are attacked together. All else as of `attack`. An error of the detector costs its image. Raises `InputError`.
    """
    detector, wanted = _detector(detector), _goal(goal)
    dataset = data if isinstance(data, Dataset) else open_data(data)
    if not isinstance(out, str | os.PathLike):
        raise InputError(f"out: expected the path of a folder, got {type(out).__name__}")
    chosen = _method(method, budget, overrides)
    more = {"keep_others": keep_others, "loss": loss, "score_threshold": score_threshold, "seed": seed}
    config = _config(detector, wanted, chosen, batch=batch, robust_to=robust_to, within=within, **more)
    experiment = Experiment(DETECTION, detector, config, DETECTION.adapt_dataset(detector, config, dataset))
    with carried_out(experiment, Path(os.fsdecode(out))) as folder:
        summary: dict[str, Any] = folder.read_json("summary.json")
    return summary


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
    names = [category.name for category in _detector(detector).categories]
    try:
        write_attack_figure(Path(os.fsdecode(path)), outcome, names, score_threshold)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _method(method: str | Attack, budget: str | Budget | None, overrides: dict[str, Any]) -> Attack:
    if not isinstance(method, str | Attack):
        raise InputError(f"method: expected a name or an Attack, got {type(method).__name__}")
    chosen = named_attack(method) if isinstance(method, str) else method
    if budget is not None:
        chosen = _budget(budget, "levels" in overrides and overrides["levels"] is None).spent_by(chosen)
    return resolve_attack(chosen, overrides=overrides)


def _config(detector: Detector, goal: Goal, attack: Attack, **more: Any) -> DetectionConfig:
    goal.check(detector.categories)
    own = {"model": detector.name, "goal": str(goal), "attack": attack, "device": str(detector.device)}
    return DETECTION.make_config(**own, **more)


def _goal(goal: str | Goal) -> Goal:
    if not isinstance(goal, str | Goal):
        raise InputError(f"goal: expected a text such as 'suppress:car', got {type(goal).__name__}")
    try:
        return parse_goal(str(goal))
    except (TypeError, ValueError) as error:
        raise InputError(f"goal: its place is none of center, random, road and x1,y1,x2,y2 ({error})") from error


def _budget(budget: str | Budget, floats: bool) -> Budget:
    budgets = parse_budgets(budget) if isinstance(budget, str) else (budget,)
    if len(budgets) > 1 or not isinstance(budgets[0], Budget):
        raise InputError(f"budget: expected one, such as 'linf:2', got {budget!r}")
    check_floats(budgets, floats)
    return budgets[0]


def _detector(detector: Detector | str) -> Detector:
    if isinstance(detector, str):
        return load_detector(detector)
    lacking = lacks(detector)
    if lacking:
        raise InputError(
            f"detector: {type(detector).__name__} is no Detector, it lacks {', '.join(lacking)}; wrap(MODEL) makes one "
            "of a model in memory, load_detector(NAME, weights=FILE) loads one, docs/adapters.md says how to write one"
        )
    return detector


def _picture(image: NDArray[np.uint8] | Scene, seed: int) -> Picture:
    if isinstance(image, Scene):
        road = free_road_box(image, np.random.default_rng(seed))
        return Picture(image.image, road=None if road is None else to_box(road))
    right = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    if not right or not image.size:
        what = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"image: expected an array uint8 [H,W,3], got {what}")
    return Picture(image)
