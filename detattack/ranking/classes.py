"""The classes that a detector is measured on: those that it knows and that the data has objects of."""

from collections.abc import Mapping, Sequence
from typing import Any

from detattack.core.types import Category
from detattack.datasets.base import Dataset
from detattack.datasets.coco import category_ids


def counted_objects(categories: Sequence[Category], dataset: Dataset) -> list[Mapping[str, Any]]:
    """List the annotated objects of the classes that a detector knows, without crowds."""
    known = set(category_ids(categories, dataset.categories).values())
    return [one for one in dataset.annotations if one["category_id"] in known and not one.get("iscrowd")]


def counted_classes(categories: Sequence[Category], dataset: Dataset) -> tuple[str, ...]:
    """Name the classes of these objects as the data does."""
    found = {one["category_id"] for one in counted_objects(categories, dataset)}
    return tuple(sorted(one["name"] for one in dataset.categories if one["id"] in found))


def largest_areas(categories: Sequence[Category], dataset: Dataset) -> dict[int, float]:
    """Return the annotated area of the largest of these objects, by image id."""
    areas: dict[int, float] = {}
    for one in counted_objects(categories, dataset):
        areas[one["image_id"]] = max(areas.get(one["image_id"], 0.0), one["area"])
    return areas


def lacking(classes: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the classes that others are measured on and a model is not, by model; only models that lack any."""
    union = {name for names in classes.values() for name in names}
    found = {model: sorted(union - set(names)) for model, names in classes.items()}
    return {model: names for model, names in found.items() if names}
