"""COCO data sets: `instances_*.json` and a folder of images, as published or as exported by other tools.

The whole annotation file is checked before anything runs (`coco_file`), and which of its images are there. Images are
not read here: one that is damaged is recorded when it is attacked.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from detattack.core.categories import canonical, match_names
from detattack.core.errors import InputError
from detattack.core.types import Category
from detattack.core.wording import counted, worded
from detattack.datasets.base import (
    Dataset,
    Sample,
    file_fingerprint,
    file_sample,
    missing_images,
    read_description,
    renamed_images,
    unique_stems,
)
from detattack.datasets.coco_file import CocoItem, Repairs, parse_coco
from detattack.datasets.image_io import image_size
from detattack.datasets.image_names import find_files
from detattack.datasets.source import DatasetSource, absolute

UNKNOWN, AMBIGUOUS = "no such class in the model", "not the only class of that name"
"""Reasons why an annotated category is not counted."""
Size = tuple[int, int]


def coco_dataset(images_dir: Path, annotations_file: Path, missing: str = "skip") -> Dataset:
    """Open a COCO data set: the images of the file that are in the folder, with their annotations and categories.

    Crowds and masks (polygons, run lengths) are kept as they are; a missing `iscrowd` is 0, a missing `area` that of
    the box. What is repaired or left out is in the notes.

    - images_dir: the folder of the images
    - annotations_file: the JSON file, whose order is kept
    - missing: "skip" images that are not in the folder, or "error"

    Raises `InputError` for what cannot be repaired, naming what and where, and if no image is there.
    """
    images_dir, annotations_file = Path(images_dir), Path(annotations_file)
    if not images_dir.is_dir():
        raise InputError(f"images {images_dir}: {'not a folder' if images_dir.exists() else 'no such folder'}")
    where = f"annotations {annotations_file}"
    data = read_description(annotations_file, where)
    file = parse_coco(data, where)
    if not file.images:
        raise InputError(f"{where}: has no image")
    names = [image["file_name"] for image in file.images]
    paths = find_files(images_dir, names, lambda number: f"{where}: image {file.images[number]['id']}: file_name")
    notes = missing_images(names, paths, images_dir, "annotated", missing) + renamed_images(names, paths, images_dir)
    samples = _samples(file.images, paths)
    repairs = Repairs()
    annotations = tuple(_of_samples(file.annotations, samples, repairs))
    corners = _note_of_corners(annotations, samples)
    return Dataset(
        samples,
        file_fingerprint(data, names, paths),
        tuple(file.categories),
        annotations,
        (*notes, *file.notes, *repairs.notes(), *corners),
        DatasetSource(images=absolute(images_dir), annotations=absolute(annotations_file)),
        file.original_ids,
    )


def category_ids(categories: Sequence[Category], of_data: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Map a detector's labels to the category ids of the annotations, matched by name as by `categories.match_names`.

    Classes that the data set does not have are left out. Without categories in the data: the detector's COCO ids.
    """
    if not of_data:
        return {label: c.coco_id for label, c in enumerate(categories)}
    found = match_names([c.name for c in categories], [c["name"] for c in of_data])
    return {label: of_data[i]["id"] for label, i in found.items()}


def classes_not_counted(
    categories: Sequence[Category], of_data: Sequence[Mapping[str, Any]], annotations: Iterable[Mapping[str, Any]]
) -> dict[str, str]:
    """Return the names of annotated categories that match no class of the detector, each with the reason.

    - categories: the detector's
    - of_data: the categories of the data set
    - annotations: of the data set
    """
    annotated = {a["category_id"] for a in annotations} - set(category_ids(categories, of_data).values())
    known = {canonical(c.name) for c in categories}
    names = [c["name"] for c in of_data if c["id"] in annotated]
    return {name: AMBIGUOUS if canonical(name) in known else UNKNOWN for name in names}


def is_outside(box: Sequence[float], size: Size | None) -> bool:
    """Return whether a box lies outside of its image altogether; None: its size is not known."""
    if size is None or 0 in size:
        return False
    x, y, w, h = box
    return x >= size[0] or y >= size[1] or x + w <= 0 or y + h <= 0


def _samples(images: list[CocoItem], paths: Sequence[Path | None]) -> tuple[Sample, ...]:
    there = [(image, path) for image, path in zip(images, paths, strict=True) if path]
    ids, files = [image["id"] for image, _ in there], [path for _, path in there]
    stems = unique_stems([path.stem for path in files], ids)
    sizes = [(i["width"], i["height"]) if "width" in i and "height" in i else None for i, _ in there]
    return tuple(map(file_sample, ids, stems, files, sizes))


def _of_samples(annotations: Iterable[CocoItem], samples: Sequence[Sample], repairs: Repairs) -> Iterable[CocoItem]:
    """Yield the annotations of these images, except those that lie outside of their image."""
    of_id = {sample.id: sample for sample in samples}
    for annotation in annotations:
        sample = of_id.get(annotation["image_id"])
        if sample is None:
            continue
        # A size that is wrong in the file, as of a photo that lies on its side, is no reason to lose a box.
        if is_outside(annotation["bbox"], sample.size) and is_outside(annotation["bbox"], image_size(sample.source)):
            repairs.add("annotation", "outside of its image", annotation["id"], "left out")
        else:
            yield annotation


def _note_of_corners(annotations: Sequence[CocoItem], samples: Sequence[Sample]) -> list[str]:
    """Say where most boxes make sense only as corners, x1, y1, x2, y2. They are kept as they are."""
    sizes = {sample.id: sample.size for sample in samples}
    boxes = [(annotation["bbox"], sizes[annotation["image_id"]]) for annotation in annotations]
    like = sum(_is_like_corners(box, size) for box, size in boxes)
    if 2 * like <= len(boxes):
        return []
    reaching = f"{like} of {counted(len(boxes), 'box')} {worded(like, 'reaches', 'reach')} out of the image"
    return [f"{reaching}: are the numbers corners? COCO has x, y, width, height"]


def _is_like_corners(box: Sequence[float], size: Size) -> bool:
    """Whether a box leaves the image, and is one within it when read as two corners."""
    x, y, third, fourth = box
    width, height = size
    leaves = x + third > width + 1 or y + fourth > height + 1
    return leaves and x < third <= width + 1 and y < fourth <= height + 1
