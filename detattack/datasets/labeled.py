"""Data sets in which each image has a file of labels of its own: what the readers of YOLO and Pascal VOC share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detattack.core.errors import InputError
from detattack.datasets.base import Dataset, file_fingerprint, file_sample, read_description, unique_stems
from detattack.datasets.image_names import path_inside

CocoItem = dict[str, Any]


@dataclass(frozen=True, eq=False)
class LabeledImage:
    """An image of such a data set.

    - path: its file
    - size: (width, height) upright; None where the file cannot be read
    - objects: COCO annotations without `id` and `image_id`
    """

    path: Path
    size: tuple[int, int] | None
    objects: Sequence[CocoItem]


def coco_object(category: int, box: Sequence[float], area: float | None = None, **more: Any) -> CocoItem:
    """Make an annotation as COCO has it.

    - category: the id of its category
    - box: x, y, width, height in pixels
    - area: in pixels; None: that of the box
    - more: further keys
    """
    area = box[2] * box[3] if area is None else area
    return {"category_id": category, "bbox": list(box), "area": area, "iscrowd": 0, **more}


def labeled_dataset(
    root: Path, images: Sequence[LabeledImage], categories: Sequence[CocoItem], said: bytes, notes: Sequence[str]
) -> Dataset:
    """Make a data set; ids are numbers from 1 on, in the order of the images.

    - root: the folder that names in the fingerprint are relative to
    - images: at least one
    - categories: as in a COCO file
    - said: a digest of all that files say of the images
    - notes: what people should know of it
    """
    ids, paths = range(1, len(images) + 1), [image.path for image in images]
    stems = unique_stems([path.stem for path in paths], ids)
    samples = tuple(map(file_sample, ids, stems, paths, [image.size for image in images]))
    objects = ((number, item) for number, image in zip(ids, images, strict=True) for item in image.objects)
    annotations = tuple({"id": i, "image_id": number, **item} for i, (number, item) in enumerate(objects, 1))
    names = [path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name for path in paths]
    fingerprint = file_fingerprint(said, names, paths)
    return Dataset(samples, fingerprint, tuple(categories), annotations, tuple(notes))


def read_labels(path: Path, what: str) -> bytes:
    """Read a file of labels.

    - path: the file
    - what: such a file, for messages

    Raises `InputError`, also for a link that leads out of its folder.
    """
    return read_description(path_inside(path.parent, path.name, what), str(path))


def check_folder(folder: Path, what: str) -> None:
    """Raise `InputError` where there is no such folder."""
    if not folder.is_dir():
        raise InputError(f"{what} {folder}: {'not a folder' if folder.exists() else 'no such folder'}")
