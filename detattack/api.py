"""What a notebook imports: the command line's main job on arrays, without a run folder.

from detattack.api import attack, load_detector, scene

detector = load_detector("demo")
result = attack(scene(8).image, detector, goal="suppress:car")
print(result.record.status, result.record.k, result.record.quality["psnr"])
result.save("blind.png")
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detattack.config import make_config, resolve_attack
from detattack.datasets import Picture
from detattack.detectors.base import Detector
from detattack.detectors.registry import load_detector
from detattack.engine import PRESETS, Attack
from detattack.errors import InputError
from detattack.goals import Goal, check_goal, check_place, parse_goal, to_box
from detattack.images import read_image
from detattack.job import Record, run_batch
from detattack.records import Outcome
from detattack.scenes import Scene, free_road_box, render, scene_seed
from detattack.types import DEFAULT_SCORE_THRESHOLD, Candidates, Category, Detections

__all__ = [
    "PRESETS",
    "Attack",
    "Candidates",
    "Category",
    "Detections",
    "Detector",
    "Goal",
    "InputError",
    "Outcome",
    "Record",
    "Scene",
    "attack",
    "load_detector",
    "load_image",
    "parse_goal",
    "save_figure",
    "scene",
]


def load_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """The pixels of an image file, uint8 `[H,W,3]` RGB, upright. Raises `InputError` for what is refused."""
    return read_image(path).pixels


def scene(number: int, seed: int = 0) -> Scene:
    """Scene `number` >= 1 of the rendered data set `seed`: its `image`, and what is in it."""
    return render(scene_seed(seed, number))


def attack(
    image: NDArray[np.uint8] | Scene,
    detector: Detector,
    goal: str | Goal = "suppress:car",
    method: str | Attack = "jnd",
    *,
    keep_others: bool = False,
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
    seed: int = 0,
    **overrides: Any,
) -> Outcome:
    """Attacks one image and judges the result from the bytes of its PNG.

    image: uint8 `[H,W,3]` RGB, or a rendered scene, of which `inject:car@road` knows the road. keep_others: all
    other detections have to stay. overrides: fields of `Attack`, e.g. `step_size=0.2`, `levels=None` (floats).

    The outcome's `record` tells status, K, distances and detections; `pixels` is the adversarial image. Raises
    `InputError` for bad input, and whatever the detector raises.
    """
    picture = _picture(image, seed)
    height, width = picture.pixels.shape[:2]
    wanted = parse_goal(str(goal))
    check_goal(wanted, detector.categories)
    check_place(wanted, width, height)
    config = make_config(
        model=detector.name,
        goal=str(wanted),
        keep_others=keep_others,
        attack=resolve_attack(method, overrides=overrides),
        score_threshold=score_threshold,
        seed=seed,
        device=str(detector.device),
    )
    (outcome,) = run_batch(detector, config, [(Record(1, "image", "image", status=""), picture)])
    return outcome


def save_figure(
    outcome: Outcome,
    detector: Detector,
    path: str | os.PathLike[str],
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
) -> None:
    """Writes original and adversarial image side by side, with the detector's boxes, and their difference."""
    from detattack.report.attack_figure import write_attack_figure

    write_attack_figure(Path(path), outcome, [category.name for category in detector.categories], score_threshold)


def _picture(image: NDArray[np.uint8] | Scene, seed: int) -> Picture:
    if isinstance(image, Scene):
        road = free_road_box(image, np.random.default_rng(seed))
        return Picture(image.image, road=None if road is None else to_box(road))
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        what = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"image: expected an array uint8 [H,W,3], got {what}")
    return Picture(image)
