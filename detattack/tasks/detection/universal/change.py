"""What one change is, and how it goes onto any image: a perturbation all over it, or a patch on each object.

The values that are searched are a tensor apart; a change says what they may be and what they do to an image.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from detattack.core.boxes import Box
from detattack.engine.budget import GRAY_LEVELS, Budget

SIZES, BRIGHTNESS = (0.8, 1.25), (0.8, 1.2)
"""Factors of a patch's side and of its values, from which training draws."""
DEGREES, OFFSET = 15.0, 0.1
"""How far training turns a patch, either way, and moves it, as a share of the object's sides."""


@dataclass(frozen=True)
class Perturbation:
    """A square tile of values that is repeated over an image, from its upper left corner on, and added to it.

    So it fits images of any size, and what a small tile learns at one place serves at all others: detectors see alike
    everywhere. A tile as large as the images has values of its own for each of their places. Under `linf` the values
    are the change itself, as large as `bound` at most. Under `l2` and `rms` they are its direction: on each image the
    change has the length of the budget.

    - budget: the bound of each image's change
    - side: of the tile in pixels
    """

    kind: ClassVar[str] = "perturbation"
    budget: Budget
    side: int

    @property
    def bound(self) -> float:
        """The largest value under `linf`: the budget rounded down to whole gray levels, as files hold no others."""
        return math.floor(self.budget.size + 1e-6) / GRAY_LEVELS

    @property
    def vanishes(self) -> bool:
        """Whether the budget is below one gray level, so that no file can hold the change."""
        return not self.bound if self.budget.norm == "linf" else self.budget.needs_floats

    @property
    def rate(self) -> float:
        """How far the first steps move a value."""
        return (self.bound if self.budget.norm == "linf" else 1.0) / 4

    def start(self) -> Tensor:
        """Return `[3,side,side]`: no change, or a random direction."""
        if self.budget.norm == "linf":
            return torch.zeros(3, self.side, self.side)
        return self.noise(torch.Generator().manual_seed(0))

    def noise(self, generator: torch.Generator) -> Tensor:
        """Return noise `[3,side,side]` of the same size: random signs of the bound, or a random direction."""
        values = torch.randn(3, self.side, self.side, generator=generator)
        return values.sign() * self.bound if self.budget.norm == "linf" else self.bounded(values)

    def bounded(self, values: Tensor) -> Tensor:
        """Bring values into the budget; of a direction, to a root mean square of 1."""
        if self.budget.norm == "linf":
            return values.clamp(-self.bound, self.bound)
        return values / values.square().mean().sqrt().clamp_min(1e-12)

    def put_on(
        self, values: Tensor, image: Tensor, boxes: Sequence[Box], generator: torch.Generator | None = None
    ) -> Tensor:
        """Add the tile to an image `[3,H,W]`, clipped to [0,1]; differentiable to the values. No boxes, no draws."""
        height, width = image.shape[-2:]
        change = values.repeat(1, -(-height // self.side), -(-width // self.side))[:, :height, :width]
        if self.budget.norm != "linf":
            count = change.numel() if self.budget.norm == "rms" else 1
            change = change * (self.budget.radius * count**0.5 / change.norm().clamp_min(1e-12))
        return (image + change).clamp(0, 1)

    def picture(self, values: Tensor) -> Tensor:
        """Return the values for the eye, `[3,side,side]` in [0,1]: no change is gray, the largest black or white."""
        return 0.5 + values / (2 * values.abs().max().clamp_min(1e-12))


@dataclass(frozen=True)
class Patch:
    """A square picture that is put onto the middle of objects, upright.

    - side: of the picture in pixels
    - share: of the area of an object's box that it covers there
    """

    kind: ClassVar[str] = "patch"
    side: int
    share: float
    rate: ClassVar[float] = 0.05
    """How far the first steps move a value."""

    def start(self) -> Tensor:
        """Return `[3,side,side]`: gray."""
        return torch.full((3, self.side, self.side), 0.5)

    def noise(self, generator: torch.Generator) -> Tensor:
        """Return a patch `[3,side,side]` of random values."""
        return torch.rand(3, self.side, self.side, generator=generator)

    def bounded(self, values: Tensor) -> Tensor:
        """Bring values into [0,1]."""
        return values.clamp(0, 1)

    def put_on(
        self, values: Tensor, image: Tensor, boxes: Sequence[Box], generator: torch.Generator | None = None
    ) -> Tensor:
        """Put the patch onto each object of an image `[3,H,W]`; differentiable to the values.

        - boxes: of the objects
        - generator: draws size, angle, brightness and place; None: the share itself, upright, as it is, in the middle
        """
        image = image.clone()
        for box in boxes:
            factor, degrees, light, across, down = _drawn(generator)
            x1, y1, x2, y2 = box
            side = max(1, round(factor * math.sqrt(self.share * (x2 - x1) * (y2 - y1))))
            center = (x1 + x2) / 2 + across * (x2 - x1), (y1 + y2) / 2 + down * (y2 - y1)
            _paste(image, *_turned((values * light).clamp(0, 1), side, degrees), center)
        return image

    def picture(self, values: Tensor) -> Tensor:
        """Return the patch itself."""
        return values


Change = Perturbation | Patch


def _drawn(generator: torch.Generator | None) -> tuple[float, float, float, float, float]:
    """Draw factor of the side, degrees, factor of the values, and the offset as shares of the box."""
    if generator is None:
        return 1.0, 0.0, 1.0, 0.0, 0.0
    ranges = (SIZES, (-DEGREES, DEGREES), BRIGHTNESS, (-OFFSET, OFFSET), (-OFFSET, OFFSET))
    shares = torch.rand(len(ranges), generator=generator).tolist()
    factor, degrees, light, across, down = (
        low + share * (high - low) for (low, high), share in zip(ranges, shares, strict=True)
    )
    return factor, degrees, light, across, down


def _turned(patch: Tensor, side: int, degrees: float) -> tuple[Tensor, Tensor]:
    """Return a patch `[3,S,S]` at a side in pixels and turned, `[3,T,T]`, and what of that it covers, `[1,T,T]`."""
    small = F.interpolate(patch[None], (side, side), mode="bilinear", align_corners=False, antialias=True)
    covered = torch.ones_like(small[:, :1])
    if degrees:
        angle, whole = math.radians(degrees), math.ceil(side * math.sqrt(2))
        scale = whole / side  # the turned square fits into the larger canvas
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        matrix = small.new_tensor([[[cos, -sin, 0.0], [sin, cos, 0.0]]])
        grid = F.affine_grid(matrix, [1, 1, whole, whole], align_corners=False)
        small, covered = (F.grid_sample(one, grid, align_corners=False) for one in (small, covered))
        small = small / covered.clamp_min(1e-6)  # the edge is no darker than the patch
    return small[0], covered[0]


def _paste(image: Tensor, patch: Tensor, covered: Tensor, center: tuple[float, float]) -> None:
    """Blend a patch `[3,T,T]` into an image `[3,H,W]` around a center (x, y), as far as it lies inside."""
    (height, width), side = image.shape[-2:], patch.shape[-1]
    left, top = round(center[0] - side / 2), round(center[1] - side / 2)
    rows, columns = slice(max(top, 0), min(top + side, height)), slice(max(left, 0), min(left + side, width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    inner = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    own, cover = patch[:, inner[0], inner[1]], covered[:, inner[0], inner[1]]
    image[:, rows, columns] = cover * own + (1 - cover) * image[:, rows, columns]
