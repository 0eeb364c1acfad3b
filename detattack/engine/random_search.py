"""`square`: a random search in L∞ that asks the model for its answers alone, never for a gradient.

After the Square Attack (Andriushchenko et al., ECCV 2020), its L∞ version: the change is ±radius everywhere, first in
vertical stripes of random sign, or those signs that the image has that it begins at. Each iteration sets one square, at
a random place, to one sign in each channel, and is kept where the answer is more harmful. The share of the image that a
square covers falls with the iterations.

It finds what a gradient that leads nowhere hides: a model that resists the attacks by gradients, and not this one, is
not robust but masked.
"""

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Protocol

import torch
from torch import Tensor

from detattack.core.errors import InputError
from detattack.core.types import WHOLLY_WRONG
from detattack.engine.presets import Attack
from detattack.engine.quantize import as_file, within_radius
from detattack.engine.state import AttackResult, Trace, checks, confined

FIRST_SHARE = 0.1
"""Of the image that the first squares cover."""
HALVED_AT = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of the iterations from which on a square is half as large, as in the paper."""


class Answers(Protocol):
    """What tells, by the model's official inference alone, what an image does."""

    def answer(self, image: Tensor, index: int) -> tuple[float, bool]:
        """Return the harm of an image `[3,H,W]`, the larger the worse, and whether the goal holds."""


def run_random_search(
    attack: Attack,
    images: Tensor,
    objective: Answers,
    seeds: Sequence[int],
    starts: Tensor | None = None,
    where: Tensor | None = None,
) -> AttackResult:
    """Search around each image of a batch, one after the other.

    - attack: its `radius`, `levels` and `max_iterations`, the number of answers that an image may take; `stop`: at the
      `first` success, or the `worst` image of all answers
    - images: `[N,3,H,W]` in [0,1]
    - objective: answers
    - seeds: of each image's own randomness
    - starts: `[N,3,H,W]`, looked at first; None: the images
    - where: bool `[N,1,H,W]`, the pixels that may change; None: all

    Raises `InputError` for an objective that does not answer, and for an attack without a radius in L∞.
    """
    if not hasattr(objective, "answer"):
        raise InputError(f"method {attack.name}: goes with detectors")
    if attack.radius is None or attack.norm != "linf":
        raise InputError(f"method {attack.name}: needs a radius in L∞")
    begun = images if starts is None else starts
    found = [
        _search(attack, image, start, objective, row, seed, None if where is None else where[row])
        for row, (image, start, seed) in enumerate(zip(images, begun, seeds, strict=True))
    ]
    best, success, first, answers = zip(*found, strict=True)
    stacked = torch.stack(best)
    return AttackResult(
        images=stacked,
        success=torch.tensor(success),
        finite=torch.ones(len(images), dtype=torch.bool),
        first_iteration=torch.tensor(first),
        first_images=stacked,
        forwards=torch.tensor(answers) * checks(objective),
        backwards=torch.zeros(len(images), dtype=torch.long),
        trace=Trace(*[torch.empty(0, len(images))] * len(fields(Trace))),
    )


@torch.no_grad()
def _search(
    attack: Attack,
    image: Tensor,
    start: Tensor,
    objective: Answers,
    row: int,
    seed: int,
    where: Tensor | None,
) -> tuple[Tensor, bool, int, int]:
    """Search around one image; the worst that was met, whether it is a success, its iteration, and answers taken.

    The iteration is −1 where a success was looked for in vain.
    """
    generator = torch.Generator().manual_seed(seed)
    best = as_file(start, attack.levels)
    most, holds = objective.answer(best, row)
    found_at, within = 0, _bounds(image, where)
    signs = torch.where(start != image, (start - image).sign(), _stripes(image, generator))
    here = -math.inf  # the image itself, or the start, may do more harm than the first of these signs do
    if attack.stop == "worst" and most >= WHOLLY_WRONG:
        return best, holds, found_at, 1
    for number in range(1, attack.max_iterations):
        if holds and attack.stop != "worst":
            return best, holds, found_at, number
        tried = signs if number == 1 else _with_square(signs, number / attack.max_iterations, generator, within)
        seen = confined(_changed(attack, image, tried), image, where)
        harm, reached = objective.answer(seen, row)
        if harm > here:
            here, signs = harm, tried
        if (reached, harm) > (holds, most) if attack.stop != "worst" else harm > most:
            most, holds, found_at, best = harm, reached, number, seen
    return best, holds, found_at if holds or attack.stop == "worst" else -1, attack.max_iterations


def _stripes(image: Tensor, generator: torch.Generator) -> Tensor:
    """Draw vertical stripes of random sign, `[3,H,W]`."""
    channels, height, width = image.shape
    return _signs((channels, 1, width), generator).to(image).expand(channels, height, width)


def _bounds(image: Tensor, where: Tensor | None) -> tuple[int, int, int, int]:
    """Return top, left, height and width of what may change of `[3,H,W]`."""
    if where is None:
        return 0, 0, image.shape[1], image.shape[2]
    rows, columns = where[0].any(1).nonzero(), where[0].any(0).nonzero()
    top, left = int(rows.min()), int(columns.min())
    return top, left, int(rows.max()) + 1 - top, int(columns.max()) + 1 - left


def _with_square(signs: Tensor, done: float, generator: torch.Generator, within: tuple[int, int, int, int]) -> Tensor:
    """Set one square to one sign in each channel.

    - done: share of the iterations that are made
    - within: top, left, height and width of where squares are drawn
    """
    channels, (first, start, height, width) = len(signs), within
    share = FIRST_SHARE / 2 ** sum(done > at for at in HALVED_AT)
    side = min(max(1, round((share * height * width) ** 0.5)), height, width)
    down, right = (int(torch.randint(most - side + 1, (), generator=generator)) for most in (height, width))
    top, left = first + down, start + right
    changed = signs.clone()
    changed[:, top : top + side, left : left + side] = _signs((channels, 1, 1), generator).to(signs)
    return changed


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, shape, generator=generator) * 2.0 - 1.0


def _changed(attack: Attack, image: Tensor, signs: Tensor) -> Tensor:
    """Apply a change of the radius, within what a file can hold."""
    assert attack.radius is not None
    changed = within_radius(image + attack.radius * signs, image, attack.radius, attack.levels)
    return as_file(changed.clamp(0, 1), attack.levels)
