"""A small set-prediction detector: Deformable DETR (Zhu et al., 2021) without an encoder, on a feature pyramid.

The queries are the places of the stride-32 map, so their number follows the image. Each decoder layer refines the box
of each query; losses are on every layer, with one query matched to each object (Hungarian matching), so that no NMS is
needed.
"""

import math
from collections.abc import Sequence
from typing import Any

import scipy  # whose modules are imported where they are first used: here, in training
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import box_convert, generalized_box_iou, generalized_box_iou_loss, sigmoid_focal_loss

__all__ = ["SmallDETR"]

LEVELS = ("8", "16", "32")
QUERY_LEVEL = "32"
CHANNELS, ATTENTION_HEADS, POINTS, LAYERS = 96, 4, 4, 3
FIRST_SIZE = 0.1
"""Width and height of a query's first box, as shares of the image."""
CLASS_WEIGHT, L1_WEIGHT, IOU_WEIGHT = 2.0, 5.0, 2.0
PRIOR = 0.01
"""Score of every class at the start, so that the many empty queries do not drown the first steps."""


class _DeformableAttention(nn.Module):
    """Each query looks at a few places of each map, whose offsets from its box it predicts (Eq. 3 of the paper)."""

    def __init__(self) -> None:
        super().__init__()
        spots = ATTENTION_HEADS * len(LEVELS) * POINTS
        self.value, self.output = nn.Linear(CHANNELS, CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        self.offsets, self.weights = nn.Linear(CHANNELS, 2 * spots), nn.Linear(CHANNELS, spots)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        # Each attention head starts in a direction of its own, each point a step farther out.
        angles = torch.arange(ATTENTION_HEADS) * (2 * math.pi / ATTENTION_HEADS)
        directions = torch.stack((angles.cos(), angles.sin()), -1)[:, None, None]
        steps = torch.arange(1, POINTS + 1).view(POINTS, 1)
        start = (directions * steps).expand(ATTENTION_HEADS, len(LEVELS), POINTS, 2)
        self.offsets.bias = nn.Parameter(start.flatten().clone())

    def forward(self, queries: Tensor, boxes: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Attend from queries to maps.

        - queries: `[N,Q,C]`.
        - boxes: `[N,Q,4]`, center and size as shares of the image.
        - maps: `[N,C,h,w]` each.
        """
        count, places = queries.shape[:2]
        offsets = self.offsets(queries).view(count, places, ATTENTION_HEADS, len(LEVELS), POINTS, 2)
        center, size = boxes[:, :, None, None, None].split(2, -1)
        grid = (center + offsets * size / (2 * POINTS)) * 2 - 1
        weights = self.weights(queries).view(count, places, ATTENTION_HEADS, -1).softmax(-1)
        seen = [self._sample(one, grid[:, :, :, i]) for i, one in enumerate(maps)]
        mixed = (torch.cat(seen, -1) * weights.transpose(1, 2).unsqueeze(2)).sum(-1)  # [N,heads,C/heads,Q]
        return self.output(mixed.flatten(1, 2).transpose(1, 2))

    def _sample(self, feature: Tensor, grid: Tensor) -> Tensor:
        """`[N,heads,C/heads,Q,points]` of a map at `grid` `[N,Q,heads,points,2]` in [-1,1]."""
        value = self.value(feature.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        split = value.reshape(-1, CHANNELS // ATTENTION_HEADS, *value.shape[-2:])
        found = F.grid_sample(split, grid.transpose(1, 2).flatten(0, 1), align_corners=False)
        # [N·heads, C/heads, Q, points], with Q before the points as the attention weights have them
        return found.unflatten(0, (len(feature), ATTENTION_HEADS))


class _DecoderLayer(nn.Module):
    """Attention among the queries, then to the image, then a perceptron: residual, normalized after each."""

    def __init__(self) -> None:
        super().__init__()
        self.among = nn.MultiheadAttention(CHANNELS, ATTENTION_HEADS, batch_first=True)
        self.image = _DeformableAttention()
        self.mlp = nn.Sequential(nn.Linear(CHANNELS, 4 * CHANNELS), nn.ReLU(), nn.Linear(4 * CHANNELS, CHANNELS))
        self.norms = nn.ModuleList(nn.LayerNorm(CHANNELS) for _ in range(3))

    def forward(self, content: Tensor, position: Tensor, boxes: Tensor, maps: Sequence[Tensor]) -> Tensor:
        placed = content + position
        content = self.norms[0](content + self.among(placed, placed, content, need_weights=False)[0])
        content = self.norms[1](content + self.image(content + position, boxes, maps))
        return self.norms[2](content + self.mlp(content))


def _class_head(classes: int) -> nn.Linear:
    head = nn.Linear(CHANNELS, classes)
    nn.init.constant_(head.bias, math.log(PRIOR / (1 - PRIOR)))
    return head


def _box_head() -> nn.Sequential:
    """Shifts of a box, zero at first."""
    last = nn.Linear(CHANNELS, 4)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(CHANNELS, CHANNELS), nn.ReLU(), last)


class SmallDETR(nn.Module):
    """Called like torchvision's detectors: losses by name in training, detections otherwise.

    backbone: images to maps of `channels` channels by stride. Images are resized so that the short side is `short` and
    the long one at most `long`, and normalized with `mean` and `std`.
    """

    score_thresh = 0.05

    def __init__(
        self,
        backbone: nn.Module,
        channels: int,
        classes: int,
        short: int,
        long: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.transform = GeneralizedRCNNTransform(short, long, list(mean), list(std))
        self.backbone = backbone
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, CHANNELS, 1), nn.GroupNorm(8, CHANNELS)) for _ in LEVELS
        )
        self.position = nn.Sequential(nn.Linear(4, CHANNELS), nn.ReLU(), nn.Linear(CHANNELS, CHANNELS))
        self.layers = nn.ModuleList(_DecoderLayer() for _ in range(LAYERS))
        self.classes = nn.ModuleList(_class_head(classes) for _ in range(LAYERS))
        self.boxes = nn.ModuleList(_box_head() for _ in range(LAYERS))

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        """Return losses by name in training, detections of each image otherwise.

        - images: `[3,H,W]` each, in [0,1].
        - targets: `boxes` `[M,4]`, xyxy in pixels, and `labels` `[M]` of each image.
        """
        sizes = [tuple(image.shape[-2:]) for image in images]
        batch, targets = self.transform(images, targets)
        outputs = self.predict(batch.tensors)
        height, width = batch.tensors.shape[-2:]
        if self.training:
            return _losses(outputs, targets, width, height)
        found = [self._detections(*one, width, height) for one in zip(*outputs[-1], strict=True)]
        return self.transform.postprocess(found, batch.image_sizes, sizes)

    def predict(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return logits `[N,Q,K]` and boxes `[N,Q,4]` of each layer, for prepared images `[N,3,H,W]`.

        Boxes are center and size as shares of the padded image. The last layer is the answer.
        """
        features = self.backbone(images)
        maps = [project(features[name]) for project, name in zip(self.projections, LEVELS, strict=True)]
        origin = maps[LEVELS.index(QUERY_LEVEL)]
        content, boxes = origin.flatten(2).transpose(1, 2), _first_boxes(origin)
        outputs = []
        for layer, classes, shift in zip(self.layers, self.classes, self.boxes, strict=True):
            content = layer(content, self.position(torch.logit(boxes)), boxes, maps)
            boxes = torch.sigmoid(torch.logit(boxes, eps=1e-5) + shift(content))
            outputs.append((classes(content), boxes))
            if self.training:
                boxes = boxes.detach()  # each layer learns its own refinement, as in the paper
        return outputs

    def _detections(self, logits: Tensor, boxes: Tensor, width: int, height: int) -> dict[str, Tensor]:
        """Find the best class of each query, above the threshold, best first; in pixels of the padded image."""
        scores, labels = logits.sigmoid().max(-1)
        kept = (scores > self.score_thresh).nonzero().flatten()
        kept = kept[scores[kept].argsort(descending=True, stable=True)]
        corners = box_convert(boxes, "cxcywh", "xyxy") * boxes.new_tensor([width, height, width, height])
        return {"boxes": corners[kept], "scores": scores[kept], "labels": labels[kept]}


def _first_boxes(feature: Tensor) -> Tensor:
    """`[N,Q,4]`: a box of the same size around the center of each place."""
    count, _, height, width = feature.shape
    y = (torch.arange(height).to(feature) + 0.5) / height
    x = (torch.arange(width).to(feature) + 0.5) / width
    centers = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1).view(1, -1, 2)
    return torch.cat((centers, torch.full_like(centers, FIRST_SIZE)), -1).expand(count, -1, -1)


def _losses(
    outputs: list[tuple[Tensor, Tensor]], targets: list[dict[str, Tensor]], width: int, height: int
) -> dict[str, Tensor]:
    """Focal loss of the classes, L1 and generalized IoU of the matched boxes, summed over layers, per object."""
    scale = outputs[0][1].new_tensor([width, height, width, height])
    true_boxes = [target["boxes"] / scale for target in targets]
    objects = max(1, sum(map(len, true_boxes)))
    zero = outputs[0][0].new_zeros(())
    losses = {"classification": zero, "bbox_l1": zero, "bbox_iou": zero}
    for logits, boxes in outputs:
        wanted = torch.zeros_like(logits)
        for i, (truth, target) in enumerate(zip(true_boxes, targets, strict=True)):
            corners = box_convert(boxes[i], "cxcywh", "xyxy")
            query, thing = _match(logits[i], boxes[i], corners, truth, target["labels"])
            wanted[i, query, target["labels"][thing]] = 1.0
            shapes = box_convert(truth[thing], "xyxy", "cxcywh")
            losses["bbox_l1"] = losses["bbox_l1"] + L1_WEIGHT * (boxes[i, query] - shapes).abs().sum() / objects
            overlap = generalized_box_iou_loss(corners[query], truth[thing], reduction="sum")
            losses["bbox_iou"] = losses["bbox_iou"] + IOU_WEIGHT * overlap / objects
        focal = sigmoid_focal_loss(logits, wanted, reduction="sum")
        losses["classification"] = losses["classification"] + CLASS_WEIGHT * focal / objects
    return losses


@torch.no_grad()
def _match(logits: Tensor, boxes: Tensor, corners: Tensor, truth: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Find the cheapest one-to-one assignment of objects to queries: indices of both."""
    score = logits.sigmoid()[:, labels]
    gained = 0.25 * (1 - score) ** 2 * -(score + 1e-8).log() - 0.75 * score**2 * -(1 - score + 1e-8).log()
    distance = torch.cdist(boxes, box_convert(truth, "xyxy", "cxcywh"), p=1)
    cost = CLASS_WEIGHT * gained + L1_WEIGHT * distance - IOU_WEIGHT * generalized_box_iou(corners, truth)
    query, thing = scipy.optimize.linear_sum_assignment(cost.float().cpu().numpy())
    return torch.from_numpy(query).to(labels), torch.from_numpy(thing).to(labels)
