"""Shrink a success while the goal holds; each trial is confirmed."""

import torch
from torch import Tensor

from detattack.engine.presets import Attack
from detattack.engine.quantize import as_file
from detattack.engine.state import AttackResult, AttackState, Objective, confident, confirmed, settle

FIRST_SHARE = 1 / 128
"""Share of the changed values that the first trial of `undo` reverts."""


def finish(attack: Attack, objective: Objective, state: AttackState) -> AttackResult:
    """Shrink the successes as the attack asks, and return the result."""
    success = state.first_iteration >= 0
    for row in success.nonzero().flatten().tolist():
        settle(objective, state, row)
        if attack.refine:
            _refine(attack, objective, state, row)
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
        trace=state.whole_trace(),
    )


def _refine(attack: Attack, objective: Objective, state: AttackState, row: int) -> None:
    """Bisect the line from the original to the success, for the shortest change that is confirmed."""
    original = state.originals[row]
    change = (state.best if attack.stop == "budget" else state.floats)[row] - original
    low, high = 0.0, 1.0
    for _ in range(attack.refine):
        middle = (low + high) / 2
        image = as_file(original + middle * change, attack.levels)
        distance = state.distance(image, row)
        if distance >= state.best_distance[row]:
            high = middle
        elif confident(attack, objective, state, image, row) and confirmed(objective, state, image, row):
            high = middle
            state.keep(row, image, distance)
        else:
            low = middle


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
