"""The loop: one forward and one backward an iteration for the unsolved images, and for those only.

The loop never grades itself: `select` proposes a success, the objective's `confirm` (the model's official
inference, in float32, one image at a time, on the rounded image) decides it.
"""

from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from detattack.engine.attacks import Attack
from detattack.engine.cost import bounded_range, squared_l2, total_variation
from detattack.engine.rounding import as_file
from detattack.engine.steps import Step, make_step


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


class _State:
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

    def keep(self, row: int, image: Tensor, iteration: int, distance: Tensor) -> None:
        """Notes a confirmed success that is smaller than all before."""
        if self.first_iteration[row] < 0:
            self.first_iteration[row] = iteration
            self.first[row] = image
        self.best_distance[row] = distance
        self.best[row] = image


def run(attack: Attack, images: Tensor, objective: Objective) -> AttackResult:
    """Runs `attack` on `images` `[N,3,H,W]` in [0,1], all against one objective.

    K counts updates: an image that meets the goal untouched has K = 0. An image whose loss or gradient is not
    finite stops alone. Images are independent of their neighbors in the batch.
    """
    state = _State(images.detach())
    step = make_step(attack, images)
    for iteration in range(attack.max_iterations + 1):
        seen = as_file(state.floats[state.rows], attack.levels).requires_grad_()
        loss, cost, proposed = _evaluate(attack, objective, state, seen)
        going_on = _judge(attack, objective, state, seen, loss, proposed, iteration)
        if iteration == attack.max_iterations or not going_on.any():
            break
        (gradient,) = torch.autograd.grad(cost[going_on].sum(), seen)
        state.backwards[state.rows[going_on]] += 1
        _update(attack, step, state, gradient[going_on], going_on, iteration)
        if not len(state.rows):
            break
    return _finish(attack, objective, state)


def _evaluate(attack: Attack, objective: Objective, state: _State, seen: Tensor):
    """Forward: the loss, the cost of Eq. 2 and the proposed successes, noted in the trace."""
    originals = state.originals[state.rows]
    loss, success, confidence = objective(seen, state.rows)
    state.forwards[state.rows] += 1
    squared = squared_l2(seen, originals)
    terms = {
        "loss_cost": attack.loss_weight * loss,
        "l2_cost": attack.l2_weight * squared,
        "range_cost": attack.range_weight * bounded_range(seen),
        "tv_cost": attack.tv_weight * total_variation(seen),
    }
    state.record(loss=loss, confidence=confidence, distance=squared.sqrt(), **terms)
    if attack.stop == "confidence":
        success = success & (confidence >= attack.stop_confidence)
    return loss, sum(terms.values()), success


def _judge(attack, objective, state: _State, seen: Tensor, loss: Tensor, proposed: Tensor, iteration: int):
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


def _confirmed(objective: Objective, state: _State, image: Tensor, row: int) -> bool:
    state.forwards[row] += 1
    with torch.no_grad():
        return bool(objective.confirm(image, row))


def _confident(attack: Attack, objective: Objective, state: _State, image: Tensor, row: int) -> bool:
    """Whether the confidence is there that the attack stops at, if it stops at one."""
    if attack.stop != "confidence":
        return True
    state.forwards[row] += 1
    with torch.no_grad():
        _, _, confidence = objective(image[None], state.forwards.new_tensor([row]))
    return bool(confidence >= attack.stop_confidence)


def _update(attack: Attack, step: Step, state: _State, gradient: Tensor, going_on: Tensor, iteration: int) -> None:
    """Moves the float images that go on, kept in [0,1] and within the radius; drops those whose gradient is not
    finite."""
    rows = state.rows[going_on]
    finite = gradient.flatten(1).isfinite().all(1)
    state.finite[rows[~finite]] = False
    state.rows = rows = rows[finite]
    if len(rows):
        moved = state.floats[rows] + step.step(gradient[finite], rows, attack.step_size * attack.growth**iteration)
        if attack.radius is not None:
            originals = state.originals[rows]
            moved = moved.clamp(originals - attack.radius, originals + attack.radius)
        state.floats[rows] = moved.clamp(0, 1)


def _finish(attack: Attack, objective: Objective, state: _State) -> AttackResult:
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


def _refine(attack: Attack, objective: Objective, state: _State, row: int) -> None:
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
