"""EfficientDet of the package `effdet` (extra `[effdet]`), which builds on timm.

Its evaluation resizes 8-bit images with Pillow and pads them to a square: here an 8-bit image has those values and the
gradient of a tensor operation.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

from detattack.core.categories import COCO_IDS
from detattack.core.errors import InputError, unknown
from detattack.core.types import Candidates, Category, Detections
from detattack.core.wording import counted
from detattack.detectors.parts.head_columns import Columns
from detattack.detectors.parts.random_weights import calibrate, noise
from detattack.detectors.parts.resize import placed, resized_as_files
from detattack.detectors.weights import NO_WEIGHTS, check_own_weights, downloaded, load_weights, seeded

PREFIX = "effdet/"
NMS_IOU = 0.5


class EffdetDetector:
    """Adapter of an `effdet.EfficientDet`."""

    eval_threshold = 0.0
    expected_ap = None

    def __init__(self, name: str, bench: Any, columns: Sequence[Category | None], device: torch.device) -> None:
        """Freeze the network.

        - name: What reports call the detector.
        - bench: The library's `DetBenchPredict` with the network.
        - columns: The category of each class column, None for one that names nothing.
        - device: Where it is to live.
        """
        self.name = name
        self.network = bench.eval().requires_grad_(False).to(device)
        self.device = device
        self._config = bench.config
        self._columns = Columns(columns, device)
        self.categories = self._columns.categories

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {counted(len(self.categories), 'class')}, {self.device})"

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return every anchor with its decoded box and its logits. One stage: `extra_boxes` are ignored."""
        from effdet.anchors import decode_box_outputs

        count, size = len(images), (images.shape[-2], images.shape[-1])
        outputs = self.network.model(self._prepared(images))
        widths = self._columns.count, 4
        head, codes = (torch.cat([_rows(x, width) for x in one], 1) for one, width in zip(outputs, widths, strict=True))
        anchors = self.network.anchors.boxes.to(codes)
        decoded = decode_box_outputs(codes.flatten(0, 1), anchors.repeat(count, 1), output_xyxy=True)
        scale = 1 / self._ratio(*size)
        named, unnamed = self._columns.split(head)
        return Candidates(
            boxes=decoded.view(count, -1, 4) * scale,
            logits=named,
            anchors=anchors[:, [1, 0, 3, 2]].expand(count, -1, -1) * scale,
            state=(size, unnamed),
        )

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Post-process as the library does: the best pairs of an anchor and a class, clipping, NMS by class."""
        size, unnamed = candidates.state
        found = []
        for boxes, logits in zip(
            candidates.boxes.detach(), self._columns.join(candidates.logits, unnamed).detach(), strict=True
        ):
            best, index = logits.flatten().topk(min(self._config.max_detection_points, logits.numel()))
            row, column, scores = index // logits.shape[1], index % logits.shape[1], best.sigmoid()
            boxes = clip_boxes_to_image(boxes[row], size)
            kept = batched_nms(boxes, scores, column, NMS_IOU)[: self._config.max_det_per_image]
            kept = kept[scores[kept] > score_threshold]
            found.append(self._columns.detections(boxes[kept], scores[kept], column[kept]))
        return found

    @torch.no_grad()
    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        """Run the library's resize (for 8-bit images), network and post-processing, one image at a time."""
        height, width = images.shape[-2:]
        scale = torch.tensor([1 / self._ratio(height, width)], device=self.device)
        info = {"img_scale": scale, "img_size": torch.tensor([[float(width), float(height)]], device=self.device)}
        found = []
        for image in images.to(self.device, torch.float32).split(1):
            (one,) = self.network(self._prepared(image), info)
            one = one[one[:, 4] > score_threshold]
            found.append(self._columns.detections(one[:, :4], one[:, 4], one[:, 5].long() - 1))
        return found

    def _ratio(self, height: int, width: int) -> float:
        """Return the factor by which an image is resized."""
        return min(side / own for side, own in zip(self._config.image_size, (height, width), strict=True))

    def _prepared(self, images: Tensor) -> Tensor:
        """Return images resized, padded to the model's size, and normalized."""
        ratio = self._ratio(*images.shape[-2:])
        size = (int(images.shape[-2] * ratio), int(images.shape[-1] * ratio))
        smooth = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        resized = resized_as_files(images, smooth, lambda pixels: _resized_by_pillow(pixels, size))
        color = [round(255 * value) / 255 for value in self._config.mean]
        mean, std = (images.new_tensor(tuple(v)).view(3, 1, 1) for v in (self._config.mean, self._config.std))
        return (placed(resized, tuple(self._config.image_size), color) - mean) / std


def _rows(level: Tensor, width: int) -> Tensor:
    """Return a level's output `[N,A·width,H,W]` as `[N,H·W·A,width]`."""
    return level.permute(0, 2, 3, 1).reshape(len(level), -1, width)


def _resized_by_pillow(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    arrays = pixels.permute(0, 2, 3, 1).cpu().numpy()
    resized = [np.asarray(Image.fromarray(one).resize(size[::-1], Image.Resampling.BILINEAR)) for one in arrays]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255


def load_effdet(
    name: str, device: torch.device, weights: str | None, categories: Sequence[Category] | None
) -> EffdetDetector:
    """Load a model. Raises `InputError`.

    - name: Its name in the package, such as `tf_efficientdet_lite0`.
    - device: Where it is to live.
    - weights: A file; `none` for random ones; None for the library's, which it downloads.
    - categories: The classes of a model trained on others than COCO's.
    """
    what = f"model {PREFIX}{name}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of what it makes of torch when it is imported
            from effdet.config.model_config import efficientdet_model_param_dict as known

            from effdet import DetBenchPredict, create_model
    except ImportError as error:
        raise InputError(f"{what}: needs effdet (pip install '.[effdet]')") from error
    if name not in known:
        raise unknown("effdet model", name, [PREFIX + one for one in known])
    check_own_weights(what, weights, categories)
    of_id = {coco_id: Category(one, coco_id) for one, coco_id in COCO_IDS.items()}
    columns: list[Category | None] = [*categories] if categories else [of_id.get(number) for number in range(1, 91)]
    options = {"num_classes": len(columns), "pretrained_backbone": False, "pretrained": weights is None}
    network = downloaded(what, lambda: seeded(lambda: create_model(name, **options)))
    if weights == NO_WEIGHTS:
        _calibrate(network.eval())
    elif weights is not None:
        load_weights(network, weights)
    return EffdetDetector(PREFIX + name, DetBenchPredict(network), columns, device)


@torch.no_grad()
def _calibrate(network: Any) -> None:
    for module in network.modules():
        if hasattr(module, "running_mean"):
            module.bias.fill_(2)  # where activations hardly bend: so deep, they would hide the gradient
    images = noise(8, network.config.image_size[0]) * 2 - 1
    ends = ("predict.conv_pw", "predict.conv", "predict")
    classes, boxes = (
        next(part for end in ends if (part := dict(net.named_modules()).get(end)) is not None and hasattr(part, "bias"))
        for net in (network.class_net, network.box_net)
    )
    calibrate(network, lambda: network(images), [classes], tuple(n for n, m in network.named_modules() if m is boxes))
