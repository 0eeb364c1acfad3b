"""Who says that an attack is done: the books of a batch, the judgment of each iterate, and the shrinking of what
was found.

The engine never grades itself: an evaluation proposes a success, the objective's `confirm` (the model's official
inference, in float32, one image at a time, on the rounded image) decides it.
"""

from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from detattack.engine.attacks import Attack
from detattack.engine.rounding import as_file


class Objective(Protocol):
    """What the loop minimizes, and who says when it is done."""

    def __call__(self, images: Tensor, index: Tensor) -> Any:
        """`loss [n]`, `success` bool `[n]` and `confidence [n]` of `images [n,3,H,W]`, the images `index [n]`
        of the batch. Success is a proposal."""

    def confirm(self, image: Tensor, index: int) -> bool:
        """Whether the goal holds for one image `[3,H,W]`, by the model's official inference."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What was seen at each iteration, `[T,N]` each, NaN where an image no longer took part.

    loss and the four weighted cost terms add up to the cost of Eq. 2 (`loss` itself is unweighted);
    distance is the L2 of the image that the model saw.
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
    """The books of one batch: what has been found so far, and what it has cost."""

    def __init__(self, originals: Tensor):
        count, device = len(originals), originals.device
        self.originals = originals
        self.floats = originals.clone()
        self.best, self.first = originals.clone(), originals.clone()
        self.best_distance = torch.full((count,), torch.inf, device=device)
        self.first_iteration = torch.full((count,), -1, device=device)
        self.finite = torch.ones(count, dtype=torch.bool, device=device)
        self.forwards = torch.zeros(count, dtype=torch.long, device=device)
        self.backwards = torch.zeros(count, dtype=torch.long, device=device)
        self.rows = torch.arange(count, device=device)
        self.trace: list[Tensor] = []

    def record(self, **values: Tensor) -> None:
        row = self.originals.new_full((len(fields(Trace)), len(self.originals)), torch.nan)
        row[:, self.rows] = torch.stack([values[f.name].detach().to(row) for f in fields(Trace)])
        self.trace.append(row)

    def record_distance(self, seen: Tensor, evaluation: Any) -> None:
        """Notes an iterate of an attack that has no cost."""
        nothing = torch.zeros(len(self.rows), device=seen.device)
        distance = (seen - self.originals[self.rows]).detach().flatten(1).norm(dim=1)
        terms = dict.fromkeys(("loss_cost", "l2_cost", "range_cost", "tv_cost"), nothing)
        self.record(loss=evaluation.loss, confidence=evaluation.confidence, distance=distance, **terms)

    def keep(self, row: int, image: Tensor, iteration: int, distance: Tensor) -> None:
        """Notes a confirmed success that is smaller than all before."""
        if self.first_iteration[row] < 0:
            self.first_iteration[row] = iteration
            self.first[row] = image
        self.best_distance[row] = distance
        self.best[row] = image


def judge(attack, objective, state: State, seen: Tensor, loss: Tensor, proposed: Tensor, iteration: int):
    """Confirms what is proposed; bool `[n]`, which of the images seen go on."""
    seen = seen.detach()
    finite = loss.detach().isfinite()
    state.finite[state.rows[~finite]] = False
    going_on = finite.clone()
    for i in (proposed & finite).nonzero().flatten().tolist():
        row = int(state.rows[i])
        distance = (seen[i] - state.originals[row]).norm()
        if distance < state.best_distance[row] and _confirmed(objective, state, seen[i], row):
            state.keep(row, seen[i], iteration, distance)
            going_on[i] = attack.stop == "budget"
    return going_on


def _confirmed(objective: Objective, state: State, image: Tensor, row: int) -> bool:
    state.forwards[row] += 1
    with torch.no_grad():
        return bool(objective.confirm(image, row))


def _confident(attack: Attack, objective: Objective, state: State, image: Tensor, row: int) -> bool:
    """Whether the confidence is there that the attack stops at, if it stops at one."""
    if attack.stop != "confidence":
        return True
    state.forwards[row] += 1
    with torch.no_grad():
        _, _, confidence = objective(image[None], state.forwards.new_tensor([row]))
    return bool(confidence >= attack.stop_confidence)


def finish(attack: Attack, objective: Objective, state: State) -> AttackResult:
    success = state.first_iteration >= 0
    if attack.refine:
        for row in success.nonzero().flatten().tolist():
            _refine(attack, objective, state, row)
    last = as_file(state.floats, attack.levels)
    chosen = success.view(-1, 1, 1, 1)
    return AttackResult(
        images=torch.where(chosen, state.best, last),
        success=success,
        finite=state.finite | success,
        first_iteration=state.first_iteration,
        first_images=torch.where(chosen, state.first, last),
        forwards=state.forwards,
        backwards=state.backwards,
        trace=Trace(*torch.stack(state.trace, 1)),
    )


def _refine(attack: Attack, objective: Objective, state: State, row: int) -> None:
    """Bisection on the line from the original to the found image: the shortest change that is confirmed."""
    original = state.originals[row]
    change = (state.best if attack.stop == "budget" else state.floats)[row] - original
    low, high = 0.0, 1.0
    for _ in range(attack.refine):
        middle = (low + high) / 2
        image = as_file(original + middle * change, attack.levels)
        distance = (image - original).norm()
        if distance >= state.best_distance[row]:
            high = middle
        elif _confident(attack, objective, state, image, row) and _confirmed(objective, state, image, row):
            high = middle
            state.keep(row, image, int(state.first_iteration[row]), distance)
        else:
            low = middle
