"""What a data set holds, in figures: what `detattack data check` tells."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from detattack.datasets.base import Dataset, Sample
from detattack.datasets.image_io import image_size

SMALL, LARGE = 32**2, 96**2
"""COCO's bounds of the area of small and large objects, in pixels."""
Size = tuple[int, int]


@dataclass(frozen=True)
class ClassCount:
    """How often a class is annotated, in how many images."""

    name: str
    objects: int
    images: int


@dataclass(frozen=True)
class Overview:
    """The figures of a data set.

    - format: its name; `images` where nothing is annotated
    - images: how many there are
    - unreadable: of these, those without a size in their header
    - other_size: of these, those of another size than the data set says
    - without_objects: of these, those with nothing annotated
    - smallest, largest: image sizes (width, height), by their area; None: no image can be read
    - crowds: annotations of many objects at once; these are not among the objects of the classes
    - classes: in the order of the data set
    - by_size: objects that are `small`, `medium` and `large`, as COCO has it
    """

    format: str
    images: int
    unreadable: int
    other_size: int
    without_objects: int
    smallest: Size | None
    largest: Size | None
    crowds: int
    classes: tuple[ClassCount, ...]
    by_size: Mapping[str, int]


def overview(dataset: Dataset) -> Overview:
    """Count what a data set holds."""
    objects = [a for a in dataset.annotations if not a["iscrowd"]]
    said, real = [sample.size for sample in dataset.samples], list(map(_size, dataset.samples))
    sizes = sorted((size for size in real if size), key=lambda size: (size[0] * size[1], size))
    seen = {(a["category_id"], a["image_id"]) for a in objects}
    per_class, per_image = Counter(a["category_id"] for a in objects), Counter(category for category, _ in seen)
    source = dataset.source
    named = source.format if source and source.format else "coco" if dataset.categories else "images"
    return Overview(
        format=named,
        images=len(dataset.samples),
        unreadable=real.count(None),
        other_size=sum(
            size not in (None, written) and 0 not in written for size, written in zip(real, said, strict=True)
        ),
        without_objects=len({s.id for s in dataset.samples} - {a["image_id"] for a in dataset.annotations}),
        smallest=sizes[0] if sizes else None,
        largest=sizes[-1] if sizes else None,
        crowds=len(dataset.annotations) - len(objects),
        classes=tuple(ClassCount(c["name"], per_class[c["id"]], per_image[c["id"]]) for c in dataset.categories),
        by_size=_by_size([a["area"] for a in objects]),
    )


def _size(sample: Sample) -> Size | None:
    """Read the size of an image from its file; a rendered scene has none, and is of the size that it was given."""
    if Path(sample.source).is_file():
        return image_size(sample.source)
    return None if 0 in sample.size else sample.size


def size_name(area: float) -> str:
    """Name the size of an object by its area in square pixels, as COCO has it: its bounds belong to `medium`."""
    return "small" if area < SMALL else "large" if area > LARGE else "medium"


def _by_size(areas: list[float]) -> dict[str, int]:
    counts = Counter(map(size_name, areas))
    return {name: counts[name] for name in ("small", "medium", "large")}
