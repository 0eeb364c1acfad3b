"""Rendered scenes as a data set, and the image that a sample's source names."""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detattack.core.boxes import Box, to_box
from detattack.core.errors import InputError
from detattack.datasets.base import Dataset, Picture, Sample, read_picture
from detattack.datasets.source import DatasetSource

if TYPE_CHECKING:
    from detattack.datasets.scenes import Scene

_SCENE_SOURCE = "scene {number} of seed {seed}"


@dataclass(frozen=True, eq=False)
class SceneFacts:
    """What is known of a rendered scene before it is chosen for a data set.

    - scene: the scene
    - number: its number in the data set
    - seed: of the data set
    """

    scene: "Scene"
    number: int
    seed: int

    def may_show(self, name: str) -> bool:
        """Return whether the scene has an object of that class; True for classes that the renderer does not have."""
        from detattack.datasets.scenes import CATEGORIES

        names = [c.name for c in CATEGORIES]
        return name not in names or names.index(name) in self.scene.labels

    @cached_property
    def road(self) -> Box | None:
        """A box on free road; None if there is no such place."""
        return _free_road(self.scene, self.number, self.seed)


def rendered_scenes(count: int, seed: int, suits: Callable[["SceneFacts"], bool] = lambda scene: True) -> Dataset:
    """Render a data set: the first `count` suitable scenes of the seed, with their annotations. Needs no file.

    - count: how many
    - seed: of the data set
    - suits: whether a scene is suitable, e.g. for a goal; by default all are

    Raises `InputError` for a count below 1.
    """
    from detattack.datasets.scenes import CATEGORIES, render, scene_seed
    from detattack.datasets.scenes.coco import annotate

    if count < 1:
        raise InputError(f"{count} scenes: at least one is needed")
    samples: list[Sample] = []
    annotations: list[dict[str, Any]] = []
    for number in itertools.count(1):
        scene = render(scene_seed(seed, number))
        if not suits(SceneFacts(scene, number, seed)):
            continue
        annotations += annotate(scene, number, len(annotations) + 1)
        height, width = scene.image.shape[:2]
        source = _SCENE_SOURCE.format(number=number, seed=seed)
        samples.append(Sample(number, f"scene{number:06d}", source, (width, height), partial(_scene, seed, number)))
        if len(samples) == count:
            break
    categories = ({"id": c.coco_id, "name": c.name, "supercategory": c.supercategory} for c in CATEGORIES)
    fingerprint = f"scenes {','.join(str(s.id) for s in samples)} of seed {seed}"
    opened_by = DatasetSource(scenes=count, seed=seed)
    return Dataset(tuple(samples), fingerprint, tuple(categories), tuple(annotations), source=opened_by)


def read_original(source: str) -> Picture:
    """Read again the image that a sample's `source` names. Raises `InputError` if it is gone."""
    found = re.fullmatch(_SCENE_SOURCE.format(number=r"(\d+)", seed=r"(\d+)"), source)
    return _scene(int(found[2]), int(found[1])) if found else read_picture(Path(source))


def _scene(seed: int, number: int) -> Picture:
    from detattack.datasets.scenes import render, scene_seed

    scene = render(scene_seed(seed, number))
    return Picture(scene.image, road=_free_road(scene, number, seed))


def _free_road(scene: "Scene", number: int, seed: int) -> Box | None:
    from detattack.datasets.scenes import free_road_box

    box = free_road_box(scene, np.random.default_rng((seed, number)))
    return None if box is None else to_box(box)
