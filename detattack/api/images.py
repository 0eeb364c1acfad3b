"""What a program gives to be attacked: one image or many of any kind, and how the results are given back in kind."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detattack.core.boxes import to_box
from detattack.core.errors import InputError
from detattack.datasets.base import Dataset, Picture, Sample
from detattack.datasets.given import GiveBack, as_array, given_image, is_image
from detattack.datasets.image_io import read_image
from detattack.datasets.maite import dataset_of, is_maite
from detattack.datasets.memory import Names, memory_dataset, memory_images
from detattack.datasets.open import open_dataset
from detattack.datasets.scenes import Scene, free_road_box, render, scene_seed
from detattack.datasets.source import DatasetSource
from detattack.engine.config import LARGEST_SEED
from detattack.runs.record import Outcome


@dataclass(frozen=True, eq=False)
class Taken:
    """Images to be attacked.

    - dataset: of them; of a single image it has one sample
    - back: makes the images of the outcomes, in order, in the kind that was given
    - single: whether it is one image, and not a batch or a list of one
    """

    dataset: Dataset
    back: Callable[[Sequence[Outcome[Any]]], Any]
    single: bool = False


def load_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Load the pixels of an image file, uint8 `[H,W,3]` RGB, upright. Raises `InputError` for what is refused."""
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"image: expected the path of a file, got {type(path).__name__}")
    return read_image(os.fsdecode(path)).pixels


def scene(number: int, seed: int = 0) -> Scene:
    """Scene `number` >= 1 of the rendered data set `seed` >= 0: its `image`, and what is in it. Raises `InputError`."""
    _check_scene(number, seed)
    return render(scene_seed(int(seed), int(number)))


def open_data(
    images: Any = None,
    annotations: str | os.PathLike[str] | None = None,
    *,
    categories: Names | None = None,
    **options: Any,
) -> Dataset:
    """Open a data set, as `evaluate` takes it.

    - images: a path, as `--images` takes it (a folder, VOC's folders, YOLO's `data.yaml`), or images in memory: a list,
      a batch, a torch or MAITE data set, or a loader, with or without targets; what was opened before, which is
      returned; None: rendered scenes with annotations
    - annotations: of a path, COCO's file or a folder of XML files
    - categories: of images in memory, names of the labels
    - options: of a path, `format`, `split`, `missing`, `skip`, `limit`; of scenes, how many `scenes`, and `seed`

    Raises `InputError`.
    """
    if images is None and "scenes" in options:
        return _open_scenes(**options)
    if not isinstance(images, str | os.PathLike):
        given = [*([] if annotations is None else ["annotations"]), *options]
        if given:
            raise InputError(f"{', '.join(given)}: of a path only, not of images in memory")
        if isinstance(images, Dataset):
            return images
        return dataset_of(images) if is_maite(images) else memory_dataset(images, categories)
    known = ("format", "split", "missing", "skip", "limit")
    wrong = next((name for name in options if name not in known), None)
    if wrong is not None or categories is not None:
        raise InputError(f"{wrong or 'categories'}: not of a path, which takes annotations, {', '.join(known)}")
    named = None if annotations is None else os.fsdecode(annotations)
    return open_dataset(DatasetSource(images=os.fsdecode(images), annotations=named, **options))


def _check_scene(number: Any, seed: Any) -> None:
    for what, value, least in (("scene", number, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= LARGEST_SEED:
            raise InputError(f"{what} {value!r}: not a whole number from {least} on")


def _open_scenes(scenes: int, seed: int = 0, **options: Any) -> Dataset:
    """Render the first scenes of a data set. Raises `InputError`."""
    if options:
        raise InputError(f"{', '.join(options)}: not of rendered scenes, which take scenes, seed")
    _check_scene(scenes, seed)
    return open_dataset(DatasetSource(scenes=scenes, seed=seed))


def taken(images: Any, seed: int) -> Taken:
    """Take in what is to be attacked. seed: of the free road of scenes. Raises `InputError`."""
    if isinstance(images, Scene):
        return _single(_of_scene(images, seed), as_array)
    if isinstance(images, str | os.PathLike) and Path(images).is_dir():
        images = open_data(images)
    if isinstance(images, Dataset):
        return Taken(images, partial(_list, [as_array] * len(images.samples)))
    if is_image(images):
        given = given_image(images)
        return _single(given.picture, given.back)
    if isinstance(images, list | tuple) and all(isinstance(one, Scene) for one in images) and images:
        samples = [_sample(number, _of_scene(one, seed), f"image{number:06d}") for number, one in enumerate(images, 1)]
        return Taken(Dataset(tuple(samples), ""), partial(_list, [as_array] * len(samples)))
    if isinstance(images, Tensor | np.ndarray):
        if images.ndim != 4:
            raise InputError(
                f"images: expected [H,W,3], [3,H,W] or a batch of them, got {images.dtype} {list(images.shape)}"
            )
        dataset, backs = memory_images(list(images))
        return Taken(dataset, lambda outcomes: _stacked(_list(backs, outcomes)))
    dataset, backs = memory_images(images)
    return Taken(dataset, partial(_list, backs))


def _of_scene(scene: Scene, seed: int) -> Picture:
    road = free_road_box(scene, np.random.default_rng(seed))
    return Picture(scene.image, road=None if road is None else to_box(road))


def _single(picture: Picture, back: GiveBack) -> Taken:
    return Taken(Dataset((_sample(1, picture, "image"),), ""), lambda outcomes: _list([back], outcomes)[0], True)


def _sample(number: int, picture: Picture, stem: str) -> Sample:
    height, width = picture.pixels.shape[:2]
    return Sample(number, stem, stem, (width, height), lambda: picture)


def _list(backs: Sequence[GiveBack], outcomes: Sequence[Outcome[Any]]) -> list[Any]:
    """Give back each image; None for one that could not be read."""
    return [
        None if outcome.pixels is None else back(outcome.pixels, outcome.floats)
        for back, outcome in zip(backs, outcomes, strict=True)
    ]


def _stacked(images: Sequence[Any]) -> Tensor | NDArray[Any]:
    return torch.stack(list(images)) if isinstance(images[0], Tensor) else np.stack(images)
