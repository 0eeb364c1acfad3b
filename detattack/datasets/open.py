"""From the source of a data set to the data set: files, a folder with or without COCO annotations, rendered scenes."""

from collections.abc import Callable
from pathlib import Path

from detattack.core.errors import InputError
from detattack.datasets.base import Dataset, folder_dataset, image_files
from detattack.datasets.coco import coco_dataset
from detattack.datasets.rendered import SceneFacts, rendered_scenes
from detattack.datasets.source import Origin


def open_dataset(source: Origin, suits: Callable[[SceneFacts], bool] = lambda scene: True) -> Dataset:
    """Open the images that a source names, without those that it skips.

    - source: where the images come from
    - suits: which rendered scenes are worth attacking

    Raises `InputError`.
    """
    if source.scenes is not None:
        dataset = rendered_scenes(source.scenes, source.seed, suits)
    elif source.files:
        dataset = image_files([Path(file) for file in source.files])
    elif source.images is None:
        raise InputError("run.json names no images")
    elif source.annotations is None:
        dataset = folder_dataset(Path(source.images))
    else:
        dataset = coco_dataset(Path(source.images), Path(source.annotations), source.missing)
    return dataset.after(source.skip).first(source.limit)
