"""YOLOX of the package `pixeltable-yolox` (extra `[yolox]`).

Its processor resizes 8-bit images with OpenCV and pads them to a square: here an 8-bit image has those values and the
gradient of a tensor operation.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms

from detattack.core.categories import COCO_NAMES, categories_named
from detattack.core.errors import InputError, unknown
from detattack.core.types import Candidates, Category, Detections
from detattack.core.wording import counted
from detattack.detectors.parts import log_odds
from detattack.detectors.parts.random_weights import calibrate, noise
from detattack.detectors.parts.resize import placed, resized_as_files
from detattack.detectors.weights import NO_WEIGHTS, check_own_weights, downloaded, load_weights, seeded

PREFIX = "yolox/"
NAMES = ("yolox-nano", "yolox-tiny", "yolox-s", "yolox-m", "yolox-l", "yolox-x")
GRAY = 114.0
"""Of the margin."""


class YoloxDetector:
    """Adapter of a `yolox.models.YoloxModule`: a score is that of the class times that of an object."""

    eval_threshold = 0.01
    expected_ap = None

    def __init__(
        self, name: str, network: Any, config: Any, categories: Sequence[Category], device: torch.device
    ) -> None:
        """Freeze the network.

        - name: What reports call the detector.
        - network: The model of the package.
        - config: Its config.
        - categories: Its classes.
        - device: Where it is to live.
        """
        self.name = name
        self.network = network.eval().requires_grad_(False).to(device)
        self.device = device
        self.categories = tuple(categories)
        self._size, self._nms_iou = tuple(config.test_size), config.nmsthre

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {counted(len(self.categories), 'class')}, {self.device})"

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return every cell of every level with its box and its logits. One stage: `extra_boxes` are ignored."""
        parts = [self._level(number, x) for number, x in enumerate(self.network.backbone(self._prepared(images)))]
        boxes, logits = (torch.cat(levels, 1) for levels in zip(*parts, strict=True))
        return Candidates(boxes / self._ratio(*images.shape[-2:]), logits, state=boxes)

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Post-process as the package does: best class of each cell, threshold, NMS by class."""
        found = []
        for boxes, logits, padded in zip(candidates.boxes.detach(), candidates.logits, candidates.state, strict=True):
            scores, labels = logits.sigmoid().max(-1)
            above = (scores > score_threshold).nonzero().flatten()
            kept = above[batched_nms(padded[above].float(), scores[above].float(), labels[above], self._nms_iou)]
            found.append(Detections(boxes[kept].float(), scores[kept].float(), labels[kept]))
        return found

    @torch.no_grad()
    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        """Run the package's resize (for 8-bit images), network and post-processing, one image at a time."""
        from yolox.utils import postprocess

        ratio, found = self._ratio(*images.shape[-2:]), []
        for image in images.to(self.device, torch.float32).split(1):
            output = self.network(self._prepared(image))
            (one,) = postprocess(output, len(self.categories), score_threshold, self._nms_iou)
            one = torch.zeros(0, 7, device=self.device) if one is None else one
            scores = one[:, 4] * one[:, 5]
            above = scores > score_threshold
            found.append(Detections(one[above, :4] / ratio, scores[above], one[above, 6].long()))
        return found

    def _level(self, number: int, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes `[N,A,4]` in pixels of the padded image and logits `[N,A,K]` of a level."""
        head = self.network.head
        stem = head.stems[number](features)
        classes = head.cls_preds[number](head.cls_convs[number](stem))
        places = head.reg_convs[number](stem)
        codes, objects = (layer[number](places) for layer in (head.reg_preds, head.obj_preds))
        logits = log_odds.of_log_score(F.logsigmoid(classes) + F.logsigmoid(objects))
        rows, columns = (torch.arange(side, device=codes.device, dtype=codes.dtype) for side in codes.shape[-2:])
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        stride = head.strides[number]
        center, half = (codes[:, :2] + torch.stack((x, y))) * stride, codes[:, 2:].exp() * stride / 2
        boxes = torch.cat((center - half, center + half), 1)
        return boxes.flatten(2).transpose(1, 2), logits.flatten(2).transpose(1, 2)

    def _ratio(self, height: int, width: int) -> float:
        """Return the factor by which an image is resized."""
        return min(self._size[0] / height, self._size[1] / width)

    def _prepared(self, images: Tensor) -> Tensor:
        """Return images in gray levels, resized and padded to the model's size."""
        ratio = self._ratio(*images.shape[-2:])
        size = (int(images.shape[-2] * ratio), int(images.shape[-1] * ratio))
        smooth = F.interpolate(images * 255, size, mode="bilinear", align_corners=False)
        return placed(resized_as_files(images, smooth, lambda pixels: _by_opencv(pixels, size)), self._size, [GRAY] * 3)


def _by_opencv(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    import cv2

    arrays = pixels.permute(0, 2, 3, 1).cpu().numpy()
    resized = [cv2.resize(one, size[::-1], interpolation=cv2.INTER_LINEAR) for one in arrays]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float()


def load_yolox(
    name: str, device: torch.device, weights: str | None, categories: Sequence[Category] | None
) -> YoloxDetector:
    """Load a model. Raises `InputError`.

    - name: Its name in the package, such as `yolox-s`.
    - device: Where it is to live.
    - weights: A file; `none` for random ones; None for the package's, which it downloads.
    - categories: The classes of a model trained on others than COCO's.
    """
    what = f"model {PREFIX}{name}"
    try:
        from yolox.config import YoloxConfig
        from yolox.models import YoloxModule
    except ImportError as error:
        raise InputError(f"{what}: needs pixeltable-yolox (pip install '.[yolox]')") from error
    if name not in NAMES:
        raise unknown("yolox model", name, [PREFIX + one for one in NAMES])
    check_own_weights(what, weights, categories)
    config = YoloxConfig.get_named_config(name)
    named = tuple(categories or categories_named(COCO_NAMES))
    config.num_classes = len(named)
    if weights is None:
        network = downloaded(what, lambda: YoloxModule.from_pretrained(name))
    else:
        network = seeded(config.get_model)
    if weights == NO_WEIGHTS:
        _calibrate(network.eval(), config.test_size[0])
    elif weights is not None:
        load_weights(network, weights)
    return YoloxDetector(PREFIX + name, network, config, named, device)


@torch.no_grad()
def _calibrate(network: Any, side: int) -> None:
    levels = range(len(network.head.strides))
    last = tuple(f"{kind}_preds.{level}" for kind in ("cls", "reg", "obj") for level in levels)
    calibrate(network, lambda: network(noise(8, side) * 255), network.head.cls_preds[:1], last)
    for layer in network.head.obj_preds:
        layer.bias.zero_()  # else hardly anything is an object
