"""Attacks that hold untouched and after corruptions: the objective of all variants, and the judgement of the file.

No attack knows of it. An objective evaluates the image and each corrupted variant of it in one batch; a success is one
of all of them. Where a corruption has a range or is random, each iteration draws one of a pool; what is judged in the
end is drawn anew.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detattack.core.types import Evaluation
from detattack.datasets.corruptions import UNCORRUPTED, Corruption
from detattack.datasets.corruptions.differentiable import corrupted
from detattack.datasets.image_io import to_pixels, to_tensor
from detattack.engine.state import checks, confirmations
from detattack.tasks.base import C, M, Prepared, R, Task

Pool = tuple[Corruption, ...]
DRAWN = 16
"""Draws of a corruption that varies which the iterations take from, beside the ends of its range."""
CONFIRMED = 4
"""The first of those, the ends among them, that a success is confirmed by."""
JUDGED = 4
"""Draws that the finished image is judged by: none of the pool."""
_LOOP, _JUDGE = 1, 2


def robust_objective(
    task: Task[R, C, M], model: M, config: C, prepared: Sequence[Prepared[R]], seeds: Sequence[int]
) -> Any:
    """Make the objective of a task that holds after the corruptions of a config, too; its own where there are none.

    seeds: of each image's draws.
    """
    if not config.corruptions:
        return task.objective(model, config, prepared)
    pools = [[(UNCORRUPTED,), *(_pool(one, seed, j) for j, one in enumerate(config.corruptions))] for seed in seeds]
    variants = [
        replace(one, record=task.moved(one.record, corruption))
        for one, pool in zip(prepared, pools, strict=True)
        for corruption in chain(*pool)
    ]
    base = task.objective(model, config, variants)
    kind = RobustMargins if hasattr(base, "margins") else RobustAnswers if hasattr(base, "answer") else RobustObjective
    return kind(base, pools, seeds)


def survived(task: Task[R, C, M], model: M, config: C, record: R, image: Tensor) -> dict[str, bool]:
    """Tell for each corruption of a config whether the goal of a record holds for `[3,H,W]` after it."""
    pixels = to_pixels(image)
    return {
        str(corruption): all(
            task.holds(model, config, task.moved(record, one), to_tensor(one(pixels)))
            for one in _judged(corruption, config.seed, record.id)
        )
        for corruption in config.corruptions
    }


def after_corruptions(record: R, survives: Mapping[str, bool]) -> R:
    """Note in a record what its goal holds after. A success is one after all."""
    lost = [name for name, holds in survives.items() if not holds]
    record = replace(record, survives=dict(survives), file_success=record.file_success and not lost)
    if record.status != "success" or not lost:
        return record
    return replace(record, status="failure", reason=f"the goal does not hold after {', '.join(lost)}")


def _pool(corruption: Corruption, seed: int, number: int) -> Pool:
    """List what the iterations see of the corruption of a number: itself, or ends and draws."""
    if not corruption.varies:
        return (corruption,)
    return (*corruption.ends(), *(corruption.drawn(_LOOP, seed, number, k) for k in range(DRAWN)))


def _judged(corruption: Corruption, seed: int, image_id: int) -> Pool:
    """List what a finished image is judged by."""
    if not corruption.varies:
        return (corruption,)
    return tuple(corruption.drawn(_JUDGE, seed, image_id, k) for k in range(JUDGED))


class RobustObjective:
    """An objective that is met where another is, by the image and by each corrupted variant of it.

    - base: the objective of all that is in the pools: those of the first image in their order, then of the second
    - pools: of each image, one for each variant, from which an iteration takes one; of the same lengths for all images
    - seeds: of each image's choices
    """

    def __init__(self, base: Any, pools: Sequence[Sequence[Pool]], seeds: Sequence[int]) -> None:
        self.base = base
        self._corruptions = [list(chain(*pool)) for pool in pools]
        ends = list(accumulate(map(len, pools[0]), initial=0))
        self._places = [range(start, end) for start, end in pairwise(ends)]
        self._choices = [np.random.default_rng((_LOOP, seed)) for seed in seeds]
        self.checks = sum(len(places[:CONFIRMED]) for places in self._places) * checks(base)

    @property
    def members(self) -> Sequence[str]:
        """The losses that `ensemble` takes one by one."""
        names: Sequence[str] = self.base.members
        return names

    @property
    def reserve(self) -> Sequence[str]:
        """Those of them that wait."""
        names: Sequence[str] = self.base.reserve
        return names

    def __call__(self, images: Tensor, index: Tensor, members: Sequence[int] | None = None) -> Evaluation:
        """Evaluate images `[n,3,H,W]`, those at `index`: the sum of losses, and success where all succeed."""
        variants, rows = self._variants(images, index)
        more = () if members is None else (list(members) * len(self._places),)
        return self._joined(self.base(variants, rows, *more))

    def confirm(self, image: Tensor, index: int) -> bool:
        """Whether the goal holds for `[3,H,W]` and for each variant, by the official inference."""
        return all(self.confirmations(image, index))

    def confirmations(self, image: Tensor, index: int) -> Iterator[bool]:
        """Yield what each forward pass says of `[3,H,W]` and its variants."""
        for variant, row in self._confirming(image, index):
            yield from confirmations(self.base, variant, row)

    def _variants(self, images: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Corrupt images: all of them untouched, then all by the first corruption, …; with their rows in the base."""
        chosen = [[self._choices[row].choice(places) for places in self._places] for row in index.tolist()]
        found, rows = [], []
        for variant in range(len(self._places)):
            for i, row in enumerate(index.tolist()):
                place = chosen[i][variant]
                found.append(corrupted(images[i : i + 1], self._corruptions[row][place]))
                rows.append(row * len(self._corruptions[row]) + place)
        return torch.cat(found), torch.tensor(rows)

    def _confirming(self, image: Tensor, index: int) -> Iterator[tuple[Tensor, int]]:
        """Yield the variants of `[3,H,W]` that confirm a success, and their rows in the base."""
        corruptions = self._corruptions[index]
        for place in chain(*(places[:CONFIRMED] for places in self._places)):
            yield corrupted(image[None], corruptions[place])[0], index * len(corruptions) + place

    def _joined(self, found: Evaluation) -> Evaluation:
        """Join the evaluations of all variants of each image; the confidence is that of the greatest loss."""
        count = len(self._places)
        loss, success, confidence = (values.unflatten(0, (count, -1)) for values in found[:3])
        images = loss.shape[1]
        return Evaluation(
            loss=loss.sum(0),
            success=success.all(0),
            confidence=confidence.gather(0, loss.detach().argmax(0, keepdim=True))[0],
            agrees=lambda i: all(found.agrees(i + variant * images) for variant in range(count)),
            harm=lambda: found.worst_is().unflatten(0, (count, -1)).amin(0),
            passes=count * found.passes,
            margin=None if found.margin is None else found.margin.unflatten(0, (count, -1)).amax(0),
        )


class RobustAnswers(RobustObjective):
    """The same for an objective that answers without a gradient."""

    def answer(self, image: Tensor, index: int) -> tuple[float, bool]:
        """Tell the least harm of `[3,H,W]` and its variants, and whether the goal holds for all."""
        told = [self.base.answer(variant, row) for variant, row in self._confirming(image, index)]
        return min(harm for harm, _ in told), all(holds for _, holds in told)


class RobustMargins(RobustObjective):
    """The same for an objective with a margin of each class."""

    def margins(self, images: Tensor, index: Tensor) -> tuple[Tensor, Evaluation]:
        """Compute `[n,C]`: for each class the margin of the variant that is the farthest from it."""
        margins, evaluation = self.base.margins(*self._variants(images, index))
        return margins.unflatten(0, (len(self._places), -1)).amin(0), self._joined(evaluation)
