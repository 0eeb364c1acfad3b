"""Shrink a success while the goal holds; what is kept is confirmed."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from detattack.engine.presets import Attack
from detattack.engine.quantize import as_file
from detattack.engine.state import (
    AttackResult,
    AttackState,
    Objective,
    Trace,
    checks,
    confident,
    confirmed,
    proposals,
    settle,
)

FIRST_SHARE = 1 / 128
"""Share of the changed values that the first trial of `undo` reverts."""
BEND = 0.9
"""The walk to a success bends: the straight line to its end crosses where the goal tips earlier than the walk did."""
SAFETY = 0.05
"""Share of the way from the success to where the goal should tip that a trial leaves, so that it rather holds."""


def finish(attack: Attack, objective: Objective, state: AttackState) -> AttackResult:
    """Shrink the successes as the attack asks, and return the result."""
    success, trace = state.first_iteration >= 0, state.whole_trace()
    for row in success.nonzero().flatten().tolist():
        settle(objective, state, row)
        if attack.refine:
            _refine(attack, objective, state, row, trace)
        if attack.undo and attack.levels is not None:
            _undo(attack, objective, state, row)
    last = as_file(state.floats, attack.levels)
    chosen = state.on_device(success).view(-1, 1, 1, 1)
    return AttackResult(
        images=torch.where(chosen, state.best, last),
        success=success,
        finite=state.finite | success,
        first_iteration=state.first_iteration,
        first_images=torch.where(chosen, state.first, last),
        forwards=state.forwards,
        backwards=state.backwards,
        trace=trace,
    )


@dataclass(frozen=True)
class _Point:
    """A place on the line from the original, at 0, to a success, at 1.

    - margin: of the objective there; NaN where it is not known
    """

    share: float
    margin: float = math.nan


def _refine(attack: Attack, objective: Objective, state: AttackState, row: int, trace: Trace) -> None:
    """Search the line from the original to a success for the shortest change that holds."""
    change = (state.best if attack.stop == "budget" else state.floats)[row] - state.originals[row]
    high, miss = _Point(1.0), None
    if attack.stop != "budget":
        high, miss = _ends_of_walk(trace, int(state.first_iteration[row]), row)
    trusted, line = not state.doubted[row], _Line(attack, objective, state, row, change)
    line.search(high, miss)
    settle(objective, state, row)
    if trusted and state.doubted[row]:  # what the evaluations promised does not hold: once more, with each confirmed
        line.search(_Point(1.0), None)


@dataclass(frozen=True, eq=False)
class _Line:
    """The line from an image of a batch to a success of it.

    - row: the image
    - change: `[3,H,W]`, from the image to the success
    """

    attack: Attack
    objective: Objective
    state: AttackState
    row: int
    change: Tensor

    def search(self, high: _Point, miss: _Point | None) -> None:
        """Make the trials of the attack for the shortest change that holds, and keep it.

        Each is where the margin should be 0 by the line through a miss and a success (regula falsi), or in the middle
        where they do not tell.

        - high: the shortest change that is known to hold
        - miss: the one through which the line goes; None: there is none
        """
        low, original = 0.0, self.state.originals[self.row]
        for trials_left in reversed(range(self.attack.refine)):
            share = _next_share(low, high, miss)
            image = as_file(original + share * self.change, self.attack.levels)
            distance = self.state.distance(image, self.row)
            if distance >= self.state.smallest(self.row):
                high = _Point(share)
                continue
            reached, margin = self._try(image, distance, trials_left == 0)
            if reached:
                high = _Point(share, margin)
            else:
                low, miss = share, _Point(share, margin)

    def _try(self, image: Tensor, distance: Tensor, last: bool) -> tuple[bool, float]:
        """Try an image that is smaller than all successes; return whether it is one, and its margin.

        It is confirmed at once where it is the last, after which no margin is needed, and where evaluations were wrong
        before, or look at less than a confirmation does.
        """
        state, row, margin = self.state, self.row, math.nan
        if not last or self.attack.stop == "confidence":
            with torch.no_grad():
                evaluation = self.objective(image[None], torch.tensor([row]))
            state.forwards[row] += evaluation.passes
            margin = math.nan if evaluation.margin is None else float(evaluation.margin)
            if not (bool(proposals(self.attack, evaluation)) and evaluation.agrees(0)):
                return False, margin
            if not state.doubted[row] and checks(self.objective) <= evaluation.passes:
                state.claims[row].append((image, distance))
                return True, margin
        reached = confirmed(self.objective, state, image, row)
        if reached:
            state.keep(row, image, distance)
        return reached, margin


def _ends_of_walk(trace: Trace, k: int, row: int) -> tuple[_Point, _Point | None]:
    """Return the success of an image, and the place on the line that tells what its last miss does."""
    success = _Point(1.0, float(trace.margin[k, row]))
    if not k:
        return success, None
    share = BEND * float(trace.distance[k - 1, row] / trace.distance[k, row])
    return success, _Point(share, float(trace.margin[k - 1, row]))


def _next_share(low: float, high: _Point, miss: _Point | None) -> float:
    """Return the share to try.

    - low, high: the longest change that is known to miss, and the shortest that is known to hold
    - miss: the other point of the line; None: there is none
    """
    middle = (low + high.share) / 2
    if miss is None or not (high.margin - miss.margin) * (high.share - miss.share) < 0:
        return middle
    fall = (high.margin - miss.margin) / (high.share - miss.share)
    share = high.share - (1 - SAFETY) * high.margin / fall
    return share if low < share < high.share else middle


def _undo(attack: Attack, objective: Objective, state: AttackState, row: int) -> None:
    """Revert changes of one gray level, for the largest number of them that is confirmed.

    Those come first whose loss rises least, to first order, per decrease of the squared L2. Their number is doubled
    while the goal holds, then bisected.
    """
    top, original, found = (attack.levels or 2) - 1, state.originals[row], state.best[row]
    change = ((found - original) * top).round().flatten()
    rise = -_loss_gradient(objective, state, found, row).flatten() * change.sign()
    order = torch.where(change != 0, rise / (2 * change.abs() - 1), torch.inf).argsort(stable=True)
    low, high = 0, int(change.count_nonzero())
    most = max(1, int(high * FIRST_SHARE))
    for _ in range(attack.undo):
        middle = min(low + most, (low + high + 1) // 2)
        if middle in (low, high):
            return
        less = change.index_put((order[:middle],), change[order[:middle]] - change[order[:middle]].sign())
        image = as_file(original + less.view_as(original) / top, attack.levels)
        if confident(attack, objective, state, image, row) and confirmed(objective, state, image, row):
            low, most = middle, 2 * most
            state.keep(row, image, state.distance(image, row))
        else:
            high = middle


def _loss_gradient(objective: Objective, state: AttackState, image: Tensor, row: int) -> Tensor:
    """Return ∂loss/∂x `[3,H,W]`; forward and backward passes are counted."""
    seen = image.detach()[None].requires_grad_()
    evaluation = objective(seen, torch.tensor([row]))
    (gradient,) = torch.autograd.grad(evaluation.loss.sum(), seen)
    state.forwards[row] += evaluation.passes
    state.backwards[row] += evaluation.passes
    return gradient[0]
