"""The loop: one forward and one backward an iteration for the unsolved images, and for those only."""

import torch
from torch import Tensor

from detattack.engine.attacks import Attack
from detattack.engine.cost import bounded_range, squared_l2, total_variation
from detattack.engine.judging import AttackResult, Objective, State, finish, judge
from detattack.engine.rounding import as_file, within_ball, within_radius
from detattack.engine.steps import STEPS, Iterate, Step


def run(attack: Attack, images: Tensor, objective: Objective) -> AttackResult:
    """Runs `attack` on `images` `[N,3,H,W]` in [0,1], all against one objective.

    K counts updates: an image that meets the goal untouched has K = 0. An image whose loss or gradient is not
    finite stops alone. Images are independent of their neighbors in the batch.
    """
    state = State(images.detach())
    step = STEPS[attack.step](attack, images)
    for iteration in range(attack.max_iterations + 1):
        seen = as_file(state.floats[state.rows], attack.levels).requires_grad_()
        loss, cost, proposed = _evaluate(attack, objective, state, seen)
        going_on = judge(attack, objective, state, seen, loss, proposed, iteration)
        if iteration == attack.max_iterations or not going_on.any():
            break
        (gradient,) = torch.autograd.grad(cost[going_on].sum(), seen)
        state.backwards[state.rows[going_on]] += 1
        _update(attack, step, state, gradient[going_on], going_on, proposed, iteration)
        if not len(state.rows):
            break
    return finish(attack, objective, state)


def _evaluate(attack: Attack, objective: Objective, state: State, seen: Tensor):
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


def _update(
    attack: Attack, step: Step, state: State, gradient: Tensor, going_on: Tensor, proposed: Tensor, iteration: int
) -> None:
    """Moves the float images that go on, kept in [0,1] and within the radius; drops those whose gradient is not
    finite."""
    rows, success = state.rows[going_on], proposed[going_on]
    finite = gradient.flatten(1).isfinite().all(1)
    state.finite[rows[~finite]] = False
    state.rows = rows = rows[finite]
    if not len(rows):
        return
    originals, size = state.originals[rows], attack.step_size * attack.growth**iteration
    moved = step.step(Iterate(rows, state.floats[rows], originals, gradient[finite], success[finite], iteration, size))
    if attack.radius is not None and attack.norm == "linf":
        moved = within_radius(moved, originals, attack.radius, attack.levels)
    elif attack.radius is not None:
        moved = within_ball(moved, originals, attack.radius)
    state.floats[rows] = moved.clamp(0, 1)
