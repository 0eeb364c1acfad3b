"""The loop: one forward and one backward pass per iteration, of the images that have not succeeded yet only."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from detattack.core.errors import InputError
from detattack.engine.cost import bounded_range, squared_l2, total_variation
from detattack.engine.presets import Attack
from detattack.engine.quantize import as_seen, l2_radius, within_ball, within_radius
from detattack.engine.refine import finish
from detattack.engine.state import AttackResult, AttackState, Objective, judge
from detattack.engine.steps import Iterate, Step, make_step


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
    seen = as_seen(attack, state.floats[state.index], state.originals[state.index]).requires_grad_()
    evaluation = objective(seen, state.rows)
    squared = squared_l2(*state.to_compare(seen, state.index))
    terms = {"loss_cost": attack.loss_weight * evaluation.loss} | _regularizers(attack, seen, squared)
    distance = squared.detach().sqrt()
    state.record(evaluation, distance, **terms)
    continuing, reached = judge(attack, objective, state, seen, evaluation, distance)
    if len(continuing):
        chosen = state.on_device(continuing)
        cost = torch.stack(list(terms.values())).sum(0)
        (gradient,) = torch.autograd.grad(cost[chosen].sum(), seen)
        rows = state.rows[continuing]
        state.backwards[rows] += evaluation.passes
        loss, success = terms["loss_cost"].detach()[chosen], state.on_device(reached[continuing])
        _update(attack, step, state, rows, gradient[chosen], loss, success)
    state.advance(continuing)


def _regularizers(attack: Attack, seen: Tensor, squared: Tensor) -> dict[str, Tensor]:
    """Return the terms of Eq. 2 other than the loss, `[n]` each. A term of weight 0 is left out, and costs nothing."""
    terms = {}
    if attack.l2_weight:
        terms["l2_cost"] = attack.l2_weight * squared
    if attack.range_weight:
        terms["range_cost"] = attack.range_weight * bounded_range(seen)
    if attack.tv_weight:
        terms["tv_cost"] = attack.tv_weight * total_variation(seen)
    return terms


def _gradient_of_regularizers(attack: Attack, state: AttackState, index: Tensor) -> Tensor:
    """Return ∂/∂x `[n,3,H,W]` of the terms of `_regularizers` (at least one) at the images that the model saw."""
    seen = as_seen(attack, state.floats[index], state.originals[index]).requires_grad_()
    terms = _regularizers(attack, seen, squared_l2(*state.to_compare(seen, index)))
    (gradient,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), seen)
    return state.steepest(gradient, index)


def bounded(attack: Attack, images: Tensor, originals: Tensor) -> Tensor:
    """Bring float images `[n,3,H,W]` back within the radius of an attack, if it has one."""
    if attack.radius is None:
        return images
    if attack.norm == "linf":
        return within_radius(images, originals, attack.radius, attack.levels)
    return within_ball(images, originals, l2_radius(attack, images))


def _update(
    attack: Attack, step: Step, state: AttackState, rows: Tensor, gradient: Tensor, loss: Tensor, success: Tensor
) -> None:
    """Update the float images that continue, and keep them in [0,1] and within the radius.

    An image whose gradient is not finite stays where it is, for `judge` to find.
    """
    index, numbers = state.on_device(rows), state.numbers[rows]
    images, originals = state.floats[index], state.originals[index]
    gradient = state.steepest(gradient, index)
    regularized = attack.l2_weight or attack.range_weight or attack.tv_weight
    regularizers = partial(_gradient_of_regularizers, attack, state, index) if regularized else None
    seeds = [state.seeds[row] for row in rows.tolist()]
    unit_size = attack.step_size * (images[0].numel() ** 0.5 if attack.norm == "rms" else 1)
    sizes = torch.tensor([unit_size * attack.growth**k for k in numbers.tolist()], dtype=images.dtype)
    number, size = numbers.double().view(-1, 1, 1, 1), state.on_device(sizes).view(-1, 1, 1, 1)
    now = Iterate(index, images, originals, gradient, loss, success, number, size, seeds, regularizers)
    moved = bounded(attack, state.confined(step.step(now), index), originals)
    finite = gradient.flatten(1).isfinite().all(1)
    state.healthy[index] = finite
    state.floats[index] = torch.where(finite.view(-1, 1, 1, 1), moved.clamp(0, 1), images)
