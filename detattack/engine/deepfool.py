"""DeepFool (Moosavi-Dezfooli et al., 2016): at each iterate the nearest boundary of the classifier made linear there.

It needs a gradient per class, which no cost has, so it is a loop of its own; the judge is the same.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from detattack.engine.presets import Attack
from detattack.engine.quantize import as_file
from detattack.engine.refine import finish
from detattack.engine.state import AttackResult, Objective, State, judge

CHUNK = 64
"""Classes whose gradients are taken in one pass backward."""
NUDGE = 1e-4
"""Added to each distance, so that an iterate on the boundary itself still moves."""


class MarginObjective(Objective, Protocol):
    """What DeepFool needs of an objective beside what every attack does."""

    def margins(self, images: Tensor, index: Tensor) -> tuple[Tensor, Any]:
        """`[n,C]`: by how much the logit of each class that would do exceeds that of the class to leave; and the
        evaluation (`loss`, `success`, `confidence`) of the same forward pass."""


def run_deepfool(attack: Attack, images: Tensor, objective: MarginObjective, active: int | None = None) -> AttackResult:
    """Runs DeepFool on `images` `[N,3,H,W]` in [0,1]; `attack.step_size` is the overshoot (0.02 in the paper).

    active: as of `run`.
    An iteration counts as one forward and as many backwards as there are classes to leave for.
    """
    state = State(images.detach(), active)
    total = torch.zeros_like(state.originals)
    while len(state.rows):
        seen = as_file(state.floats[state.index], attack.levels).requires_grad_()
        margins, evaluation = objective.margins(seen, state.rows)
        distance = (seen - state.originals[state.index]).detach().flatten(1).norm(dim=1)
        state.record(evaluation, distance)
        going_on, _ = judge(attack, objective, state, seen, evaluation, distance)
        if len(going_on):
            chosen, rows = state.on_device(going_on), state.on_device(state.rows[going_on])
            change = nearest_boundary(margins.detach(), _class_gradients(margins, seen))[chosen]
            state.backwards[state.rows[going_on]] += margins.shape[1]
            state.healthy[rows] = finite = change.flatten(1).isfinite().all(1)
            total[rows] += change.where(finite.view(-1, 1, 1, 1), 0.0)
            state.floats[rows] = (state.originals[rows] + (1 + attack.step_size) * total[rows]).clamp(0, 1)
        state.go_on(going_on)
    return finish(attack, objective, state)


def nearest_boundary(margins: Tensor, gradients: Tensor) -> Tensor:
    """The smallest change `[n,...]` that closes one of the margins `[n,C]`, to first order, by their gradients
    `[C,n,...]`: |m| / ‖w‖² · w for the class with the least |m| / ‖w‖."""
    flat = gradients.flatten(2)
    norms = flat.norm(dim=2).T.clamp_min(torch.finfo(flat.dtype).tiny ** 0.5)
    distances = margins.abs() / norms
    best = distances.argmin(1)
    at = torch.arange(len(margins), device=margins.device)
    length = (distances[at, best] + NUDGE) / norms[at, best]
    return length.view(-1, *[1] * (gradients.dim() - 2)) * gradients[best, at]


def _class_gradients(margins: Tensor, images: Tensor) -> Tensor:
    """`[C,n,3,H,W]`: ∂margins[:, c]/∂images, a chunk of classes a pass."""
    count, classes = margins.shape
    chosen = torch.eye(classes, dtype=margins.dtype, device=margins.device)[:, None].expand(classes, count, classes)
    parts = [
        torch.autograd.grad(margins, images, part, retain_graph=True, is_grads_batched=True)[0]
        for part in chosen.split(CHUNK)
    ]
    return torch.cat(parts)
