"""From the source of a data set to the data set: files, a folder, COCO, rendered scenes, YOLO, VOC, or a plugin's."""

import os
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path

from detattack.core.errors import InputError, kind_and_reason
from detattack.core.registry import Registry
from detattack.datasets.base import Dataset, folder_dataset, image_files
from detattack.datasets.coco import coco_dataset
from detattack.datasets.rendered import SceneFacts, rendered_scenes
from detattack.datasets.source import DatasetSource
from detattack.datasets.voc import is_voc, voc_dataset
from detattack.datasets.yolo import CLASSES, SUFFIXES, folder_of_labels, is_yolo, yolo_dataset

ROBOFLOW = "_annotations.coco.json"
"""What Roboflow calls the COCO file that it writes beside images."""
UNREAD = (".json", ".xml", ".yaml", ".yml", ".csv")
"""Suffixes of what may be annotations; text files are where they have an image's name."""

Reader = Callable[..., Dataset]
"""Opens a data set: the path of `--images`, and of `--annotations` where there is one. Raises `InputError`.

A reader with a parameter `split` or `missing` is given what these options say.
"""
FORMATS: Registry[Reader] = Registry("data format")
"""Formats of data sets, by the name that `--format` takes."""


def register_format(name: str) -> Callable[[Reader], Reader]:
    """Make the reader of a format known by a name. Raises `InputError` where that is taken."""

    def register(reader: Reader) -> Reader:
        FORMATS.register(name, reader)
        return reader

    return register


@register_format("coco")
def coco_format(images: Path, annotations: Path | None = None, missing: str = "skip") -> Dataset:
    """Open a COCO data set that is called one. Parameters and errors as of `coco_dataset`."""
    if annotations is None and not (images / ROBOFLOW).is_file():
        raise InputError(f"images {images}: COCO's annotations are a file; --annotations names it")
    return coco_dataset(images, annotations or images / ROBOFLOW, missing)


register_format("yolo")(yolo_dataset)
register_format("voc")(voc_dataset)


def recognized(images: Path, annotations: Path | None) -> str | None:
    """Return the name of the format that a path has without being told; None: images, and a COCO file if there is one.

    - images: the path of `--images`
    - annotations: of `--annotations`, if given
    """
    if images.suffix.lower() in SUFFIXES and images.is_file():
        return "yolo"
    if annotations is not None:
        return "voc" if annotations.is_dir() else None
    return "yolo" if is_yolo(images) else "voc" if is_voc(images) else None


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
    else:
        dataset = _of_paths(source, Path(source.images), Path(source.annotations) if source.annotations else None)
    return dataset.after(source.skip).first(source.limit)


def _of_paths(source: DatasetSource, images: Path, annotations: Path | None) -> Dataset:
    if annotations and not source.format and annotations.suffix.lower() in SUFFIXES:
        raise InputError(f"annotations {annotations}: describes a YOLO data set, which --images takes")
    if not (source.format or annotations) and (images / ROBOFLOW).is_file():
        annotations = images / ROBOFLOW
    name = source.format or recognized(images, annotations)
    if name is None:
        if source.split is not None:
            raise InputError(f"split {source.split!r}: {images} is of no format that has splits")
        return coco_dataset(images, annotations, source.missing) if annotations else _images_alone(images)
    reader = FORMATS.find(name)
    taken = signature(reader).parameters
    if source.split is not None and "split" not in taken:
        raise InputError(f"split {source.split!r}: the format {name} has none")
    more = {option: getattr(source, option) for option in ("split", "missing") if option in taken}
    found = replace(source.moved(images, annotations, None), format=name, skip=0, limit=None)
    return replace(_read(name, partial(reader, images, annotations, **more), images), source=found)


def _read(name: str, read: Callable[[], Dataset], images: Path) -> Dataset:
    """Call the reader of a format, which may be someone else's. Raises `InputError`."""
    try:
        found = read()
    except (InputError, MemoryError):
        raise
    except Exception as error:
        said = kind_and_reason(error)
        raise InputError(f"images {images}: the reader of the format {name} fails ({said})") from error
    if not isinstance(found, Dataset):
        raise InputError(f"images {images}: the reader of the format {name} gives no Dataset, but {found!r:.80}")
    if not found.samples:
        raise InputError(f"images {images}: the reader of the format {name} finds no image")
    return found


def _images_alone(folder: Path) -> Dataset:
    """Open a folder of images, with a note on what lies near and may be their annotations."""
    found = folder_dataset(folder)
    near = _near(folder, {Path(sample.source).stem + ".txt" for sample in found.samples} | {CLASSES})
    if near is None:
        return found
    said = f"images {folder}: no annotations are read, though {near} may hold some"
    return replace(found, notes=(*found.notes, f"{said}; --annotations, --format or its data.yaml says so"))


def _near(folder: Path, labels: Collection[str]) -> Path | None:
    """Return the first of what may be annotations: the folder where YOLO has them, or a file in the folder of images.

    - folder: of the images
    - labels: names of text files that may be annotations
    """
    beside = folder_of_labels(folder)
    if beside != folder and beside.is_dir():
        return beside
    files = ((place, name) for place, _, names in os.walk(folder) for name in sorted(names))
    near = (Path(place, name) for place, name in files if name.lower().endswith(UNREAD) or name in labels)
    return next(near, None)
