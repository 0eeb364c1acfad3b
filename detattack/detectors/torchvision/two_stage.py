"""Adapter of torchvision's Faster R-CNN. See `parts.proposals` for its candidates."""

from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from detattack.core.types import Candidates, Detections
from detattack.detectors.parts import log_odds
from detattack.detectors.parts.proposals import (
    HeadState,
    ProposalRule,
    Regions,
    candidates_of,
    proposed_only,
    with_nearest,
)
from detattack.detectors.torchvision.base import TorchvisionDetector, maps_of, scale_of

SMALLEST = 1e-2
"""Sides in pixels of the resized image below which the model drops a box."""
EDGE = 1e-6
"""Of a score next to 0 or 1, as a logit."""


class TorchvisionFasterRCNN(TorchvisionDetector):
    """Adapter of a `torchvision.models.detection.FasterRCNN`. Its softmax scores become log-odds."""

    BACKGROUND = 0

    THRESHOLD = "roi_heads.score_thresh"

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return the head's logits and boxes by class for every proposal.

        extra_boxes: also for the regions nearest to these that are not proposed yet.
        """
        net, heads = self.network, self.network.roi_heads
        batch, _ = net.transform(list(images))
        features = maps_of(net.backbone, batch.tensors)
        size = (images.shape[-2], images.shape[-1])
        scale = scale_of(size, batch.image_sizes[0], images)
        regions = self._regions(batch, features, None if extra_boxes is None else extra_boxes / scale)
        proposals = [one.boxes for one in regions]
        head, codes = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, proposals, batch.image_sizes)))
        boxes = heads.box_coder.decode(codes, proposals).view(len(head), head.shape[1], 4)
        return candidates_of(regions, self._columns, log_odds.of_softmax(head), boxes * scale, scale, size)

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Post-process the model's own proposals as it does: clipping, threshold, NMS by class."""
        return [
            self._select_one(boxes, scores, candidates.state, score_threshold)
            for boxes, scores in proposed_only(candidates, self._columns)
        ]

    def _select_one(self, boxes: Tensor, scores: Tensor, state: HeadState, score_threshold: float) -> Detections:
        heads = self.network.roi_heads
        row, column = (scores > score_threshold).nonzero(as_tuple=True)
        boxes, scores = clip_boxes_to_image(boxes[row, column], state.image_size), scores[row, column]
        large = remove_small_boxes(boxes / state.scale, SMALLEST)
        boxes, scores, column = boxes[large], scores[large], column[large]
        best = batched_nms(boxes, scores, column, heads.nms_thresh)[: heads.detections_per_img]
        return self._columns.detections(boxes[best], scores[best], column[best])

    def _regions(self, batch: Any, features: dict[str, Tensor], asked: Tensor | None) -> list[Regions]:
        """Return the proposals, and with `asked` boxes `[N,E,4]` (resized image) the regions nearest to those."""
        rpn, maps = self.network.rpn, list(features.values())
        objectness, codes = rpn.head(maps)
        anchors = rpn.anchor_generator(batch, maps)
        level_sizes = [one[0].numel() for one in objectness]
        objectness, codes = concat_box_prediction_layers(objectness, codes)
        objectness = objectness.view(len(anchors), -1)
        boxes = rpn.box_coder.decode(codes.detach(), anchors).view(len(anchors), -1, 4)
        kept, scores = rpn.filter_proposals(boxes, objectness, batch.image_sizes, level_sizes)
        if asked is None:
            return [Regions(one, len(one), one[:0, 0]) for one in kept]
        lowest = float(torch.logit(torch.tensor(rpn.score_thresh), eps=EDGE))
        rule = ProposalRule(rpn.nms_thresh, rpn.pre_nms_top_n(), rpn.post_nms_top_n(), lowest)
        return [
            with_nearest(
                kept[i],
                torch.logit(scores[i], eps=EDGE),
                clip_boxes_to_image(boxes[i], batch.image_sizes[i]),
                objectness[i],
                asked[i],
                level_sizes,
                rule,
            )
            for i in range(len(kept))
        ]
