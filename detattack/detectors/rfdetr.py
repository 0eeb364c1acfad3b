"""RF-DETR of Roboflow's package `rfdetr` (extra `[rfdetr]`).

Its `predict` resizes floats, so that the same operations, with their gradient, prepare the images here.
"""

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_convert, clip_boxes_to_image
from torchvision.transforms.functional import normalize, resize

from detattack.core.categories import COCO_IDS
from detattack.core.errors import InputError, reason, unknown
from detattack.core.types import Candidates, Category, Detections
from detattack.core.wording import counted
from detattack.detectors.parts.attached import Attached
from detattack.detectors.parts.head_columns import Columns
from detattack.detectors.parts.random_weights import calibrate, noise, tell_apart
from detattack.detectors.weights import NO_WEIGHTS, check_own_weights, load_weights, seeded

PREFIX = "rfdetr/"
CLASSES = {
    "nano": "RFDETRNano",
    "small": "RFDETRSmall",
    "medium": "RFDETRMedium",
    "base": "RFDETRBase",
    "large": "RFDETRLarge",
}
"""The package's classes, by the names of their models."""
SLOTS = ("query_feat.weight", "refpoint_embed.weight")
"""What a query has beside the place that it starts from."""


class RfdetrDetector:
    """Adapter of an `rfdetr.RFDETR`: each query is a candidate, there is no NMS."""

    eval_threshold = 0.0
    expected_ap = None

    def __init__(self, name: str, model: Any, columns: Sequence[Category | None], device: torch.device) -> None:
        """Freeze the network.

        - name: What reports call the detector.
        - model: The model of the package.
        - columns: The category of each class column, None for one that names nothing.
        - device: Where it is to live.
        """
        self.name = name
        self.network = model.model.model.eval().requires_grad_(False).to(device)
        self.device = device
        self._side, self._mean, self._std = model.model.resolution, list(model.means), list(model.stds)
        self._postprocess = model.model.postprocess
        self._columns = Columns(columns, device)
        self.categories = self._columns.categories

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {counted(len(self.categories), 'class')}, {self.device})"

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return every query with its box and its logits. Set prediction: `extra_boxes` are ignored."""
        height, width = images.shape[-2:]
        output = self._forward(images)
        named, unnamed = self._columns.split(output["pred_logits"])
        boxes = box_convert(output["pred_boxes"], "cxcywh", "xyxy") * images.new_tensor([width, height] * 2)
        return Candidates(boxes, named, state=(height, width, unnamed))

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Post-process as the package does: the best pairs of a query and a class, clipping."""
        height, width, unnamed = candidates.state
        found = []
        for boxes, logits in zip(candidates.boxes, self._columns.join(candidates.logits, unnamed), strict=True):
            scores, index = logits.sigmoid().flatten().sort(descending=True, stable=True)
            index = index[: self._postprocess.num_select][scores[: self._postprocess.num_select] > score_threshold]
            query, column = index // logits.shape[1], index % logits.shape[1]
            clipped = clip_boxes_to_image(boxes[query], (height, width))
            found.append(self._columns.detections(clipped, scores[: len(index)], column))
        return found

    @torch.no_grad()
    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        """Run the package's network and post-processing, one image at a time."""
        found = []
        for image in images.to(self.device, torch.float32).split(1):
            size = torch.tensor([image.shape[-2:]], device=self.device)
            (one,) = self._postprocess(self._forward(image), target_sizes=size)
            above = one["scores"] > score_threshold
            found.append(self._columns.detections(one["boxes"][above], one["scores"][above], one["labels"][above]))
        return found

    def _forward(self, images: Tensor) -> Any:
        from rfdetr.utilities.tensors import NestedTensor

        resized = resize(images, [self._side, self._side], antialias=False)
        margin = torch.zeros(len(images), self._side, self._side, dtype=torch.bool, device=self.device)
        with Attached():
            return self.network(NestedTensor(normalize(resized, self._mean, self._std), margin))


def load_rfdetr(
    name: str, device: torch.device, weights: str | None, categories: Sequence[Category] | None
) -> RfdetrDetector:
    """Load a model. Raises `InputError`.

    - name: A key of `CLASSES`.
    - device: Where it is to live.
    - weights: A file; `none` for random ones; None for the package's, which it downloads.
    - categories: The classes of a model trained on others than COCO's.
    """
    what = f"model {PREFIX}{name}"
    try:
        with warnings.catch_warnings(action="ignore"):
            import rfdetr
    except ImportError as error:
        raise InputError(f"{what}: needs rfdetr (pip install '.[rfdetr]')") from error
    if name not in CLASSES:
        raise unknown("rfdetr model", name, [PREFIX + one for one in CLASSES])
    check_own_weights(what, weights, categories)
    of_id = {coco_id: Category(one, coco_id) for one, coco_id in COCO_IDS.items()}
    columns = [*categories, None] if categories else [of_id.get(number) for number in range(91)]
    options = {"device": str(device), "num_classes": len(columns) - 1}
    options |= {} if weights is None else {"pretrain_weights": None}
    logging.getLogger("rf-detr").setLevel(logging.ERROR)  # it warns of what it does without its own weights
    try:
        with warnings.catch_warnings(action="ignore"):
            model = seeded(lambda: getattr(rfdetr, CLASSES[name])(**options))
    except Exception as error:  # its weights may be out of reach, in many a way
        raise InputError(f"{what}: cannot be loaded ({reason(error)})") from error
    if weights not in (None, NO_WEIGHTS):
        load_weights(model.model.model, str(weights))
    detector = RfdetrDetector(PREFIX + name, model, columns, device)
    if weights == NO_WEIGHTS:
        _calibrate(detector)
    return detector


@torch.no_grad()
def _calibrate(detector: RfdetrDetector) -> None:
    network = detector.network
    seeded(lambda: tell_apart(network, (), SLOTS))
    classes = [module for name, module in network.named_modules() if "class_embed" in name and hasattr(module, "bias")]
    calibrate(network, lambda: detector.candidates(noise(2, 128).to(detector.device)), classes)
    unnamed = [number for number, label in enumerate(detector._columns._label_of_column.tolist()) if label < 0]
    for layer in classes:
        layer.bias[unnamed] = -20
