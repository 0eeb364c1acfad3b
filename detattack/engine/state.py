"""The state of an attack on a batch, and the success check of each iterate.

The engine never grades itself: an evaluation proposes a success, and the objective's `confirm` (the model's official
inference, in float32, one image at a time, on the rounded image) decides it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from detattack.core.types import WHOLLY_WRONG, Evaluation
from detattack.engine.cost import squared_l2
from detattack.engine.listening import tell
from detattack.engine.perceptual import contrast_weights
from detattack.engine.presets import Attack
from detattack.engine.quantize import as_seen


def at(values: Tensor, index: Tensor) -> Tensor:
    """Return the values at ascending places `[n]` of `[N,...]`: all of them are not copied."""
    return values if len(index) == len(values) else values[index]


def placed(values: Tensor, index: Tensor, new: Tensor) -> Tensor:
    """Put `new` `[n,...]` at ascending places `[n]` of `[N,...]`, and return that; all of them are not copied."""
    if len(index) == len(values):
        return new
    values[index] = new
    return values


class Objective(Protocol):
    """The function that the loop minimizes, and the check of success.

    One that takes several forward passes to confirm an image says how many at most as `checks`, and yields what each of
    them says as `confirmations(image, index)`.
    """

    def __call__(self, images: Tensor, index: Tensor) -> Any:
        """Evaluate images `[n,3,H,W]`, those at `index` `[n]` of the batch; `index` is on the host.

        Returns `loss [n]`, `success` bool `[n]`, `confidence [n]` and `agrees(i)`. Success is a proposal, valid where
        it agrees.
        """

    def confirm(self, image: Tensor, index: int) -> bool:
        """Return whether the goal holds for one image `[3,H,W]`, by the model's official inference."""


@dataclass(frozen=True, eq=False)
class Trace:
    """The values of each iteration, `[T,N]` each, NaN after an image has stopped.

    The weighted terms loss_cost, l2_cost, range_cost and tv_cost add up to the cost of Eq. 2; `loss` itself is
    unweighted.

    - confidence: the objective's
    - distance: the L2 of the image that the model saw, weighted where the attack is perceptual
    - margin: the objective's, NaN where it tells none
    """

    loss: Tensor
    loss_cost: Tensor
    l2_cost: Tensor
    range_cost: Tensor
    tv_cost: Tensor
    confidence: Tensor
    distance: Tensor
    margin: Tensor


@dataclass(frozen=True, eq=False)
class AttackResult:
    """The result of an attack on a batch of N images. All but the images and the trace is on the host.

    - images: `[N,3,H,W]`, the smallest success found, or the last iterate where there is none; of an attack that spends
      a budget the worst image found
    - success: bool `[N]`, confirmed; of an attack that spends a budget, whether there is a worst image
    - finite: bool `[N]`, False where the model gave NaN or infinity
    - first_iteration: int `[N]`, K; −1 for never; of an attack that spends a budget, that of the worst image
    - first_images: `[N,3,H,W]`, x(K), or the last iterate
    - forwards, backwards: int `[N]`, passes that each image took part in, confirmations included
    - trace: the values of each iteration
    """

    images: Tensor
    success: Tensor
    finite: Tensor
    first_iteration: Tensor
    first_images: Tensor
    forwards: Tensor
    backwards: Tensor
    trace: Trace


UNCONFIRMED = 8
"""Successes in a row that an attack which goes on may claim, each smaller than the last, before one is confirmed."""


class AttackState:
    """Bookkeeping of a batch: which images are active, the best success of each, and the passes used.

    What decides how the loop continues is kept on the host, the images on their device.

    - rows, index: the active images, on the host and on the device
    - waiting: the images that have not started, on the host
    - numbers: int `[N]`, each image's iteration k
    - floats: `[N,3,H,W]`, x(k) before rounding
    - best, best_distance: the smallest success and its L2; first, first_iteration: x(K) and K
    - claims: of each image, the successes smaller than that, and their L2, which are not confirmed yet; the last is the
      smallest
    - doubted: bool `[N]`, whether a claim was refuted: those that follow are confirmed one by one
    - most_harm: float64 `[N]`, of the worst image so far, which is then `best`; for attacks that spend a budget
    - healthy: bool `[N]`, False where a gradient was not finite
    - weights: `[N,1,H,W]`, of the distance; None: all 1
    - where: bool `[N,1,H,W]`, the pixels that may change; None: all
    - seeds: of each image's own randomness; None: 0 for each
    """

    def __init__(
        self,
        originals: Tensor,
        active: int | None = None,
        perceptual: bool = False,
        seeds: Sequence[int] | None = None,
        starts: Tensor | None = None,
        where: Tensor | None = None,
    ) -> None:
        count = len(originals)
        self.where = where
        self.originals = originals
        self.weights = contrast_weights(originals) if perceptual else None
        self.seeds = [0] * count if seeds is None else seeds
        self.floats = (originals if starts is None else starts).clone()
        self.best, self.first = originals.clone(), originals.clone()
        self.best_distance = torch.full((count,), torch.inf, dtype=originals.dtype)
        self.claims: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(count)]
        self.doubted = torch.zeros(count, dtype=torch.bool)
        self.most_harm = torch.full((count,), -torch.inf, dtype=torch.float64)
        self.first_iteration = torch.full((count,), -1)
        self.finite = torch.ones(count, dtype=torch.bool)
        self.healthy = torch.ones(count, dtype=torch.bool, device=originals.device)
        self.numbers, self.forwards, self.backwards = torch.zeros(3, count, dtype=torch.long).unbind()
        self.trace: list[tuple[Tensor, Tensor, Tensor]] = []
        everything = torch.arange(count)
        self.rows, self.waiting = everything[:active], everything[len(everything[:active]) :]
        self.index = self.on_device(self.rows)

    def seen(self, attack: Attack) -> Tensor:
        """Return the active images as the model sees them, `[n,3,H,W]`."""
        return as_seen(attack, at(self.floats, self.index), at(self.originals, self.index)).detach()

    def scale(self, index: Tensor) -> Tensor | None:
        """Return the weights `[n,1,H,W]` of the distance that counts; None: all 1."""
        return None if self.weights is None else at(self.weights, index)

    def steepest(self, gradient: Tensor, index: Tensor) -> Tensor:
        """Return the direction `[n,3,H,W]` of steepest ascent under the distance that counts, from a gradient.

        It is 0 where pixels may not change.
        """
        gradient = gradient if self.where is None else gradient * at(self.where, index)
        return gradient if self.weights is None else gradient / at(self.weights, index).square()

    def confined(self, images: Tensor, index: Tensor) -> Tensor:
        """Return images `[n,3,H,W]`, the original where pixels may not change."""
        return images if self.where is None else confined(images, at(self.originals, index), at(self.where, index))

    def move(self, index: Tensor, floats: Tensor) -> None:
        """Take `[n,3,H,W]` as the next float images at `index`."""
        self.floats = placed(self.floats, index, floats)

    def distance(self, image: Tensor, row: int) -> Tensor:
        """Return the distance of one image `[3,H,W]` from its original, on the host."""
        index = torch.tensor([row])
        scale = None if self.weights is None else self.weights[index]
        return squared_l2(image[None], self.originals[index], scale)[0].sqrt().cpu()

    def on_device(self, values: Tensor) -> Tensor:
        """Move values from the host to the device of the images."""
        return values.to(self.originals.device)

    def advance(self, continuing: Tensor) -> None:
        """Advance the images at places `continuing` of `rows` by one iteration; waiting ones take the free places."""
        staying = self.rows[continuing]
        self.numbers[staying] += 1
        free = len(self.rows) - len(staying)
        self.rows, self.waiting = torch.cat((staying, self.waiting[:free])), self.waiting[free:]
        self.index = self.on_device(self.rows)

    def record(self, evaluation: Any, distance: Tensor, **terms: Tensor) -> None:
        """Record the values of a forward pass over `rows`. An attack without a cost has no terms."""
        self.forwards[self.rows] += evaluation.passes
        nothing = torch.zeros_like(distance)
        margin = torch.full_like(distance, torch.nan) if evaluation.margin is None else evaluation.margin
        values = {"loss": evaluation.loss, "confidence": evaluation.confidence, "distance": distance, "margin": margin}
        values |= terms
        stacked = torch.stack([values.get(f.name, nothing).detach().to(distance) for f in fields(Trace)])
        self.trace.append((self.rows, self.numbers[self.rows], stacked))
        tell(self.rows, self.numbers[self.rows], evaluation.loss, evaluation.confidence, distance)

    def smallest(self, row: int) -> Tensor:
        """Return the L2 of the smallest success of an image, confirmed or claimed; infinity: none."""
        return self.claims[row][-1][1] if self.claims[row] else self.best_distance[row]

    def trusts(self, row: int) -> bool:
        """Whether the next smaller success of an image may go unconfirmed for now."""
        return bool(self.first_iteration[row] >= 0 and not self.doubted[row]) and len(self.claims[row]) < UNCONFIRMED

    def keep(self, row: int, image: Tensor, distance: Tensor) -> None:
        """Record a confirmed success that is smaller than all before."""
        self.claims[row] = []
        if self.first_iteration[row] < 0:
            self.first_iteration[row] = self.numbers[row]
            self.first[row] = image
        self.best_distance[row] = distance
        self.best[row] = image

    def keep_worst(self, row: int, image: Tensor, harm: float) -> None:
        """Record an image that does more harm than all before."""
        self.most_harm[row] = harm
        self.first_iteration[row] = self.numbers[row]
        self.best[row] = self.first[row] = image

    def whole_trace(self) -> Trace:
        """Return the trace, by each image's own iterations."""
        shape = len(fields(Trace)), int(self.numbers.max()) + 1, len(self.originals)
        trace = self.originals.new_full(shape, torch.nan)
        for rows, numbers, values in self.trace:
            trace[:, numbers, rows] = values
        return Trace(*trace)


def judge(
    attack: Attack, objective: Objective, state: AttackState, seen: Tensor, evaluation: Any, distance: Tensor
) -> tuple[Tensor, Tensor]:
    """Confirm the successes that are proposed for the n images seen.

    - attack, objective, state: of the batch
    - seen: `[n,3,H,W]`, the active images as the model saw them
    - evaluation: the objective's, of `seen`
    - distance: `[n]`, L2 from the originals

    Returns the places `[m]` of the images that continue, and whether each image is a success, bool `[n]`: by the
    model's own post-processing and, if it is smaller than all before, confirmed, or trusted until `settle`. Both are on
    the host, which waits for the device here, once.
    """
    if attack.stop == "worst":
        return _judge_harm(attack, state, seen, evaluation)
    proposed = proposals(attack, evaluation)
    finite = evaluation.loss.detach().isfinite() & state.healthy[state.index]
    finite, proposed, distance = torch.stack([v.to(distance) for v in (finite, proposed & finite, distance)]).cpu()
    state.finite[state.rows[finite == 0]] = False
    continuing = (finite == 1) & (state.numbers[state.rows] < attack.max_iterations)
    reached = torch.zeros_like(continuing)
    for i in proposed.nonzero().flatten().tolist():
        row, image = int(state.rows[i]), seen[i].detach()
        reached[i] = evaluation.agrees(i)
        if reached[i] and distance[i] < state.smallest(row):
            reached[i] = _believed(attack, objective, state, image, row, distance[i])
            continuing[i] &= not reached[i] or attack.stop == "budget"
    return continuing.nonzero().flatten(), reached


def proposals(attack: Attack, evaluation: Evaluation) -> Tensor:
    """Return which images are proposed as successes, with the confidence at which the attack stops, if it stops at one.

    evaluation: of n images. Returns bool `[n]`.
    """
    if attack.stop != "confidence":
        return evaluation.success
    return evaluation.success & (evaluation.confidence >= attack.stop_confidence)


def _believed(
    attack: Attack, objective: Objective, state: AttackState, image: Tensor, row: int, distance: Tensor
) -> bool:
    """Whether a success `[3,H,W]` smaller than all before counts: confirmed, or trusted until `settle` confirms it."""
    if attack.stop == "budget" and state.trusts(row):
        state.claims[row].append((image, distance))
        return True
    if confirmed(objective, state, image, row):
        state.keep(row, image, distance)
        return True
    state.doubted[row] = True
    settle(objective, state, row)
    return False


def settle(objective: Objective, state: AttackState, row: int) -> None:
    """Confirm the smallest of the claims of an image that holds."""
    while state.claims[row]:
        image, distance = state.claims[row].pop()
        if confirmed(objective, state, image, row):
            state.keep(row, image, distance)
        else:
            state.doubted[row] = True


def _judge_harm(attack: Attack, state: AttackState, seen: Tensor, evaluation: Any) -> tuple[Tensor, Tensor]:
    """Keep the images seen that do more harm than all before; return as `judge` does, no image being a success."""
    finite = (evaluation.loss.detach().isfinite() & state.healthy[state.index]).cpu()
    state.finite[state.rows[~finite]] = False
    harms = evaluation.worst_is()
    for i, harm in enumerate(harms.tolist()):
        row = int(state.rows[i])
        if finite[i] and harm > state.most_harm[row]:
            state.keep_worst(row, seen[i].detach(), harm)
    numbers = state.numbers[state.rows]
    begun_wrong = (numbers == 0) & (harms >= WHOLLY_WRONG)  # by a smaller budget, or untouched: that is enough
    continuing = finite & ~begun_wrong & (numbers < attack.max_iterations)
    return continuing.nonzero().flatten(), torch.zeros_like(continuing)


def confined(images: Tensor, originals: Tensor, where: Tensor | None) -> Tensor:
    """Return images, the original where pixels may not change. where: bool, broadcast to them; None: all may."""
    return images if where is None else torch.where(where, images, originals)


def checks(objective: Any) -> int:
    """Return how many forward passes an objective takes at most to confirm an image, or to answer for it."""
    return int(getattr(objective, "checks", 1))


def confirmed(objective: Objective, state: AttackState, image: Tensor, row: int) -> bool:
    """Return whether the goal holds for `[3,H,W]`; its forward passes are counted."""
    holds, passes = verdict(objective, image, row)
    state.forwards[row] += passes
    return holds


def verdict(objective: Objective, image: Tensor, row: int) -> tuple[bool, int]:
    """Return whether the goal holds for `[3,H,W]`, and the forward passes made: one that denies it is the last."""
    passes = 0
    with torch.no_grad():
        for holds in confirmations(objective, image, row):
            passes += 1
            if not holds:
                return False, passes
    return True, passes


def confirmations(objective: Any, image: Tensor, row: int) -> Iterator[bool]:
    """Yield what each forward pass that confirms `[3,H,W]` says; it is made when it is asked for."""
    if hasattr(objective, "confirmations"):
        yield from objective.confirmations(image, row)
    else:
        yield bool(objective.confirm(image, row))


def confident(attack: Attack, objective: Objective, state: AttackState, image: Tensor, row: int) -> bool:
    """Return whether an image reaches the confidence at which the attack stops, if it stops at one."""
    if attack.stop != "confidence":
        return True
    with torch.no_grad():
        evaluation = objective(image[None], torch.tensor([row]))
    state.forwards[row] += evaluation.passes
    return bool(evaluation.confidence >= attack.stop_confidence)
