"""A third party's detector of colored squares, in one file: nothing but torch and the contract.

A window of 16×16 pixels, every 8 pixels, whose red (green, blue) stands out by 0.4 from the mean of the two other
channels is a car (dog, person). Other factories misbehave where a picture is marked by a black first pixel.
"""

import os
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms

from detattack.detectors.base import Candidates, Category, Detections

SIDE, STRIDE, SHARPNESS, STANDS_OUT = 16, 8, 20.0, 0.4


class Toy:
    name = "toy"
    categories = (Category("car", 3), Category("dog", 18), Category("person", 1))
    eval_threshold = 0.05

    def __init__(self, device: str):
        self.device = torch.device(device)
        self.network = nn.Conv2d(3, 3, SIDE, STRIDE, bias=True).to(self.device).requires_grad_(False)
        mix = torch.eye(3) - 0.5 * (1 - torch.eye(3))
        self.network.weight[:] = (SHARPNESS * mix / SIDE**2)[:, :, None, None]
        self.network.bias[:] = -SHARPNESS * STANDS_OUT

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        logits = F.conv2d(images, self.network.weight.to(images), self.network.bias.to(images), STRIDE)
        y, x = torch.meshgrid(*(torch.arange(n) * STRIDE for n in logits.shape[-2:]), indexing="ij")
        boxes = torch.stack((x, y, x + SIDE, y + SIDE), -1).reshape(1, -1, 4).to(images)
        boxes = boxes.expand(len(images), -1, -1)
        return Candidates(boxes, logits.flatten(2).transpose(1, 2), anchors=boxes)

    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        return [self._one(*one, score_threshold) for one in zip(candidates.boxes, candidates.logits, strict=True)]

    def _one(self, boxes: Tensor, logits: Tensor, score_threshold: float) -> Detections:
        scores = logits.detach().sigmoid()
        row, label = (scores > score_threshold).nonzero(as_tuple=True)
        kept = batched_nms(boxes[row].detach(), scores[row, label], label, 0.3)
        return Detections(boxes[row][kept].float(), scores[row, label][kept].float(), label[kept])

    @torch.no_grad()
    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        return self.select(self.candidates(images.float()), score_threshold)


def is_marked(images: Tensor) -> bool:
    return bool((images[:, :, 0, 0].sum(1) == 0).any())


class Raising(Toy):
    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        if is_marked(images):
            raise RuntimeError("out of cheese\nand of luck")
        return super().candidates(images, extra_boxes)


class Interrupted(Toy):
    """Where a file `interrupt` lies beside this one, as if Ctrl-C came then."""

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        if is_marked(images) and Path(__file__).with_name("interrupt").exists():
            raise KeyboardInterrupt
        return super().candidates(images, extra_boxes)


class LosingGradients(Toy):
    """Detects as ever, but its candidates are not finite."""

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        found = super().candidates(images, extra_boxes)
        lost = images.requires_grad and (images[:, :, 0, 0].sum(1) == 0)
        return replace(found, logits=torch.where(torch.as_tensor(lost).view(-1, 1, 1), torch.nan, found.logits))


class LosingEverything(Toy):
    """What it reports is empty where its scores are NaN, since NaN is above no threshold."""

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        found = super().candidates(images, extra_boxes)
        return replace(found, logits=found.logits * torch.nan if is_marked(images) else found.logits)


class LosingScores(Toy):
    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        (found,) = super().detect(images, score_threshold)
        return [Detections(found.boxes, found.scores * torch.nan if is_marked(images) else found.scores, found.labels)]


class Uneven(Toy):
    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        (found,) = super().detect(images, score_threshold)
        return [Detections(found.boxes[:0] if is_marked(images) else found.boxes, found.scores, found.labels)]


class Stated(Toy):
    """Has a model card, and that is too modest."""

    expected_ap = 0.5


class Chatty(Toy):
    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        print("thinking")
        return super().detect(images, score_threshold)


class Slow(Toy):
    """Where a file `wait` lies beside this one, says that it is at work, so that it can be interrupted there."""

    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        if is_marked(images) and Path(__file__).with_name("wait").exists():
            print("working", flush=True)
            time.sleep(60)
        return super().detect(images, score_threshold)


class Deadly(Toy):
    """Takes its process with it."""

    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        if is_marked(images):
            os._exit(1)
        return super().detect(images, score_threshold)


class Registered(Toy):
    """Takes its time, and leaves a file beside this one that is named after its process, so that it can be killed."""

    def __init__(self, device: str):
        super().__init__(device)
        Path(__file__).with_name(f"process-{os.getpid()}").touch()

    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        time.sleep(0.1)
        return super().detect(images, score_threshold)


factory = Toy
raising, interrupted, losing_gradients, losing_scores = Raising, Interrupted, LosingGradients, LosingScores
losing_everything = LosingEverything
uneven, stated, chatty, slow = Uneven, Stated, Chatty, Slow
deadly, registered = Deadly, Registered
