"""The control: random noise that knows nothing of the model."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from detattack.engine.listening import listening
from detattack.engine.loop import run
from detattack.engine.presets import Attack
from detattack.engine.quantize import as_file
from detattack.engine.state import AttackResult, Objective, Trace, verdict

TRIALS = 40
"""Bisections of the scale of the noise."""


def noise_of_l2(
    original: Tensor, target_l2: float, seed: int, levels: int | None, where: Tensor | None = None
) -> Tensor:
    """Add Gaussian noise to an image whose L2, after clamping and rounding, is about `target_l2`.

    - original: `[3,H,W]` in [0,1]
    - target_l2: in [0,1] units
    - seed: of the noise
    - levels: number of gray levels; None: floats
    - where: bool `[1,H,W]`, the pixels that may change; None: all

    Rounding removes faint noise, so the scale is found by bisection on the rounded image. The result is the image with
    the smallest L2 not below the target, so the control is never easier than asked.
    """
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(original.shape, generator=generator).to(original)
    direction = direction if where is None else direction * where
    direction = direction / direction.norm()

    def noisy(scale: float) -> Tensor:
        return as_file((original + scale * direction).clamp(0, 1), levels)

    low, high = 0.0, max(target_l2, 1e-6)
    limit = 2 * float(original.numel()) ** 0.5
    while (noisy(high) - original).norm() < target_l2 and high < limit:
        low, high = high, 2 * high
    for _ in range(TRIALS):
        middle = (low + high) / 2
        if (noisy(middle) - original).norm() < target_l2:
            low = middle
        else:
            high = middle
    return noisy(high)


def run_control(
    attack: Attack,
    images: Tensor,
    objective: Objective,
    target_l2: Sequence[float | None],
    seeds: Sequence[int],
    reference: Attack,
    active: int | None = None,
    where: Tensor | None = None,
) -> AttackResult:
    """Add random noise to a batch of images and judge each once.

    - attack: the control; its `levels` count
    - images: `[N,3,H,W]` in [0,1]
    - objective: judges the result
    - target_l2: the L2 of each image's noise; None where it is not known: what `reference` needs on the image, at the
      control's levels. The passes that find it are not counted as the control's
    - seeds: of each image's noise
    - reference: the attack that finds an unknown L2
    - active: how many images the reference attacks at a time; None: all
    - where: bool `[N,1,H,W]`, the pixels that may change; None: all
    """
    needed_l2 = _needed_l2(attack, images, objective, target_l2, seeds, reference, active, where)
    places = [None] * len(images) if where is None else list(where)
    noisy = torch.stack(
        [
            noise_of_l2(image, l2, seed, attack.levels, place)
            for image, l2, seed, place in zip(images, needed_l2, seeds, places, strict=True)
        ]
    )
    holds, passes = zip(*(verdict(objective, image, row) for row, image in enumerate(noisy)), strict=True)
    success, forwards = torch.tensor(holds), torch.tensor(passes)
    return AttackResult(
        images=noisy,
        first_images=noisy,
        success=success,
        first_iteration=torch.where(success, 1, -1),
        finite=torch.ones_like(success),
        forwards=forwards,
        backwards=torch.zeros_like(forwards),
        trace=Trace(*[torch.empty(0, len(images))] * len(fields(Trace))),
    )


def _needed_l2(
    attack: Attack,
    images: Tensor,
    objective: Objective,
    target_l2: Sequence[float | None],
    seeds: Sequence[int],
    reference: Attack,
    active: int | None,
    where: Tensor | None,
) -> list[float]:
    """Replace each unknown L2 by what `reference` needs on the image. Parameters as in `run_control`."""
    unknown = [row for row, l2 in enumerate(target_l2) if l2 is None]
    found: list[float] = []
    if unknown:
        some, of_some = images[unknown], [seeds[row] for row in unknown]
        part = _Part(objective, torch.tensor(unknown))
        places = None if where is None else where[unknown]
        with listening(None):  # it is not the control's own
            result = run(replace(reference, levels=attack.levels), some, part, active, of_some, where=places)
        found = (result.images - some).flatten(1).norm(dim=1).tolist()
    return [found.pop(0) if l2 is None else l2 for l2 in target_l2]


class _Part:
    """The objective of some images of a batch: those at `rows`."""

    def __init__(self, objective: Objective, rows: Tensor) -> None:
        self._objective, self._rows = objective, rows

    def __call__(self, images: Tensor, index: Tensor) -> Any:
        return self._objective(images, self._rows[index])

    def confirm(self, image: Tensor, index: int) -> bool:
        return self._objective.confirm(image, int(self._rows[index]))
