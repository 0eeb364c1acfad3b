"""Check the input gradient of an adapter's candidates.

A loss is followed along a walk: its value and its gradient are computed at each point, and between two points the
mean of their gradients, times the step, must be the change of the loss. This trapezoid rule allows steps that are
long enough for a network behind a resize to 8 bits, whose output is flat within a gray level and jumps between two;
a finite difference around one point does not. The steps go along the gradient itself, one color channel at a time,
where the change is largest; pixels without any gradient are changed on their own.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from detattack.core.boxes import iou
from detattack.core.types import Candidates
from detattack.detectors.base import Detector
from detattack.detectors.check.findings import Failed

LENGTHS = (0.1, 0.3, 1.0, 3.0, 0.01)
"""Lengths of the steps, in the L2 of the image, tried one after the other: long ones leave the range where a network
is nearly linear, short ones drown in the jumps of the places that a first stage proposes, and the shortest ones, for
deep networks that bend quickly, in a resize to 8 bits."""
SPARSE = 0.1
"""Shorter steps of whole gray levels change the values with the largest gradient, by one level each; longer ones change
all values at random, which by itself moves an image by more than that."""
STEPS = 6
"""Steps of each walk."""
CORNERS = ((0.25, 0.25), (0.75, 0.75), (0.75, 0.25), (0.25, 0.75))
WINDOW = 0.2
"""Centers and standard deviation of the windows in which the best candidate is looked for, in shares of the sides."""
SMOOTH, JUMPING = (1.25, 0.9), (2.5, 0.6)
"""By what factor the changes may differ from those that the gradient predicts, and their least cosine: where the
places of the candidates move smoothly, and where they jump. In models with a first stage (Faster R-CNN, RT-DETR) they
jump without a gradient, so that the gradient can only be judged over all channels and all lengths together."""
CHANNEL = 0.2
"""Least cosine of each color channel, where all are judged together."""
JUMPED = 0.02
"""Share of the candidates that must lie elsewhere after a step to count as a jump."""
BLIND_SHARE, BLIND_LEVELS, BLIND_TRIES = 0.02, 8, 6
"""Share of the values without a gradient from which on these are tried, by noise of so many gray levels, how often."""
BLIND_INFLUENCE = (0.4, 0.8)
"""How much they may matter, compared to the others: smooth and jumping as above."""


@dataclass(frozen=True, eq=False)
class _Point:
    """A point of a walk: an image, the loss there, its gradient, and the boxes of the candidates."""

    image: Tensor
    loss: float
    gradient: Tensor
    boxes: Tensor


@dataclass(frozen=True, eq=False)
class _Changes:
    """Changes of the loss along the steps of one color channel, divided by the lengths of the steps.

    - predicted: By the gradient.
    - real: As they are.
    """

    predicted: Tensor
    real: Tensor

    def factor(self) -> float:
        """Return the factor of the least-squares fit of the real changes by the predicted ones."""
        return float(self.predicted @ self.real / self.predicted.square().sum())

    def cosine(self) -> float:
        """Return the cosine between real and predicted changes."""
        return float(self.predicted @ self.real / (self.predicted.norm() * self.real.norm()))


def check_gradient(detector: Detector, files: Tensor, floats: Tensor, seed: int = 0) -> str:
    """Check the gradient of a detector's candidates, and return its figures. Raises `Failed`.

    - detector: The adapter to check.
    - files: Image `[1,3,H,W]` that is followed through 8-bit images, as files are.
    - floats: Image `[1,3,H,W]` that is followed between 8-bit levels, as an attack on floats goes.
    - seed: Seed of the choice of steps.
    """
    generator = torch.Generator().manual_seed(seed)
    walks: list[list[_Point]] = []
    failure = ""
    for length in LENGTHS:
        walks += [_walk(detector, files, length, True, generator), _walk(detector, floats, length, False, generator)]
        jumps = any(_jumped(a.boxes, b.boxes) for walk in walks[-2:] for a, b in pairwise(walk))
        if length == LENGTHS[0]:
            norm = float(walks[0][0].gradient.norm())
            _demand_influence(detector, walks[1], jumps, generator)
        factor, cosine = JUMPING if jumps else SMOOTH
        channels = [_changes(walks if jumps else walks[-2:], channel) for channel in range(3)]
        channels = [one for one in channels if one.predicted.any()]
        judged = [_together(channels)] if jumps else channels
        said = f"changes are {_range(judged)} times those that it predicts, in steps of {length:g}"
        right = all(1 / factor <= one.factor() <= factor and one.cosine() >= cosine for one in judged)
        if right and all(one.cosine() >= CHANNEL for one in channels):
            return f"norm {norm:.2g}; {said}{', with places that jump' if jumps else ''}"
        failure = failure or f"norm {norm:.2g}; off by a factor: {said}, nor do steps of other lengths agree"
    raise Failed(failure)


def _together(channels: list[_Changes]) -> _Changes:
    return _Changes(torch.cat([one.predicted for one in channels]), torch.cat([one.real for one in channels]))


def _range(channels: list[_Changes]) -> str:
    factors = [one.factor() for one in channels]
    return f"{min(factors):.2f} to {max(factors):.2f}"


def _walk(
    detector: Detector, image: Tensor, length: float, whole_levels: bool, generator: torch.Generator
) -> list[_Point]:
    """Walk up and down the gradient, at half of the image's patches each step, one channel after the other."""
    if not whole_levels:
        image = image + (_uniform(image, generator) - 0.5) / 255
    points = [_point(detector, image)]
    for step in range(STEPS):
        patches = torch.rand(1, 1, 8, 8, generator=generator).round().to(image.device)
        along = torch.zeros_like(image)
        channel = step % 3
        along[:, channel] = (points[-1].gradient * F.interpolate(patches, image.shape[-2:]))[:, channel]
        along *= length * (-1) ** (step // 3) / along.norm().clamp_min(torch.finfo(along.dtype).tiny)
        if whole_levels:
            levels = _largest(along, length) if length < SPARSE else (along * 255 + _uniform(image, generator)).floor()
            image = ((image + levels / 255).clamp(0, 1) * 255).round() / 255
        else:
            image = image + along
        points.append(_point(detector, image))
    return points


def _largest(along: Tensor, length: float) -> Tensor:
    """Return steps of one gray level, -1, 0 or 1, at the largest values of `along`, of that L2 length in all."""
    count = max(1, min(round((length * 255) ** 2), along.numel()))
    least = along.abs().flatten().topk(count).values[-1]
    return torch.where(along.abs() >= least, along.sign(), 0)


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(like.shape, generator=generator).to(like.device)


def _point(detector: Detector, image: Tensor) -> _Point:
    seen = image.clone().requires_grad_()
    candidates = detector.candidates(seen)
    loss = _soft_best(candidates, seen)
    gradient = torch.autograd.grad(loss, seen, allow_unused=True)[0] if loss.requires_grad else None
    if gradient is None:
        raise Failed("none: the candidates do not depend on the image in a way that can be differentiated")
    if not (gradient.isfinite().all() and loss.isfinite()):
        raise Failed("not finite")
    if not gradient.any():
        raise Failed("zero everywhere")
    boxes = candidates.boxes.detach()[0].cpu().double()
    return _Point(image, float(loss.detach()), gradient, boxes[:, 0] if boxes.dim() == 3 else boxes)


def _soft_best(candidates: Candidates, image: Tensor) -> Tensor:
    """Return a smooth measure of the best candidate, its place and its score, in each of four overlapping windows.

    It does not depend on the order of the candidates.
    """
    logits = candidates.logits.cpu().double()  # on the CPU first: MPS has no float64
    boxes = (candidates.boxes if candidates.boxes.dim() == 4 else candidates.boxes[:, :, None]).cpu().double()
    if candidates.valid is not None:
        logits = logits.masked_fill(~candidates.valid.cpu()[..., None], -torch.inf)
    centers = (boxes[..., :2] + boxes[..., 2:]) / 2 / boxes.new_tensor([image.shape[-1], image.shape[-2]])
    best = [
        (logits - (centers - centers.new_tensor(corner)).square().sum(-1) / (2 * WINDOW**2)).logsumexp((1, 2))
        for corner in CORNERS
    ]
    return torch.cat(best).sum()


def _changes(walks: list[list[_Point]], channel: int) -> _Changes:
    steps = [step for walk in walks for step in list(pairwise(walk))[channel::3]]
    lengths = torch.stack([(b.image - a.image).norm().cpu().double() for a, b in steps]).clamp_min(1e-9)
    predicted = [((a.gradient + b.gradient) / 2 * (b.image - a.image)).cpu().double().sum() for a, b in steps]
    real = torch.tensor([b.loss - a.loss for a, b in steps], dtype=torch.float64)
    return _Changes(torch.stack(predicted) / lengths, real / lengths)


def _jumped(before: Tensor, after: Tensor) -> bool:
    """Tell whether some of the candidates' boxes `[A,4]` lie elsewhere after a step."""
    if before.shape != after.shape:
        return True
    return float((iou(before, after) < 0.5).cpu().double().mean()) > JUMPED


@torch.no_grad()
def _demand_influence(detector: Detector, walk: list[_Point], jumps: bool, generator: torch.Generator) -> None:
    """Demand that values of the image without any gradient matter less than those that have one."""
    blind = torch.stack([point.gradient == 0 for point in walk]).all(0)
    share = float(blind.cpu().double().mean())
    if share < BLIND_SHARE:
        return
    start = walk[0]
    influence = []
    for where, part in ((blind, share), (~blind, 1 - share)):
        changes = []
        for _ in range(BLIND_TRIES):
            noise = F.interpolate(torch.randn(1, 3, 8, 8, generator=generator), blind.shape[-2:]).to(blind.device)
            changed = torch.where(where, start.image + noise * BLIND_LEVELS / 255, start.image)
            changes.append(float(_soft_best(detector.candidates(changed), changed)) - start.loss)
        influence.append(float(torch.tensor(changes).square().mean().sqrt()) / part**0.5)
    if influence[0] > BLIND_INFLUENCE[jumps] * influence[1]:
        raise Failed(f"none at {share:.0%} of the image's values, though the candidates depend on them as on others")
