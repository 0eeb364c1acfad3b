"""The loop: one forward and one backward pass per iteration, of the images that have not succeeded yet only."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from detattack.core.errors import InputError
from detattack.engine.cost import bounded_range, squared_l2, total_variation
from detattack.engine.presets import Attack
from detattack.engine.quantize import l2_radius, within_ball, within_radius
from detattack.engine.refine import finish
from detattack.engine.state import AttackResult, AttackState, Objective, at, judge
from detattack.engine.steps import Iterate, Step, make_step
from detattack.engine.steps.base import all_finite

MOST_GROWTH = 1e30
"""A product of it and a step size is still a float32."""


def run(
    attack: Attack,
    images: Tensor,
    objective: Objective,
    active: int | None = None,
    seeds: Sequence[int] | None = None,
    starts: Tensor | None = None,
    where: Tensor | None = None,
) -> AttackResult:
    """Run an attack on a batch of images against one objective.

    - attack: the step rule and its settings
    - images: `[N,3,H,W]` in [0,1]
    - objective: the loss to minimize and the check of success
    - active: how many images are attacked at a time; the next one starts as soon as one is done. None: all
    - seeds: one per image, for attacks that use randomness; None: 0 for each
    - starts: `[N,3,H,W]`, within the radius, where the iterates begin; None: at the images
    - where: bool `[N,1,H,W]`, the pixels that may change; None: all

    K counts an image's own updates: one that meets the goal unchanged has K = 0. An image whose loss or gradient is not
    finite stops alone. Images are independent of their neighbors in the batch.

    Raises `InputError` for images of another shape or type; of their range nothing is asked, which would wait for a
    device.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise InputError(f"images: expected floats [N,3,H,W], got {images.dtype} {list(images.shape)}")
    state = AttackState(images.detach(), active, attack.perceptual, seeds, starts, where)
    step = make_step(attack, images)
    while len(state.rows):
        _iterate(attack, step, state, objective)
    return finish(attack, objective, state)


def _iterate(attack: Attack, step: Step, state: AttackState, objective: Objective) -> None:
    """Do one iteration of the active images. The host waits for the device once, in `judge`."""
    seen = state.seen(attack).requires_grad_()
    evaluation = objective(seen, state.rows)
    loss = attack.loss_weight * evaluation.loss
    squared, costs, slope = _regularizers(attack, state, seen.detach())
    distance = squared.sqrt()
    state.record(evaluation, distance, loss_cost=loss, **costs)
    continuing, reached = judge(attack, objective, state, seen, evaluation, distance)
    if len(continuing):
        chosen, rows = state.on_device(continuing), state.rows[continuing]
        (gradient,) = torch.autograd.grad(at(loss, chosen).sum(), seen)
        state.backwards[rows] += evaluation.passes
        success = state.on_device(reached[continuing])
        slope = None if slope is None else at(slope, chosen)
        _update(attack, step, state, rows, at(gradient, chosen), slope, at(loss.detach(), chosen), success)
    state.advance(continuing)


def _regularizers(attack: Attack, state: AttackState, seen: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
    """Return ‖x(k) − x(0)‖²₂, the terms of Eq. 2 other than the loss, `[n]` each, and the gradient of their sum.

    A term of weight 0 is left out, and costs nothing; without any there is no gradient.
    """
    regularized = attack.l2_weight or attack.range_weight or attack.tv_weight
    slope = torch.zeros_like(seen) if regularized else None
    of_l2 = slope if attack.l2_weight else None
    squared = squared_l2(seen, at(state.originals, state.index), state.scale(state.index), of_l2, attack.l2_weight)
    costs = {}
    if attack.l2_weight:
        costs["l2_cost"] = attack.l2_weight * squared
    if attack.range_weight:
        costs["range_cost"] = attack.range_weight * bounded_range(seen, slope, attack.range_weight)
    if attack.tv_weight:
        costs["tv_cost"] = attack.tv_weight * total_variation(seen, slope, attack.tv_weight)
    return squared, costs, slope


def bounded(attack: Attack, images: Tensor, originals: Tensor) -> Tensor:
    """Bring float images `[n,3,H,W]` back within the radius of an attack, if it has one."""
    if attack.radius is None:
        return images
    if attack.norm == "linf":
        return within_radius(images, originals, attack.radius, attack.levels)
    return within_ball(images, originals, l2_radius(attack, images))


def growth(attack: Attack, k: int) -> float:
    """Return the factor on α at iteration k. It ends at `MOST_GROWTH`, long after a step leaves [0,1]."""
    most = math.log(MOST_GROWTH) / math.log(attack.growth) if attack.growth > 1 else math.inf
    return attack.growth ** min(k, most)


def _update(
    attack: Attack,
    step: Step,
    state: AttackState,
    rows: Tensor,
    loss_gradient: Tensor,
    slope: Tensor | None,
    loss: Tensor,
    success: Tensor,
) -> None:
    """Update the float images that continue, and keep them in [0,1] and within the radius.

    An image whose gradient is not finite stays where it is, for `judge` to find.
    """
    index, numbers = state.on_device(rows), state.numbers[rows]
    images, originals = at(state.floats, index), at(state.originals, index)
    gradient = loss_gradient if slope is None else loss_gradient + slope
    seeds = [state.seeds[row] for row in rows.tolist()]
    unit_size = attack.step_size * (images[0].numel() ** 0.5 if attack.norm == "rms" else 1)
    sizes = torch.tensor([unit_size * growth(attack, k) for k in numbers.tolist()], dtype=images.dtype)
    now = Iterate(
        rows=index,
        images=images,
        originals=originals,
        gradient=state.steepest(gradient, index),
        loss_gradient=state.steepest(loss_gradient, index),
        loss=loss,
        success=success,
        number=numbers.double().view(-1, 1, 1, 1),
        size=state.on_device(sizes).view(-1, 1, 1, 1),
        seeds=seeds,
    )
    moved = bounded(attack, state.confined(step.step(now), index), originals)
    finite = all_finite(now.gradient)
    state.healthy[index] = finite
    state.move(index, torch.where(finite.view(-1, 1, 1, 1), moved.clamp(0, 1), images))
