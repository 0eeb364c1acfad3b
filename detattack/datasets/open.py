"""From the source of a data set to the data set: files, a folder, COCO, rendered scenes, or the format of a plugin."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from detattack.core.errors import InputError
from detattack.core.registry import Registry
from detattack.datasets.base import Dataset, folder_dataset, image_files
from detattack.datasets.coco import coco_dataset
from detattack.datasets.rendered import SceneFacts, rendered_scenes
from detattack.datasets.source import DatasetSource

Reader = Callable[[Path, Path | None], Dataset]
"""Opens a data set: the path of `--images`, and of `--annotations` where there is one. Raises `InputError`."""
FORMATS: Registry[Reader] = Registry("data format")
"""Formats of data sets beside the built-in ones, by the name that `--format` takes."""


def register_format(name: str) -> Callable[[Reader], Reader]:
    """Make the reader of a format known by a name. Raises `InputError` where that is taken."""

    def register(reader: Reader) -> Reader:
        FORMATS.register(name, reader)
        return reader

    return register


def open_dataset(source: DatasetSource, suits: Callable[[SceneFacts], bool] = lambda scene: True) -> Dataset:
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
    elif source.format is not None:
        annotations = None if source.annotations is None else Path(source.annotations)
        dataset = FORMATS.find(source.format)(Path(source.images), annotations)
        found = replace(source.moved(Path(source.images), annotations, None), skip=0, limit=None)
        dataset = replace(dataset, source=found)
    elif source.annotations is None:
        dataset = folder_dataset(Path(source.images))
    else:
        dataset = coco_dataset(Path(source.images), Path(source.annotations), source.missing)
    return dataset.after(source.skip).first(source.limit)
