"""Data sets of MAITE, the protocol of test and evaluation tools: theirs read, and ours in their form.

The protocol is structural: nothing here imports the library, and objects keep it by their attributes alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detattack.core.errors import InputError
from detattack.datasets.base import Dataset
from detattack.datasets.memory import memory_dataset


@dataclass(frozen=True, eq=False)
class Truth:
    """What is annotated on an image, in MAITE's form: boxes `[M,4]` xyxy, labels `[M]`, scores `[M]`, all 1."""

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]


class MaiteDataset:
    """A data set as MAITE has it: images uint8 `[3,H,W]`, truths without crowds, and ids."""

    def __init__(self, dataset: Dataset, name: str = "detattack") -> None:
        """Wrap the data set. name: its id."""
        names = {category["id"]: category["name"] for category in dataset.categories}
        self.metadata = {"id": name, "index2label": names}
        self._samples = dataset.samples
        self._objects: dict[int, list[dict[str, Any]]] = {sample.id: [] for sample in dataset.samples}
        for annotation in dataset.annotations:
            if not annotation["iscrowd"]:
                self._objects[annotation["image_id"]].append(annotation)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int, /) -> tuple[NDArray[np.uint8], Truth, dict[str, int]]:
        """Return image, truth and metadata."""
        sample = self._samples[index]
        objects = self._objects[sample.id]
        boxes = np.array([one["bbox"] for one in objects], dtype=np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([one["category_id"] for one in objects], dtype=np.int64)
        image = np.ascontiguousarray(sample.load().pixels.transpose(2, 0, 1))
        return image, Truth(boxes, labels, np.ones(len(labels), np.float32)), {"id": sample.id}


def is_maite(data: object) -> bool:
    """Return whether an object is a MAITE data set."""
    metadata = getattr(data, "metadata", None)
    return isinstance(metadata, Mapping) and "id" in metadata and hasattr(data, "__getitem__")


def dataset_of(data: Any) -> Dataset:
    """Read a MAITE data set of images `[3,H,W]`, uint8 or float in [0,1]. Raises `InputError`."""
    names = data.metadata.get("index2label")
    if not names:
        raise InputError(f"data {data.metadata['id']}: has no index2label in its metadata, which names its classes")
    return memory_dataset(_Items(data), {int(label): str(name) for label, name in names.items()})


@dataclass(frozen=True, eq=False)
class _Items:
    """Items of a MAITE data set, as a torch data set has them."""

    data: Any

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        image, truth, _ = self.data[index]
        boxes, labels = np.asarray(truth.boxes, dtype=np.float64), np.asarray(truth.labels)
        return torch.as_tensor(np.array(image)), {"boxes": boxes, "labels": labels}
