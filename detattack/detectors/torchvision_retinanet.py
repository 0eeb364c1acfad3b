"""torchvision's RetinaNet, as it comes and with a backbone of one's own (the embedded detector is one)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection import RetinaNet
from torchvision.ops import batched_nms, clip_boxes_to_image

from detattack.types import Candidates, Category, Detections

UNNAMED = ("__background__", "N/A")
"""Columns of a 91-id COCO head that stand for no category."""


@dataclass(frozen=True, eq=False)
class HeadState:
    """What `select` needs beside boxes and logits: candidates a level, image size `(H,W)`, and the logits of
    the head's unnamed columns, which take part in the model's own ranking although they name nothing."""

    level_sizes: list[int]
    image_size: tuple[int, int]
    unnamed: Tensor


class TorchvisionRetinaNet:
    """Adapter of a `torchvision.models.detection.RetinaNet`.

    categories: by head column, None for a column that names nothing.
    """

    def __init__(self, name: str, network: RetinaNet, columns: list[Category | None], device: torch.device):
        self.name = name
        self.network = network.eval().requires_grad_(False).to(device)
        self.device = device
        self.eval_threshold = float(network.score_thresh)
        self.categories = tuple(c for c in columns if c is not None)
        self._named = torch.tensor([i for i, c in enumerate(columns) if c is not None], device=device)
        self._unnamed = torch.tensor([i for i, c in enumerate(columns) if c is None], dtype=torch.long, device=device)
        self._label_of_column = torch.full((len(columns),), -1, device=device)
        self._label_of_column[self._named] = torch.arange(len(self._named), device=device)

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Every anchor with its decoded box and its logits, by level. One stage: `extra_boxes` are ignored."""
        net = self.network
        batch, _ = net.transform(list(images))
        features = list(net.backbone(batch.tensors).values())
        head = net.head(features)
        anchors = torch.stack(net.anchor_generator(batch, features)).to(images.dtype)
        boxes = net.box_coder.decode_single(head["bbox_regression"].flatten(0, 1), anchors.flatten(0, 1))
        cells = [f.shape[-2] * f.shape[-1] for f in features]
        per_cell = anchors.shape[1] // sum(cells)
        height, width = images.shape[-2:]
        scale = _scale((height, width), batch.image_sizes[0], images)
        logits = head["cls_logits"]
        return Candidates(
            boxes=boxes.view_as(anchors) * scale,
            logits=logits[..., self._named],
            anchors=anchors * scale,
            state=HeadState([n * per_cell for n in cells], (height, width), logits[..., self._unnamed]),
        )

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """As RetinaNet's own post-processing: per level a threshold and the best `topk_candidates`, then NMS."""
        state = candidates.state
        columns = self._all_columns(candidates.logits.detach(), state.unnamed.detach())
        return [
            self._select_one(boxes, logits, state, score_threshold)
            for boxes, logits in zip(candidates.boxes.detach(), columns, strict=True)
        ]

    @torch.no_grad()
    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        """The model's own forward."""
        with self._score_threshold(score_threshold):
            found = self.network(list(images.to(self.device, torch.float32)))
        return [self._named_only(one["boxes"], one["scores"], one["labels"]) for one in found]

    def _all_columns(self, named: Tensor, unnamed: Tensor) -> Tensor:
        logits = named.new_empty(*named.shape[:-1], len(self._label_of_column))
        logits[..., self._named] = named
        logits[..., self._unnamed] = unnamed
        return logits

    def _select_one(self, boxes: Tensor, logits: Tensor, state: HeadState, score_threshold: float) -> Detections:
        net, kept = self.network, []
        levels = zip(boxes.split(state.level_sizes), logits.split(state.level_sizes), strict=True)
        for level_boxes, level_logits in levels:
            scores = level_logits.sigmoid().flatten()
            above = (scores > score_threshold).nonzero().flatten()
            scores, order = scores[above].topk(min(net.topk_candidates, len(above)))
            row, column = above[order] // level_logits.shape[1], above[order] % level_logits.shape[1]
            kept.append((clip_boxes_to_image(level_boxes[row], state.image_size), scores, column))
        b, s, c = (torch.cat(parts) for parts in zip(*kept, strict=True))
        best = batched_nms(b, s, c, net.nms_thresh)[: net.detections_per_img]
        return self._named_only(b[best], s[best], c[best])

    def _named_only(self, boxes: Tensor, scores: Tensor, columns: Tensor) -> Detections:
        labels = self._label_of_column[columns]
        named = labels >= 0
        return Detections(boxes[named].float(), scores[named].float(), labels[named])

    @contextmanager
    def _score_threshold(self, value: float) -> Iterator[None]:
        before = self.network.score_thresh
        self.network.score_thresh = value
        try:
            yield
        finally:
            self.network.score_thresh = before


def _scale(to_size: tuple[int, int], from_size: tuple[int, int], like: Tensor) -> Tensor:
    """Factors `[4]` that take xyxy boxes from the resized image to the given one."""
    y, x = (new / old for new, old in zip(to_size, from_size, strict=True))
    return like.new_tensor([x, y, x, y])
