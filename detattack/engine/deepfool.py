"""DeepFool (Moosavi-Dezfooli et al., 2016): step to the nearest boundary of the linearized classifier, and repeat.

It needs a gradient per class, which no cost has, so it has a loop of its own; success is judged in the same way.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from detattack.engine.presets import Attack
from detattack.engine.refine import finish
from detattack.engine.state import AttackResult, AttackState, Objective, judge
from detattack.engine.steps.base import all_finite

CHUNK = 64
"""How many classes share one backward pass."""
NUDGE = 1e-4
"""Added to each distance, so that an iterate on the boundary itself still moves."""


class MarginObjective(Objective, Protocol):
    """An objective that also gives DeepFool the margin of each class."""

    def margins(self, images: Tensor, index: Tensor) -> tuple[Tensor, Any]:
        """Return the margins and the evaluation of the same forward pass.

        Margins `[n,C]` are by how much the logit of each acceptable class exceeds that of the class to leave; the
        evaluation has `loss`, `success` and `confidence`.
        """


def run_deepfool(
    attack: Attack,
    images: Tensor,
    objective: MarginObjective,
    active: int | None = None,
    where: Tensor | None = None,
) -> AttackResult:
    """Run DeepFool on a batch.

    - attack: its `step_size` is the overshoot (0.02 in the paper)
    - images: `[N,3,H,W]` in [0,1]
    - objective: gives margins and evaluations
    - active, where: as in `run`

    An iteration counts as one forward pass and one backward pass per acceptable class.
    """
    state = AttackState(images.detach(), active, where=where)
    total = torch.zeros_like(state.originals)
    while len(state.rows):
        seen = state.seen(attack).requires_grad_()
        margins, evaluation = objective.margins(seen, state.rows)
        distance = (seen - state.originals[state.index]).detach().flatten(1).norm(dim=1)
        state.record(evaluation, distance)
        continuing, _ = judge(attack, objective, state, seen, evaluation, distance)
        if len(continuing):
            chosen, rows = state.on_device(continuing), state.on_device(state.rows[continuing])
            gradients = _class_gradients(margins, seen)
            gradients = gradients if where is None else gradients * where[state.index]
            change = nearest_boundary(margins.detach(), gradients)[chosen]
            state.backwards[state.rows[continuing]] += margins.shape[1] * evaluation.passes
            state.healthy[rows] = finite = all_finite(change)
            total[rows] += change.where(finite.view(-1, 1, 1, 1), 0.0)
            state.floats[rows] = (state.originals[rows] + (1 + attack.step_size) * total[rows]).clamp(0, 1)
        state.advance(continuing)
    return finish(attack, objective, state)


def nearest_boundary(margins: Tensor, gradients: Tensor) -> Tensor:
    """Return the smallest change `[n,...]` that closes one of the margins, to first order.

    It is |m| / ‖w‖² · w for the class with the smallest |m| / ‖w‖, where m are the margins `[n,C]` and w their
    gradients `[C,n,...]`.
    """
    flat = gradients.flatten(2)
    norms = flat.norm(dim=2).T.clamp_min(torch.finfo(flat.dtype).tiny ** 0.5)
    distances = margins.abs() / norms
    best = distances.argmin(1)
    at = torch.arange(len(margins), device=margins.device)
    length = (distances[at, best] + NUDGE) / norms[at, best]
    return length.view(-1, *[1] * (gradients.dim() - 2)) * gradients[best, at]


def _class_gradients(margins: Tensor, images: Tensor) -> Tensor:
    """Return ∂margins[:, c]/∂images as `[C,n,3,H,W]`, a chunk of classes per backward pass."""
    count, classes = margins.shape
    chosen = torch.eye(classes, dtype=margins.dtype, device=margins.device)[:, None].expand(classes, count, classes)
    parts = [
        torch.autograd.grad(margins, images, part, retain_graph=True, is_grads_batched=True)[0]
        for part in torch.split(chosen, CHUNK)
    ]
    return torch.cat(parts)
