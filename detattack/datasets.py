"""Where images come from: files, rendered scenes. All as the same few nouns, read when their turn comes."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from detattack.errors import InputError
from detattack.goals import Box, to_box
from detattack.images import read_image


@dataclass(frozen=True, eq=False)
class Picture:
    """An image that has been read: pixels uint8 `[H,W,3]` RGB, what was converted, and free road if known."""

    pixels: np.ndarray
    notes: tuple[str, ...] = ()
    road: Box | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """One image of a data set. stem: of the files written for it. source: where it came from, for people.
    size: (width, height)."""

    id: int
    stem: str
    source: str
    size: tuple[int, int]
    load: Callable[[], Picture]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples in order, their COCO annotations if there are any, and a fingerprint of what they are."""

    samples: tuple[Sample, ...]
    fingerprint: str
    categories: tuple[dict[str, Any], ...] = ()
    annotations: tuple[dict[str, Any], ...] = field(default=())


def image_files(paths: Sequence[Path]) -> Dataset:
    """Images named by the user. Each is read at once, so that bad input is known before anything is written."""
    digest = hashlib.sha256()
    samples = []
    stems = unique_stems([path.stem for path in paths], list(range(1, len(paths) + 1)))
    for number, (path, stem) in enumerate(zip(paths, stems, strict=True), 1):
        image = read_image(path)
        digest.update(image.pixels.tobytes())
        samples.append(Sample(number, stem, str(path), (image.width, image.height), partial(_picture, path)))
    return Dataset(tuple(samples), digest.hexdigest()[:16])


def rendered_scenes(count: int, seed: int) -> Dataset:
    """Scenes 1..count of the rendered data set `seed`, with their annotations. No file is needed."""
    from detattack.scenes import CATEGORIES, render, scene_seed
    from detattack.scenes.coco import annotate

    if count < 1:
        raise InputError(f"{count} scenes: at least one is needed")
    samples: list[Sample] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        scene = render(scene_seed(seed, number))
        annotations += annotate(scene, number, len(annotations) + 1)
        height, width = scene.image.shape[:2]
        source = f"scene {number} of seed {seed}"
        samples.append(Sample(number, f"scene{number:06d}", source, (width, height), partial(_scene, seed, number)))
    categories = ({"id": c.coco_id, "name": c.name, "supercategory": c.supercategory} for c in CATEGORIES)
    return Dataset(tuple(samples), f"scenes:{seed}:{count}", tuple(categories), tuple(annotations))


def unique_stems(stems: Sequence[str], ids: Sequence[int]) -> list[str]:
    """Stems, with the id where two collide (also by letter case, which some file systems ignore)."""
    lowered = [stem.lower() for stem in stems]
    return [f"{stem}-{i}" if lowered.count(low) > 1 else stem for stem, low, i in zip(stems, lowered, ids, strict=True)]


def _picture(path: Path) -> Picture:
    image = read_image(path)
    return Picture(image.pixels, image.notes)


def _scene(seed: int, number: int) -> Picture:
    from detattack.scenes import free_road_box, render, scene_seed

    scene = render(scene_seed(seed, number))
    box = free_road_box(scene, np.random.default_rng((seed, number)))
    return Picture(scene.image, road=None if box is None else to_box(box))
