"""Adapter of the embedded set-prediction detector (`demo.detr`): each query is a candidate, and there is no NMS."""

import torch
from torch import Tensor
from torchvision.ops import box_convert

from detattack.core.types import Candidates, Detections
from detattack.detectors.torchvision.base import TorchvisionDetector, scale_of


class SetPrediction(TorchvisionDetector):
    """Adapter of a `SmallDETR`, which is called as torchvision's detectors are."""

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return one candidate for each query. One stage: `extra_boxes` are ignored."""
        batch, _ = self.network.transform(list(images))
        logits, boxes = self.network.predict(batch.tensors)[-1]
        height, width = batch.tensors.shape[-2:]
        scale = scale_of((images.shape[-2], images.shape[-1]), batch.image_sizes[0], images)
        corners = box_convert(boxes, "cxcywh", "xyxy") * boxes.new_tensor([width, height, width, height])
        return Candidates(boxes=corners * scale, logits=logits)

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Select the best class of each query above the threshold, best first, as the model itself does."""
        return [
            self._select_one(boxes, scores, score_threshold)
            for boxes, scores in zip(candidates.boxes, candidates.logits.sigmoid(), strict=True)
        ]

    def _select_one(self, boxes: Tensor, scores: Tensor, score_threshold: float) -> Detections:
        scores, labels = scores.max(-1)
        best = scores.argsort(descending=True, stable=True)
        best = best[scores[best] > score_threshold]
        return self._columns.detections(boxes[best], scores[best], labels[best])
