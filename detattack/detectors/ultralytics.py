"""ultralytics' YOLOv8 and YOLO11 (extra `[ultralytics]`; that library is under AGPL-3.0).

Its predictor resizes 8-bit images with OpenCV and lets no gradient through. Here the network is called itself, with
the letterbox in the graph: an 8-bit image has the values of OpenCV's resize and the gradient of a tensor operation.
A `.pt` file of ultralytics is a pickle of a whole model, which runs code when it is read: name only one you trust.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import clip_boxes_to_image, nms

from detattack.core.categories import categories_named
from detattack.core.errors import InputError, reason
from detattack.core.types import Candidates, Detections
from detattack.detectors.parts.random_weights import calibrate, noise
from detattack.detectors.parts.resize import resized_as_files
from detattack.detectors.weights import NO_WEIGHTS, load_weights, seeded

PREFIX = "ultralytics/"
IMAGE_SIDE, STRIDE = 640, 32
GRAY = 114 / 255
"""Of the letterbox."""
NMS_IOU, CLASS_OFFSET, MOST = 0.7, 7680, 300
"""The predictor's own: boxes of classes are set apart by so many pixels each, and at most so many are returned."""


class UltralyticsYolo:
    """Adapter of an ultralytics detection model, with batch norms folded as its predictor has them."""

    eval_threshold = 0.001
    expected_ap = None

    def __init__(self, name: str, network: Any, device: torch.device, side: int = IMAGE_SIDE) -> None:
        """Freeze the network.

        - name: What reports call the detector.
        - network: The model of ultralytics.
        - device: Where it is to live.
        - side: The longer side in pixels to which images are resized.
        """
        self.name = name
        self.network = network.fuse(verbose=False).eval().requires_grad_(False).to(device)
        self.device = device
        self.categories = categories_named(network.names[i] for i in range(len(network.names)))
        self._side = side

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self.categories)} classes, {self.device})"

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return every cell of every level with its box and its logits. One stage: `extra_boxes` are ignored."""
        height, width = images.shape[-2:]
        size, (left, top) = self._letterbox(height, width)
        decoded, raw = self.network(self._prepared(images))
        center, sides = decoded[:, :4].transpose(1, 2).split(2, -1)
        corners = torch.cat((center - sides / 2, center + sides / 2), -1)
        scale = images.new_tensor([width / size[1], height / size[0]] * 2)
        shift = images.new_tensor([left, top] * 2)
        return Candidates(
            boxes=(corners - shift) * scale,
            logits=raw["scores"].transpose(1, 2),
            state=((height, width), scale),
        )

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Post-process as the predictor does: best class of each cell, threshold, NMS by class, clipping."""
        size, scale = candidates.state
        found = []
        for boxes, logits in zip(candidates.boxes.detach(), candidates.logits.detach(), strict=True):
            scores, labels = logits.sigmoid().max(-1)
            above = scores > score_threshold
            kept, scores, labels = boxes[above], scores[above], labels[above]
            best = nms((kept / scale + labels[:, None] * CLASS_OFFSET).float(), scores.float(), NMS_IOU)[:MOST]
            found.append(Detections(clip_boxes_to_image(kept[best], size).float(), scores[best].float(), labels[best]))
        return found

    @torch.no_grad()
    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        """Run ultralytics' own letterbox (for 8-bit images), network, NMS and scaling back, one image at a time."""
        from ultralytics.utils.nms import non_max_suppression
        from ultralytics.utils.ops import scale_boxes

        found = []
        for image in images.to(self.device, torch.float32).split(1):
            values = self._prepared(image)
            (one,) = non_max_suppression(
                self.network(values), score_threshold, NMS_IOU, max_det=MOST, nc=len(self.categories)
            )
            boxes = scale_boxes(values.shape[-2:], one[:, :4].clone(), image.shape[-2:])
            found.append(Detections(boxes, one[:, 4], one[:, 5].long()))
        return found

    def _letterbox(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the size `(H,W)` of the image in its letterbox, and its left and top margins in pixels."""
        ratio = min(self._side / height, self._side / width)
        size = (max(round(height * ratio), 1), max(round(width * ratio), 1))
        spare_y, spare_x = ((self._side - side) % STRIDE / 2 for side in size)
        return size, (round(spare_x - 0.1), round(spare_y - 0.1))

    def _prepared(self, images: Tensor) -> Tensor:
        """Return images in their letterbox, `[N,3,h,w]` in [0,1], sides divisible by the stride."""
        size, (left, top) = self._letterbox(*images.shape[-2:])
        smooth = F.interpolate(images, size, mode="bilinear", align_corners=False)
        resized = resized_as_files(images, smooth, lambda pixels: _resized_by_opencv(pixels, size))
        right, bottom = (-(size[1] + left) % STRIDE, -(size[0] + top) % STRIDE)
        return F.pad(resized, (left, right, top, bottom), value=GRAY)


def _resized_by_opencv(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    import cv2

    arrays = pixels.permute(0, 2, 3, 1).cpu().numpy()
    if arrays.shape[1:3] != size:
        arrays = np.stack([cv2.resize(one, size[::-1], interpolation=cv2.INTER_LINEAR) for one in arrays])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 255


def load_ultralytics(name: str, device: torch.device, weights: str | None) -> UltralyticsYolo:
    """Load a model. Raises `InputError`.

    - name: Its file (`.pt`), its name (`yolo11n.pt`, which ultralytics downloads), or its layout (`.yaml`).
    - device: Where it is to live.
    - weights: For a layout, a file of tensors, or `none` for random ones; None for a file or name.
    """
    what = f"model {PREFIX}{name}"
    try:
        from ultralytics import YOLO
    except ImportError as error:
        raise InputError(f"{what}: needs ultralytics (pip install 'detattack[ultralytics]')") from error
    logging.getLogger("ultralytics").setLevel(logging.CRITICAL)  # what it warns of is said here, in one line
    is_layout = Path(name).suffix in (".yaml", ".yml")
    if is_layout != (weights is not None):
        lacks = "a layout needs --weights FILE or none" if is_layout else "holds its weights; --weights does not apply"
        raise InputError(f"{what}: {lacks}")
    try:
        model = seeded(lambda: YOLO(name, task="detect", verbose=False))
        network = model.model.float()
    except Exception as error:  # a file that is missing, no model, or of another version can raise anything
        raise InputError(f"{what}: cannot be loaded ({reason(error)})") from error
    head = network.model[-1]
    if type(head).__name__ != "Detect" or head.end2end:
        raise InputError(f"{what}: its head {type(head).__name__} is not known here; detection with NMS is")
    if weights not in (None, NO_WEIGHTS):
        load_weights(network, str(weights))
    if weights == NO_WEIGHTS:
        _calibrate(network.eval())
    side = model.overrides.get("imgsz", IMAGE_SIDE)
    return UltralyticsYolo(PREFIX + name, network, device, max(side) if isinstance(side, list | tuple) else int(side))


def _calibrate(network: Any) -> None:
    last = [branch[-1] for branch in network.model[-1].cv3]
    calibrate(network, lambda: network(noise(2, IMAGE_SIDE // 2)), last[:1], ("cv3.0.2", "cv3.1.2", "cv3.2.2"))
