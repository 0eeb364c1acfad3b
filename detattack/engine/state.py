"""Who says that an attack is done: the books of a batch, and the judgment of each iterate.

The engine never grades itself: an evaluation proposes a success, the objective's `confirm` (the model's official
inference, in float32, one image at a time, on the rounded image) decides it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from detattack.engine.perceptual import contrast_weights
from detattack.engine.presets import Attack


class Objective(Protocol):
    """What the loop minimizes, and who says when it is done."""

    def __call__(self, images: Tensor, index: Tensor) -> Any:
        """`loss [n]`, `success` bool `[n]` and `confidence [n]` of `images [n,3,H,W]`, the images `index [n]`
        of the batch, and `agrees(i)`. Success is a proposal, and stands where it agrees. `index` is on the host."""

    def confirm(self, image: Tensor, index: int) -> bool:
        """Whether the goal holds for one image `[3,H,W]`, by the model's official inference."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What was seen at each iteration, `[T,N]` each, NaN where an image no longer took part.

    loss and the four weighted cost terms add up to the cost of Eq. 2 (`loss` itself is unweighted);
    distance is the L2 of the image that the model saw, weighted where the attack is perceptual.
    """

    loss: Tensor
    loss_cost: Tensor
    l2_cost: Tensor
    range_cost: Tensor
    tv_cost: Tensor
    confidence: Tensor
    distance: Tensor


@dataclass(frozen=True, eq=False)
class AttackResult:
    """What an attack found for a batch of N images.

    images: `[N,3,H,W]`, the smallest success found, or the last iterate where there is none.
    All but the images and the trace is on the host.
    success: bool `[N]`, confirmed. finite: bool `[N]`, False where the model gave NaN or infinity.
    first_iteration: int `[N]`, K, −1 for never. first_images: x(K), or the last iterate.
    forwards, backwards: int `[N]`, passes that each image took part in, confirmations included.
    """

    images: Tensor
    success: Tensor
    finite: Tensor
    first_iteration: Tensor
    first_images: Tensor
    forwards: Tensor
    backwards: Tensor
    trace: Trace


class State:
    """The books of a group of images: which are being worked on, what has been found so far, and what it has cost.

    What decides how the loop goes on is kept on the host, the images on their device. rows, index: the images being
    worked on, on the host and on the device. numbers: the iteration that each image is at. healthy: False where a
    gradient was not finite. weights: `[N,1,H,W]`, of the distance; None: all 1. seeds: of each image's own randomness;
    None: 0 for each.
    """

    def __init__(
        self,
        originals: Tensor,
        active: int | None = None,
        perceptual: bool = False,
        seeds: Sequence[int] | None = None,
    ):
        count = len(originals)
        self.originals = originals
        self.weights = contrast_weights(originals) if perceptual else None
        self.seeds = [0] * count if seeds is None else seeds
        self.floats = originals.clone()
        self.best, self.first = originals.clone(), originals.clone()
        self.best_distance = torch.full((count,), torch.inf, dtype=originals.dtype)
        self.first_iteration = torch.full((count,), -1)
        self.finite = torch.ones(count, dtype=torch.bool)
        self.healthy = torch.ones(count, dtype=torch.bool, device=originals.device)
        self.numbers, self.forwards, self.backwards = torch.zeros(3, count, dtype=torch.long).unbind()
        self.trace: list[tuple[Tensor, Tensor, Tensor]] = []
        everything = torch.arange(count)
        self.rows, self.waiting = everything[:active], everything[len(everything[:active]) :]
        self.index = self.on_device(self.rows)

    def to_compare(self, images: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """`[n,3,H,W]` and their originals such that their L2 is the distance that counts."""
        originals = self.originals[index]
        if self.weights is None:
            return images, originals
        return self.weights[index] * images, self.weights[index] * originals

    def steepest(self, gradient: Tensor, index: Tensor) -> Tensor:
        """The direction `[n,3,H,W]` of steepest ascent under the distance that counts, from a gradient."""
        return gradient if self.weights is None else gradient / self.weights[index].square()

    def distance(self, image: Tensor, row: int) -> Tensor:
        """Of one image `[3,H,W]` from its original, on the host."""
        seen, original = self.to_compare(image[None], torch.tensor([row]))
        return (seen - original).norm().cpu()

    def on_device(self, values: Tensor) -> Tensor:
        """Values of the host where the images are."""
        return values.to(self.originals.device)

    def go_on(self, going_on: Tensor) -> None:
        """Those of `rows` at the places `going_on` go on to their next iteration; new images take the other places."""
        staying = self.rows[going_on]
        self.numbers[staying] += 1
        free = len(self.rows) - len(staying)
        self.rows, self.waiting = torch.cat((staying, self.waiting[:free])), self.waiting[free:]
        self.index = self.on_device(self.rows)

    def record(self, evaluation: Any, distance: Tensor, **terms: Tensor) -> None:
        """Notes what a forward pass over `rows` has shown. An attack without a cost has no terms."""
        self.forwards[self.rows] += 1
        nothing = torch.zeros_like(distance)
        values = {"loss": evaluation.loss, "confidence": evaluation.confidence, "distance": distance} | terms
        stacked = torch.stack([values.get(f.name, nothing).detach().to(distance) for f in fields(Trace)])
        self.trace.append((self.rows, self.numbers[self.rows], stacked))

    def keep(self, row: int, image: Tensor, distance: Tensor) -> None:
        """Notes a confirmed success that is smaller than all before."""
        if self.first_iteration[row] < 0:
            self.first_iteration[row] = self.numbers[row]
            self.first[row] = image
        self.best_distance[row] = distance
        self.best[row] = image

    def whole_trace(self) -> Trace:
        """The trace, by each image's own iterations."""
        shape = len(fields(Trace)), int(self.numbers.max()) + 1, len(self.originals)
        trace = self.originals.new_full(shape, torch.nan)
        for rows, numbers, values in self.trace:
            trace[:, numbers, rows] = values
        return Trace(*trace)


def judge(
    attack: Attack, objective: Objective, state: State, seen: Tensor, evaluation: Any, distance: Tensor
) -> tuple[Tensor, Tensor]:
    """Confirms what is proposed for the n images seen, at L2 `distance` `[n]` from their originals.

    Which of them go on, as places `[m]`, and whether each is a success, by the model's own post-processing and, where
    it is smaller than all before, confirmed, bool `[n]`; both on the host, which waits for the device here, once.
    """
    proposed = evaluation.success
    if attack.stop == "confidence":
        proposed = proposed & (evaluation.confidence >= attack.stop_confidence)
    finite = evaluation.loss.detach().isfinite() & state.healthy[state.index]
    finite, proposed, distance = torch.stack([v.to(distance) for v in (finite, proposed & finite, distance)]).cpu()
    state.finite[state.rows[finite == 0]] = False
    going_on = (finite == 1) & (state.numbers[state.rows] < attack.max_iterations)
    reached = torch.zeros_like(going_on)
    for i in proposed.nonzero().flatten().tolist():
        row, image = int(state.rows[i]), seen[i].detach()
        reached[i] = evaluation.agrees(i)
        if reached[i] and distance[i] < state.best_distance[row]:
            reached[i] = confirmed(objective, state, image, row)
            if reached[i]:
                state.keep(row, image, distance[i])
                going_on[i] &= attack.stop == "budget"
    return going_on.nonzero().flatten(), reached


def confirmed(objective: Objective, state: State, image: Tensor, row: int) -> bool:
    """Whether the goal holds for `[3,H,W]`; a forward pass, counted."""
    state.forwards[row] += 1
    with torch.no_grad():
        return bool(objective.confirm(image, row))


def confident(attack: Attack, objective: Objective, state: State, image: Tensor, row: int) -> bool:
    """Whether the confidence is there that the attack stops at, if it stops at one."""
    if attack.stop != "confidence":
        return True
    state.forwards[row] += 1
    with torch.no_grad():
        evaluation = objective(image[None], torch.tensor([row]))
    return bool(evaluation.confidence >= attack.stop_confidence)
