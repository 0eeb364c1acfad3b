"""Data sets of images in memory: lists, torch data sets and data loaders.

An item is an image as `given` takes it, or an image and a target. A target is a mapping of `boxes` (xyxy in pixels) and
`labels`, as torchvision's models take it, or a list of COCO annotations, as `torchvision.datasets.CocoDetection` gives
it; or, without names of categories, the class of the whole image: an index or a name.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from detattack.core.errors import InputError
from detattack.datasets.base import Dataset, Label, Picture, Sample
from detattack.datasets.given import GiveBack, given_image, is_image
from detattack.datasets.labeled import CocoItem, coco_object

Names = Sequence[str] | Mapping[int, str]
"""Class names: in the order of labels from 0 on, or by label."""


def memory_dataset(data: Any, categories: Names | None = None) -> Dataset:
    """Make a data set of what is in memory, as `memory_images` does, and of that the data set alone."""
    return memory_images(data, categories)[0]


def memory_images(data: Any, categories: Names | None = None) -> tuple[Dataset, Sequence[GiveBack]]:
    """Make a data set of what is in memory, and for each image what makes others of its kind.

    Images are numbered from 1 on, in order.

    Each is read once here. Of a data set that is indexed, an image is read again when it is attacked; all others, those
    of a loader for one, are held in memory.

    - data: a list of images, a data set (`__getitem__` and `__len__`) of images with or without targets, or a loader
    - categories: names of the labels; None: those of a `CocoDetection`, or images without targets

    Raises `InputError` that names the image.
    """
    named = _named(categories, data)
    samples, annotations, digest = [], [], hashlib.sha256(repr(sorted(named.items())).encode())
    labels: dict[int, Label] = {}
    backs = []
    for number, (item, load) in enumerate(_items(data), 1):
        image, target = _parts(item)
        given = given_image(image, f"image {number}")
        pixels = given.picture.pixels
        backs.append(given.back)
        digest.update(repr(pixels.shape).encode() + pixels.tobytes())
        size = (pixels.shape[1], pixels.shape[0])
        samples.append(Sample(number, f"image{number:06d}", f"image {number}", size, partial(load, number)))
        if named:
            objects = () if target is None else _objects(target, named, number)
            annotations += [{"image_id": number, **one} for one in objects]
        elif (label := _label(target)) is not None:
            labels[number] = label
    if not samples:
        raise InputError("images: there are none")
    digest.update(repr(annotations).encode() + (repr(labels).encode() if labels else b""))
    numbered = tuple({"id": i, **one} for i, one in enumerate(annotations, 1))
    classes = tuple({"id": label, "name": name} for label, name in sorted(named.items()))
    return Dataset(tuple(samples), digest.hexdigest()[:16], classes, numbered, labels=labels), backs


def _named(categories: Names | None, data: Any) -> dict[int, str]:
    """Return class names by label."""
    if categories is None:
        found = getattr(getattr(data, "coco", None), "cats", {})
        return {number: item["name"] for number, item in found.items()}
    return dict(categories) if isinstance(categories, Mapping) else dict(enumerate(categories))


def _items(data: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each item with what reads its picture again, given its number."""
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, Mapping | str):
        for index in range(len(data)):
            yield data[index], partial(_again, data, index)
    elif isinstance(data, Iterable) and not isinstance(data, Mapping | str):
        for item in _unbatched(data) if isinstance(data, DataLoader) else data:
            held = _parts(item)[0]
            yield item, partial(_held, held)
    else:
        raise InputError(f"images: expected a list, a data set or a loader of images, got {type(data).__name__}")


def _again(data: Any, index: int, number: int) -> Picture:
    return _held(_parts(data[index])[0], number)


def _held(image: Any, number: int) -> Picture:
    return given_image(image, f"image {number}").picture


def _unbatched(loader: Iterable[Any]) -> Iterator[Any]:
    """Yield the items of batches: of images, or of images and targets. Raises `InputError` for other batches."""
    for batch in loader:
        if isinstance(batch, Mapping) or not isinstance(batch, Iterable):
            keys = f" of {', '.join(map(str, batch))}" if isinstance(batch, Mapping) else ""
            raise InputError(
                f"images: the loader yields a {type(batch).__name__}{keys}, not images, nor images and targets"
            )
        if not (isinstance(batch, list | tuple) and batch and _are_images(batch[0])):
            yield from batch
        elif len(batch) == 1:  # as of a `TensorDataset` of images alone
            yield from batch[0]
        else:
            images, targets, *_ = batch
            yield from zip(images, _rows(targets) if isinstance(targets, Mapping) else targets, strict=True)


def _rows(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a mapping of columns, as torch stacks targets of one size."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _parts(item: Any) -> tuple[Any, Any]:
    """Return an item's image and its target, if it has one."""
    if isinstance(item, list | tuple) and item:
        return item[0], item[1] if len(item) > 1 else None
    return item, None


def _are_images(value: Any) -> bool:
    if isinstance(value, Tensor | np.ndarray):
        return value.ndim == 4
    return isinstance(value, list | tuple) and all(map(is_image, value))


def _label(target: Any) -> Label:
    """Return a target that is the class of an image; None for any other."""
    if isinstance(target, Tensor | np.ndarray | np.integer) and np.ndim(target) == 0:
        target = target.item()
    return target if isinstance(target, int | str) else None


def _objects(target: Any, named: Mapping[int, str], number: int) -> list[CocoItem]:
    """Return COCO annotations of a target, without `id` and `image_id`."""
    if isinstance(target, Mapping) and {"boxes", "labels"} <= target.keys():
        boxes = torch.as_tensor(target["boxes"]).reshape(-1, 4).cpu().double().tolist()
        columns = {k: torch.as_tensor(target[k]).reshape(-1).tolist() for k in ("area", "iscrowd") if k in target}
        labels = torch.as_tensor(target["labels"]).reshape(-1).tolist()
        counts = {"boxes": len(boxes), "labels": len(labels)} | {k: len(values) for k, values in columns.items()}
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{count} {name}" for name, count in counts.items())
            raise InputError(f"image {number}: its target has {said}, not as many of each")
        more = _rows(columns) if columns else [{} for _ in labels]
        found = [
            (label, [x1, y1, x2 - x1, y2 - y1], own)
            for label, (x1, y1, x2, y2), own in zip(labels, boxes, more, strict=True)
        ]
    elif isinstance(target, list | tuple) and all(isinstance(one, Mapping) and "bbox" in one for one in target):
        keys = ("area", "iscrowd", "segmentation")
        found = [(one["category_id"], one["bbox"], {k: one[k] for k in keys if k in one}) for one in target]
    else:
        raise InputError(f"image {number}: its target is neither `boxes` and `labels` nor COCO annotations")
    wrong = next((box for _, box, _ in found if min(box[2:]) < 0), None)
    if wrong is not None:
        x, y, width, height = wrong
        raise InputError(f"image {number}: box {x:g},{y:g},{x + width:g},{y + height:g}: not x1,y1,x2,y2")
    unknown = next((label for label, _, _ in found if label not in named), None)
    if unknown is not None:
        raise InputError(f"image {number}: label {unknown} has no name among the categories")
    return [coco_object(label, box) | own for label, box, own in found]
