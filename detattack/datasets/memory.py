"""Data sets of images in memory: lists, torch data sets and data loaders.

An item is an image, or an image and a target. An image is uint8 `[H,W,3]`, a Pillow image, or a tensor `[3,H,W]`, uint8
or float in [0,1], which is rounded to 8 bits. A target is a mapping of `boxes` (xyxy in pixels) and `labels`, as
torchvision's models take it, or a list of COCO annotations, as `torchvision.datasets.CocoDetection` gives it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from detattack.core.errors import InputError
from detattack.datasets.base import Dataset, Picture, Sample
from detattack.datasets.image_io import to_pixels
from detattack.datasets.labeled import CocoItem, coco_object

Names = Sequence[str] | Mapping[int, str]
"""Class names: in the order of labels from 0 on, or by label."""


def memory_dataset(data: Any, categories: Names | None = None) -> Dataset:
    """Make a data set of what is in memory. Images are numbered from 1 on, in order.

    Each is read once here. Of a data set that is indexed, an image is read again when it is attacked; all others, those
    of a loader for one, are held in memory.

    - data: a list of images, a data set (`__getitem__` and `__len__`) of images with or without targets, or a loader
    - categories: names of the labels; None: those of a `CocoDetection`, or images without targets

    Raises `InputError` that names the image.
    """
    named = _named(categories, data)
    samples, annotations, digest = [], [], hashlib.sha256(repr(sorted(named.items())).encode())
    for number, (item, load) in enumerate(_items(data), 1):
        image, target = _parts(item)
        pixels = _pixels(image, number)
        digest.update(repr(pixels.shape).encode() + pixels.tobytes())
        size = (pixels.shape[1], pixels.shape[0])
        samples.append(Sample(number, f"image{number:06d}", f"image {number}", size, partial(load, number)))
        objects = _objects(target, named, number) if named and target is not None else ()
        annotations += [{"image_id": number, **one} for one in objects]
    if not samples:
        raise InputError("images: there are none")
    digest.update(repr(annotations).encode())
    numbered = tuple({"id": i, **one} for i, one in enumerate(annotations, 1))
    classes = tuple({"id": label, "name": name} for label, name in sorted(named.items()))
    return Dataset(tuple(samples), digest.hexdigest()[:16], classes, numbered)


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
    return Picture(_pixels(_parts(data[index])[0], number))


def _held(image: Any, number: int) -> Picture:
    return Picture(_pixels(image, number))


def _unbatched(loader: Iterable[Any]) -> Iterator[Any]:
    """Yield the items of batches: of images, or of images and targets."""
    for batch in loader:
        if isinstance(batch, list | tuple) and len(batch) == 2 and _are_images(batch[0]):
            images, targets = batch
            yield from zip(images, _rows(targets) if isinstance(targets, Mapping) else targets, strict=True)
        else:
            yield from batch


def _rows(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a mapping of columns, as torch stacks targets of one size."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _parts(item: Any) -> tuple[Any, Any]:
    """Return an item's image and its target, if it has one."""
    if isinstance(item, list | tuple) and len(item) >= 2:
        return item[0], item[1]
    return item, None


def _is_image(value: Any) -> bool:
    return isinstance(value, Image.Image) or (isinstance(value, Tensor | np.ndarray) and value.ndim == 3)


def _are_images(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.ndim == 4
    return isinstance(value, list | tuple) and all(map(_is_image, value))


def _pixels(image: Any, number: int) -> NDArray[np.uint8]:
    """Return an image as uint8 `[H,W,3]`. Raises `InputError` for what is none, or is normalized."""
    if isinstance(image, Image.Image):
        return np.array(image.convert("RGB"))
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return image
    if isinstance(image, Tensor) and image.ndim == 3 and image.shape[0] == 3:
        if image.dtype == torch.uint8:
            return image.permute(1, 2, 0).contiguous().cpu().numpy()
        try:
            return to_pixels(image)
        except ValueError as error:
            raise InputError(f"image {number}: {error}; what a model does to images belongs into the model") from error
    what = f"{image.dtype} {list(image.shape)}" if isinstance(image, Tensor | np.ndarray) else type(image).__name__
    raise InputError(f"image {number}: expected uint8 [H,W,3], a tensor [3,H,W] or a Pillow image, got {what}")


def _objects(target: Any, named: Mapping[int, str], number: int) -> list[CocoItem]:
    """Return COCO annotations of a target, without `id` and `image_id`."""
    if isinstance(target, Mapping) and {"boxes", "labels"} <= target.keys():
        boxes = torch.as_tensor(target["boxes"]).reshape(-1, 4).cpu().double().tolist()
        columns = {k: torch.as_tensor(target[k]).reshape(-1).tolist() for k in ("area", "iscrowd") if k in target}
        labels = torch.as_tensor(target["labels"]).reshape(-1).tolist()
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
    unknown = next((label for label, _, _ in found if label not in named), None)
    if unknown is not None:
        raise InputError(f"image {number}: label {unknown} has no name among the categories")
    return [coco_object(label, box) | own for label, box, own in found]
