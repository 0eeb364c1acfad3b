"""Models of MAITE, the protocol of test and evaluation tools: theirs as detectors, and detectors as theirs.

The protocol is structural: nothing here imports the library, and objects keep it by their attributes alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detattack.core.categories import categories_named
from detattack.core.errors import InputError
from detattack.core.types import Detections
from detattack.detectors.base import Detector
from detattack.detectors.black_box import BlackBox


@dataclass(frozen=True, eq=False)
class Target:
    """What is on an image, in MAITE's form: boxes `[M,4]` xyxy, labels `[M]`, scores `[M]`."""

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]


class MaiteModel:
    """A detector as a MAITE model: images `[3,H,W]`, uint8 or float in [0,1], to targets."""

    def __init__(self, detector: Detector, score_threshold: float | None = None) -> None:
        """Wrap the detector.

        - detector: any
        - score_threshold: what is above it is returned; None: the lowest that counts for AP
        """
        names = {label: category.name for label, category in enumerate(detector.categories)}
        self.metadata = {"id": detector.name, "index2label": names}
        self._detector = detector
        self._threshold = detector.eval_threshold if score_threshold is None else score_threshold

    def __call__(self, batch: Sequence[Any], /) -> list[Target]:
        """Detect what is on each image."""
        found = (self._detector.detect(_values(image)[None], self._threshold)[0].cpu() for image in batch)
        return [Target(one.boxes.numpy(), one.labels.numpy(), one.scores.numpy()) for one in found]


def is_maite(model: object) -> bool:
    """Return whether an object is a MAITE model that names its classes."""
    metadata = getattr(model, "metadata", None)
    return callable(model) and isinstance(metadata, Mapping) and {"id", "index2label"} <= metadata.keys()


def detector_of(model: Any, device: torch.device, pixels: bool = False) -> BlackBox:
    """Make a detector of a MAITE model, which has no gradient.

    - model: its metadata have `id` and `index2label`
    - device: where images are handed over
    - pixels: whether it takes uint8; else float32 in [0,1]. The protocol does not say.
    """
    names = dict(model.metadata["index2label"])
    column = {label: number for number, label in enumerate(names)}

    def inference(image: Tensor) -> Detections:
        (found,) = model([(image * 255).round().to(torch.uint8) if pixels else image])
        labels, scores = np.asarray(found.labels).reshape(-1), np.asarray(found.scores, dtype=np.float32)
        if scores.ndim == 2:
            scores = scores.max(1, initial=0)
        unknown = next((label for label in labels.tolist() if label not in column), None)
        if unknown is not None:
            raise InputError(f"model {model.metadata['id']}: reports label {unknown}, which index2label does not name")
        return Detections(
            torch.from_numpy(np.array(found.boxes, dtype=np.float32).reshape(-1, 4)),
            torch.from_numpy(np.array(scores)),
            torch.tensor([column[label] for label in labels.tolist()], dtype=torch.int64),
        )

    return BlackBox(str(model.metadata["id"]), inference, categories_named(map(str, names.values())), device)


def _values(image: Any) -> Tensor:
    values = torch.as_tensor(np.asarray(image))
    return values.float() / 255 if values.dtype == torch.uint8 else values.float()
