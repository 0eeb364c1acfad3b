"""Rendered scenes as a data set, and the image that a sample's source names."""

import itertools
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detattack.core.boxes import Box, to_box
from detattack.core.categories import match
from detattack.core.errors import InputError
from detattack.datasets.source import Origin
from detattack.tasks.detection.goals import Goal

if TYPE_CHECKING:
    from detattack.datasets.scenes import Scene
from detattack.datasets.base import Dataset, Picture, Sample, _picture

_SCENE_SOURCE = "scene {number} of seed {seed}"


def rendered_scenes(count: int, seed: int, goal: Goal | None = None) -> Dataset:
    """The first `count` scenes of the rendered data set `seed` that suit `goal`, with their annotations.

    Scenes suit a goal that is to vanish if they show such an object, and `inject:...@road` if a place on the
    road is free; every scene suits other goals, and none. No file is needed.
    """
    from detattack.datasets.scenes import CATEGORIES, render, scene_seed
    from detattack.datasets.scenes.coco import annotate

    if count < 1:
        raise InputError(f"{count} scenes: at least one is needed")
    samples: list[Sample] = []
    annotations: list[dict[str, Any]] = []
    suits = _suits(goal)
    for number in itertools.count(1):
        scene = render(scene_seed(seed, number))
        if not suits(scene, number, seed):
            continue
        annotations += annotate(scene, number, len(annotations) + 1)
        height, width = scene.image.shape[:2]
        source = _SCENE_SOURCE.format(number=number, seed=seed)
        samples.append(Sample(number, f"scene{number:06d}", source, (width, height), partial(_scene, seed, number)))
        if len(samples) == count:
            break
    categories = ({"id": c.coco_id, "name": c.name, "supercategory": c.supercategory} for c in CATEGORIES)
    fingerprint = f"scenes {','.join(str(s.id) for s in samples)} of seed {seed}"
    origin = Origin(scenes=count, seed=seed)
    return Dataset(tuple(samples), fingerprint, tuple(categories), tuple(annotations), origin=origin)


def _suits(goal: Goal | None) -> Callable[["Scene", int, int], bool]:
    from detattack.datasets.scenes import CATEGORIES

    names = [c.name for c in CATEGORIES]
    if goal and goal.place == "road":
        return lambda scene, number, seed: _free_road(scene, number, seed) is not None
    label = match(goal.category, names) if goal and goal.kind != "inject" else None
    if label is not None:
        return lambda scene, number, seed: label in scene.labels
    return lambda scene, number, seed: True


def read_source(source: str) -> Picture:
    """The image that a sample's `source` names, read again. Raises `InputError` where it is gone."""
    found = re.fullmatch(_SCENE_SOURCE.format(number=r"(\d+)", seed=r"(\d+)"), source)
    return _scene(int(found[2]), int(found[1])) if found else _picture(Path(source))


def _scene(seed: int, number: int) -> Picture:
    from detattack.datasets.scenes import render, scene_seed

    scene = render(scene_seed(seed, number))
    return Picture(scene.image, road=_free_road(scene, number, seed))


def _free_road(scene: "Scene", number: int, seed: int) -> Box | None:
    from detattack.datasets.scenes import free_road_box

    box = free_road_box(scene, np.random.default_rng((seed, number)))
    return None if box is None else to_box(box)
