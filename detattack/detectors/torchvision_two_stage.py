"""torchvision's Faster R-CNN: a network that proposes regions, and a head that names them.

The candidates are what the head says of every region that the model itself would look at in this very image: all
its proposals, each with all classes, nothing thresholded or suppressed. A detection comes from one of them or not
at all, so suppression cannot leave a hidden one: what comes up as others go down is among the candidates of the
next iteration, and `select` accepts nothing while one of them is above the threshold.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from detattack.boxes import iou_matrix
from detattack.detectors import log_odds
from detattack.detectors.torchvision_base import TorchvisionDetector, maps_of, scale_of
from detattack.types import Candidates, Detections

NEAREST = 10
"""Regions a step short of being proposed that are looked at for each asked box."""
SMALLEST = 1e-2
"""Sides in pixels of the resized image below which the model drops a box."""


@dataclass(frozen=True, eq=False)
class HeadState:
    """What `select` needs: the image's size `(H,W)`, the factors `[4]` from the resized image to it, which
    candidates are the model's own proposals `[N,A]`, and logits and boxes of the head's unnamed columns."""

    image_size: tuple[int, int]
    scale: Tensor
    proposed: Tensor
    unnamed_logits: Tensor
    unnamed_boxes: Tensor


@dataclass(frozen=True, eq=False)
class _Regions:
    """Of one image: boxes `[A,4]` in the resized image, the first `proposed` of which are the model's own; of the
    others, by how much `[A − proposed]` they pass what they would have to in order to be proposed."""

    boxes: Tensor
    proposed: int
    margins: Tensor


class TorchvisionFasterRCNN(TorchvisionDetector):
    """Adapter of a `torchvision.models.detection.FasterRCNN`. Its softmax scores become log-odds."""

    BACKGROUND = 0

    def _thresholding(self) -> Any:
        return self.network.roi_heads

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """The head's verdict on every proposal, a box for each class.

        extra_boxes: also on the regions nearest to these that are not proposed yet. Such a one is a detection only
        once it is proposed *and* named, so its logit is a soft minimum of the two, and has a gradient to both.
        """
        net, heads = self.network, self.network.roi_heads
        batch, _ = net.transform(list(images))
        features = maps_of(net.backbone, batch.tensors)
        size = (images.shape[-2], images.shape[-1])
        scale = scale_of(size, batch.image_sizes[0], images)
        regions = self._regions(batch, features, None if extra_boxes is None else extra_boxes / scale)
        proposals = [one.boxes for one in regions]
        counts = [len(one) for one in proposals]
        head, codes = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, proposals, batch.image_sizes)))
        boxes = heads.box_coder.decode(codes, proposals).view(sum(counts), -1, 4) * scale
        logits = _held_back(log_odds.of_softmax(head).split(counts), regions)
        named, unnamed = self._columns.split(pad_sequence(logits, batch_first=True))
        own_boxes, unnamed_boxes = self._columns.split(pad_sequence(boxes.split(counts), batch_first=True), dim=2)
        return Candidates(
            boxes=own_boxes,
            logits=named,
            valid=_first(counts, images.device),
            anchors=pad_sequence(proposals, batch_first=True) * scale,
            state=HeadState(
                size, scale, _first([r.proposed for r in regions], images.device, max(counts)), unnamed, unnamed_boxes
            ),
        )

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """As the model's own post-processing, over its own proposals: clipping, a threshold, NMS by class."""
        state = candidates.state
        logits = self._columns.join(candidates.logits.detach(), state.unnamed_logits.detach())
        boxes = self._columns.join(candidates.boxes.detach(), state.unnamed_boxes.detach(), dim=2, background=0.0)
        return [
            self._select_one(b[own], scores[own], state, score_threshold)
            for b, scores, own in zip(boxes, logits.sigmoid(), state.proposed, strict=True)
        ]

    def _select_one(self, boxes: Tensor, scores: Tensor, state: HeadState, score_threshold: float) -> Detections:
        heads = self.network.roi_heads
        row, column = (scores > score_threshold).nonzero(as_tuple=True)
        boxes, scores = clip_boxes_to_image(boxes[row, column], state.image_size), scores[row, column]
        large = remove_small_boxes(boxes / state.scale, SMALLEST)
        boxes, scores, column = boxes[large], scores[large], column[large]
        best = batched_nms(boxes, scores, column, heads.nms_thresh)[: heads.detections_per_img]
        return self._columns.detections(boxes[best], scores[best], column[best])

    def _regions(self, batch: Any, features: dict[str, Tensor], asked: Tensor | None) -> list[_Regions]:
        """What the model proposes, and with `asked` `[N,E,4]` (resized image) what comes nearest to that."""
        rpn, maps = self.network.rpn, list(features.values())
        objectness, codes = rpn.head(maps)
        anchors = rpn.anchor_generator(batch, maps)
        level_sizes = [one[0].numel() for one in objectness]
        objectness, codes = concat_box_prediction_layers(objectness, codes)
        objectness = objectness.view(len(anchors), -1)
        boxes = rpn.box_coder.decode(codes.detach(), anchors).view(len(anchors), -1, 4)
        kept, scores = rpn.filter_proposals(boxes, objectness, batch.image_sizes, level_sizes)
        if asked is None:
            return [_Regions(one, len(one), one[:0, 0]) for one in kept]
        boxes = [clip_boxes_to_image(b, size) for b, size in zip(boxes, batch.image_sizes, strict=True)]
        return [
            self._with_nearest(*one, level_sizes) for one in zip(kept, scores, boxes, objectness, asked, strict=True)
        ]

    def _with_nearest(
        self, kept: Tensor, scores: Tensor, boxes: Tensor, objectness: Tensor, asked: Tensor, level_sizes: list[int]
    ) -> _Regions:
        """Adds the regions that best cover the asked boxes, with the objectness that each lacks to be proposed.

        A region is proposed if it is among the best of its level and of all, and nothing better suppresses it.
        """
        rpn = self.network.rpn
        cover = iou_matrix(boxes, asked)
        near = cover.topk(min(NEAREST, len(boxes)), dim=0).indices.flatten().unique()
        of_kept = torch.logit(scores, eps=1e-6)
        full = len(kept) >= rpn.post_nms_top_n()
        floor = of_kept.min() if full else torch.logit(scores.new_tensor(rpn.score_thresh), eps=1e-6)
        of_level = torch.cat([_bar(one, rpn.pre_nms_top_n()) for one in objectness.detach().split(level_sizes)])
        rivals = torch.where(iou_matrix(boxes[near], kept) > rpn.nms_thresh, of_kept, floor)
        bar = torch.maximum(rivals.amax(1) if len(kept) else floor, of_level[near])
        return _Regions(torch.cat((kept, boxes[near])), len(kept), objectness[near] - bar)


def _bar(objectness: Tensor, most: int) -> Tensor:
    """`[L]` filled with the objectness that a region of a level of L needs to be among its `most` best."""
    lowest = objectness.topk(most).values[-1] if len(objectness) > most else objectness.new_tensor(-torch.inf)
    return lowest.expand(len(objectness))


def _held_back(logits: tuple[Tensor, ...], regions: list[_Regions]) -> list[Tensor]:
    """Logits `[A,C]` of each image, those of regions that are not proposed held down by what they lack."""
    return [
        torch.cat((one[: r.proposed], -torch.logaddexp(-one[r.proposed :], -r.margins[:, None])))
        for one, r in zip(logits, regions, strict=True)
    ]


def _first(counts: list[int], device: torch.device, length: int | None = None) -> Tensor:
    """Bool `[N,length]`, in each row the first `counts[n]` True."""
    places = torch.arange(max(counts) if length is None else length, device=device)
    return places < torch.tensor(counts, device=device)[:, None]
