"""The control: random noise with no idea of the model."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from detattack.engine.loop import run
from detattack.engine.presets import Attack
from detattack.engine.quantize import as_file
from detattack.engine.state import AttackResult, Objective, Trace

TRIALS = 40


def noise_of_length(original: Tensor, length: float, seed: int, levels: int | None) -> Tensor:
    """`original` `[3,H,W]` plus Gaussian noise whose L2, clamped and rounded to `levels`, is about `length`.

    Rounding swallows faint noise, so the scale is found by bisection on the rounded image; the result is the
    image whose distance comes nearest from above, hence never an easier control than asked.
    """
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(original.shape, generator=generator).to(original)
    direction = direction / direction.norm()

    def noisy(scale: float) -> Tensor:
        return as_file((original + scale * direction).clamp(0, 1), levels)

    low, high = 0.0, max(length, 1e-6)
    limit = 2 * float(original.numel()) ** 0.5
    while (noisy(high) - original).norm() < length and high < limit:
        low, high = high, 2 * high
    for _ in range(TRIALS):
        middle = (low + high) / 2
        if (noisy(middle) - original).norm() < length:
            low = middle
        else:
            high = middle
    return noisy(high)


def run_control(
    attack: Attack,
    images: Tensor,
    objective: Objective,
    lengths: Sequence[float | None],
    seeds: Sequence[int],
    reference: Attack,
    active: int | None = None,
) -> AttackResult:
    """Random noise for images `[N,3,H,W]`, each of the L2 in `lengths`, judged once.

    Where a length is None, it is what `reference` needs on the image, at the control's levels and `active` images at a
    time; what it costs to find that is not the control's.
    """
    unknown = [row for row, length in enumerate(lengths) if length is None]
    if unknown:
        some, of_some = images[unknown], [seeds[row] for row in unknown]
        part = _Part(objective, torch.tensor(unknown))
        found = run(replace(reference, levels=attack.levels), some, part, active, of_some)
        needed = (found.images - some).flatten(1).norm(dim=1).tolist()
        lengths = [needed.pop(0) if length is None else length for length in lengths]
    noisy = torch.stack(
        [
            noise_of_length(image, length or 0.0, seed, attack.levels)
            for image, length, seed in zip(images, lengths, seeds, strict=True)
        ]
    )
    success = torch.tensor([objective.confirm(image, row) for row, image in enumerate(noisy)])
    ones = torch.ones(len(images), dtype=torch.long)
    return AttackResult(
        images=noisy,
        first_images=noisy,
        success=success,
        first_iteration=torch.where(success, 1, -1),
        finite=torch.ones_like(success),
        forwards=ones,
        backwards=0 * ones,
        trace=Trace(*[torch.empty(0, len(images))] * len(fields(Trace))),
    )


class _Part:
    """An objective of some images of a batch: of `rows`."""

    def __init__(self, objective: Objective, rows: Tensor):
        self._objective, self._rows = objective, rows

    def __call__(self, images: Tensor, index: Tensor) -> Any:
        return self._objective(images, self._rows[index])

    def confirm(self, image: Tensor, index: int) -> bool:
        return self._objective.confirm(image, int(self._rows[index]))
