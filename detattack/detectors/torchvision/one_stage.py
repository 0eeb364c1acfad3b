"""Adapters of torchvision's one-stage detectors: RetinaNet, FCOS and SSD.

They may have another backbone than torchvision's; the embedded detectors do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import batched_nms, clip_boxes_to_image

from detattack.core.types import Candidates, Detections
from detattack.detectors.parts import log_odds
from detattack.detectors.parts.topk import Kept, best_of_levels
from detattack.detectors.torchvision.base import TorchvisionDetector, maps_of, scale_of


@dataclass(frozen=True, eq=False)
class HeadState:
    """State that `select` needs beside boxes and logits.

    - level_sizes: Candidates of each level.
    - image_size: `(H,W)`.
    - unnamed: Logits of the head's unnamed columns, which take part in the model's own ranking.
    """

    level_sizes: list[int]
    image_size: tuple[int, int]
    unnamed: Tensor


class _Dense(TorchvisionDetector):
    """Every anchor is a candidate. A kind of head says how it scores, decodes, and what goes into NMS."""

    _anchored: Mapping[Any, Tensor] = MappingProxyType({})

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return every anchor with its decoded box and its logits, by level. One stage: `extra_boxes` are ignored."""
        net = self.network
        batch, _ = net.transform(list(images))
        features = list(maps_of(net.backbone, batch.tensors).values())
        head = net.head(features)
        anchors = self._anchors(batch, features).to(images.dtype)
        size = (images.shape[-2], images.shape[-1])
        scale = scale_of(size, batch.image_sizes[0], images)
        logits, unnamed = self._columns.split(self._logits(head))
        return Candidates(
            boxes=self._decoded(head["bbox_regression"], anchors) * scale,
            logits=logits,
            anchors=anchors * scale,
            state=HeadState(_level_sizes(features, anchors.shape[1]), size, unnamed),
        )

    def _anchors(self, batch: ImageList, features: list[Tensor]) -> Tensor:
        """`[N,A,4]`; those of the last sizes are kept, since the images of an attack stay as they are."""
        sizes = batch.tensors.shape, tuple(f.shape[-2:] for f in features), batch.tensors.dtype
        if sizes not in self._anchored:  # by sizes, as a cache is told from weights: `fingerprint.reachable`
            self._anchored = {sizes: torch.stack(self.network.anchor_generator(batch, features))}
        return self._anchored[sizes]

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Post-process as the model does: clipping, threshold, top-k, NMS."""
        state = candidates.state
        logits = self._columns.join(candidates.logits.detach(), state.unnamed.detach())
        return [
            self._select_one(clip_boxes_to_image(boxes, state.image_size), scores, state, score_threshold)
            for boxes, scores in zip(candidates.boxes.detach(), logits.sigmoid(), strict=True)
        ]

    def _select_one(self, boxes: Tensor, scores: Tensor, state: HeadState, score_threshold: float) -> Detections:
        boxes, scores, columns = self._kept(boxes, scores, state, score_threshold)
        best = batched_nms(boxes, scores, columns, self.network.nms_thresh)[: self.network.detections_per_img]
        return self._columns.detections(boxes[best], scores[best], columns[best])

    def _logits(self, head: dict[str, Tensor]) -> Tensor:
        return head["cls_logits"]

    def _decoded(self, codes: Tensor, anchors: Tensor) -> Tensor:
        return self.network.box_coder.decode_single(codes.flatten(0, 1), anchors.flatten(0, 1)).view_as(anchors)

    def _kept(self, boxes: Tensor, scores: Tensor, state: HeadState, score_threshold: float) -> Kept:
        """Per level what is above the threshold, and of that the best `topk_candidates` of all classes together."""
        return best_of_levels(boxes, scores, state.level_sizes, score_threshold, self.network.topk_candidates)


class TorchvisionRetinaNet(_Dense):
    """Adapter of a `torchvision.models.detection.RetinaNet`."""

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits of `candidates`, without computing the box branch."""
        net = self.network
        batch, _ = net.transform(list(images))
        features = list(maps_of(net.backbone, batch.tensors).values())
        return self._columns.split(net.head.classification_head(features))[0]


class TorchvisionFCOS(_Dense):
    """Adapter of a `torchvision.models.detection.FCOS`: its score is √(class · centerness)."""

    def _logits(self, head: dict[str, Tensor]) -> Tensor:
        return log_odds.of_log_score((F.logsigmoid(head["cls_logits"]) + F.logsigmoid(head["bbox_ctrness"])) / 2)

    def _decoded(self, codes: Tensor, anchors: Tensor) -> Tensor:
        return self.network.box_coder.decode(codes, anchors)


class TorchvisionSSD(_Dense):
    """Adapter of a `torchvision.models.detection.SSD` (SSD300, SSDlite): softmax over classes and a background."""

    BACKGROUND = 0

    def _logits(self, head: dict[str, Tensor]) -> Tensor:
        return log_odds.of_softmax(head["cls_logits"])

    def _kept(self, boxes: Tensor, scores: Tensor, state: HeadState, score_threshold: float) -> Kept:
        """Per class the best `topk_candidates`, and of these what is above the threshold."""
        best, row = scores.T.topk(min(self.network.topk_candidates, len(scores)))
        column = torch.arange(len(best), device=best.device)[:, None].expand_as(best)
        above = best > score_threshold
        return boxes[row[above]], best[above], column[above]


def _level_sizes(features: list[Tensor], count: int) -> list[int]:
    """Candidates a level, where all levels have as many anchors a cell; else all as one level."""
    cells = [f.shape[-2] * f.shape[-1] for f in features]
    per_cell, rest = divmod(count, sum(cells))
    return [count] if rest else [n * per_cell for n in cells]
