"""Adapters as third parties write them, small and with random weights: all of them keep the contract.

Behind 8-bit resizes by OpenCV and Pillow (letterbox, straight-through gradient), with a softmax and a background,
with queries and no NMS, and with two stages that cut the gradient of the proposals.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.ops import batched_nms, box_convert, clip_boxes_to_image, nms, roi_align

from detattack.detectors.base import Candidates, Category, Detections

CLASSES, SIDE, STRIDE, GRAY = 3, 256, 16, 114


class HomeMade:
    """A grid of places, each with logits and a box: native size, one stage."""

    name = "home made"
    categories = (Category("person", 1), Category("car", 3), Category("dog", 18))
    eval_threshold = 0.05

    def __init__(self, device: str):
        self.device = torch.device(device)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Conv2d(3, 24, 8, 8), nn.SiLU(), nn.Conv2d(24, 32, 3, 2, 1), nn.SiLU())
            self.head = nn.Conv2d(32, 4 + CLASSES + 1, 3, padding=1)
            self.extra = nn.Linear(32 * 9, CLASSES + 1)
        for part in (self.body, self.head, self.extra):
            part.eval().requires_grad_(False).to(self.device)
        self.body[0].weight *= 8
        self.head.weight *= 8
        self.extra.weight *= 8

    def raw(self, prepared: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes `[N,A,4]` and head columns `[N,A,CLASSES + 1]` of prepared images."""
        maps = self.head(self.body(prepared - 0.45))
        rows, columns = maps.shape[-2:]
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centers = (torch.stack((x, y), -1).reshape(-1, 2).to(maps) + 0.5) * STRIDE
        flat = maps.flatten(2).transpose(1, 2)
        sides = STRIDE * (1 + F.softplus(flat[..., :4]))
        return torch.cat((centers - sides[..., :2], centers + sides[..., 2:]), -1), flat[..., 4:]

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        boxes, head = self.raw(images)
        return Candidates(boxes, head[..., :CLASSES], state=tuple(images.shape[-2:]))

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        found = []
        for boxes, logits in zip(candidates.boxes, candidates.logits, strict=True):
            scores, labels = logits.sigmoid().max(-1)
            keep = scores > score_threshold
            boxes, scores, labels = clip_boxes_to_image(boxes[keep], candidates.state), scores[keep], labels[keep]
            best = batched_nms(boxes, scores, labels, 0.6)[:100]
            found.append(Detections(boxes[best], scores[best], labels[best]))
        return found

    @torch.no_grad()
    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        return self.select(self.candidates(images.float()), score_threshold)


class EightBit(HomeMade):
    """Resizes 8-bit pixels in a letterbox, centered: values of that, gradient of a tensor operation."""

    def resized(self, pixels: np.ndarray, width: int, height: int) -> np.ndarray:
        return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)

    def smooth(self, images: Tensor, width: int, height: int) -> Tensor:
        return F.interpolate(images, (height, width), mode="bilinear", align_corners=False)

    def prepared(self, images: Tensor) -> tuple[Tensor, float, int, int]:
        height, width = images.shape[-2:]
        ratio = SIDE / max(height, width)
        small = round(width * ratio), round(height * ratio)
        left, top = (SIDE - small[0]) // 2, (SIDE - small[1]) // 2
        margins = (left, SIDE - small[0] - left, top, SIDE - small[1] - top)
        smooth = F.pad(self.smooth(images, *small), margins, value=GRAY / 255)
        official = []
        for image in images:
            pixels = (image.detach() * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
            canvas = np.full((SIDE, SIDE, 3), GRAY, np.uint8)
            canvas[top : top + small[1], left : left + small[0]] = self.resized(np.ascontiguousarray(pixels), *small)
            official.append(torch.from_numpy(canvas).permute(2, 0, 1))
        exact = torch.stack(official).to(images) / 255
        return smooth + (exact - smooth).detach(), ratio, left, top

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        prepared, ratio, left, top = self.prepared(images)
        boxes, head = self.raw(prepared)
        boxes = (boxes - boxes.new_tensor([left, top, left, top])) / ratio
        return Candidates(boxes, head[..., :CLASSES], state=tuple(images.shape[-2:]))


class Pillow(EightBit):
    def resized(self, pixels: np.ndarray, width: int, height: int) -> np.ndarray:
        return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))

    def smooth(self, images: Tensor, width: int, height: int) -> Tensor:
        return F.interpolate(images, (height, width), mode="bilinear", align_corners=False, antialias=True)


class Softmax(HomeMade):
    """A softmax over the classes and a background, whose column is left out."""

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        boxes, head = self.raw(images)
        return Candidates(boxes, torch.logit(head.softmax(-1)[..., :CLASSES]), state=tuple(images.shape[-2:]))


class Queries(HomeMade):
    """Attention from queries to the places, no NMS: the best class of each query, as DETR has it."""

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        height, width = images.shape[-2:]
        seen = self.body(F.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True) - 0.45)
        seen = F.avg_pool2d(seen, 2).flatten(2).transpose(1, 2)
        queries = torch.randn(60, 32, generator=torch.Generator().manual_seed(1)).to(images)
        told = (queries @ seen.transpose(1, 2)).softmax(-1) @ seen + 0.3 * queries
        head = 4 * told @ self.head.weight.sum((2, 3)).T.to(images)
        boxes = box_convert(head[..., :4].sigmoid() * head.new_tensor([1, 1, 0.5, 0.5]), "cxcywh", "xyxy")
        boxes = boxes * boxes.new_tensor([width, height, width, height])
        return Candidates(boxes, head[..., 4 : 4 + CLASSES], state=(height, width))

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        found = []
        for boxes, logits in zip(candidates.boxes, candidates.logits, strict=True):
            scores, labels = logits.sigmoid().max(-1)
            keep = scores > score_threshold
            found.append(Detections(boxes[keep], scores[keep], labels[keep]))
        return found


class TwoStages(HomeMade):
    """Proposals without a gradient, then a head on each. It does not say where its candidates come from."""

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        maps = self.body(images - 0.45)
        boxes, head = (part.detach() for part in self.raw(images))
        proposals = []
        for own, objectness in zip(boxes, head[..., -1], strict=True):
            clipped = clip_boxes_to_image(own, images.shape[-2:])
            proposals.append(clipped[nms(clipped, objectness, 0.7)[:80]])
        most = max(map(len, proposals))
        pooled = self.extra(roi_align(maps, proposals, 3, 1 / STRIDE, 2).flatten(1)).split([len(p) for p in proposals])
        logits = torch.stack([F.pad(own, (0, 0, 0, most - len(own))) for own in pooled])[..., :CLASSES]
        places = torch.stack([F.pad(own, (0, 0, 0, most - len(own))) for own in proposals])
        valid = torch.stack([torch.arange(most) < len(own) for own in proposals])
        return Candidates(places, logits, valid, state=tuple(images.shape[-2:]))

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        parts = zip(candidates.boxes, candidates.logits, candidates.valid, strict=True)
        return [self._select_one(b[v], s[v], candidates.state, score_threshold) for b, s, v in parts]

    def _select_one(self, boxes: Tensor, logits: Tensor, size: tuple[int, int], score_threshold: float) -> Detections:
        state = Candidates(boxes[None], logits[None], state=size)
        return super().select(state, score_threshold)[0]


class BackgroundColumn(Softmax):
    """Wrong: the background is among the categories."""

    categories = (*HomeMade.categories, Category("background", 99))

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        boxes, head = self.raw(images)
        return Candidates(boxes, torch.logit(head.softmax(-1)), state=tuple(images.shape[-2:]))

    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        named = Candidates(candidates.boxes, candidates.logits[..., :CLASSES], state=candidates.state)
        return super().select(named, score_threshold)


class LetterboxKept(EightBit):
    """Wrong: the letterbox's margins are not taken off the boxes."""

    def prepared(self, images: Tensor) -> tuple[Tensor, float, int, int]:
        prepared, ratio, _, _ = super().prepared(images)
        return prepared, ratio, 0, 0


RIGHT = (HomeMade, EightBit, Pillow, Softmax, Queries, TwoStages)
