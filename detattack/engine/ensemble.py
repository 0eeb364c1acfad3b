"""`ensemble`: several losses within one budget, and the worst image over all of them. It has no parameters.

Each loss that the objective offers is a member with its own iterates, step size and worst image. All begin with a few
passes, the two best have three times as many more if they are close, and the best goes on. After half of the passes it
is a relay: a member that makes little progress hands the worst image over to the next. A reserve comes in only there,
and where more than half of what was right is left it has a walk of its own first. A member goes back to its worst image
and halves its step when it makes no progress, or meets an image that it has seen: on whole gray levels cycles are
exact. When its step is too small to change anything it starts again, from a random image in the budget.

Iterations of an image are its passes, whichever member makes them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, repeat
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from detattack.core.errors import InputError
from detattack.core.types import WHOLLY_WRONG
from detattack.core.wording import counted
from detattack.engine.cost import squared_l2
from detattack.engine.loop import bounded
from detattack.engine.presets import Attack
from detattack.engine.quantize import l2_radius
from detattack.engine.refine import finish
from detattack.engine.state import AttackResult, AttackState, Objective, at, judge
from detattack.engine.steps.base import TINY, all_finite, unit

FIRST_STEP, TAKING_OVER = 1 / 2, 1 / 4
"""The first step of a member, as a share of the radius, and of one that takes the worst image over."""
SMALLEST_STEP = 1 / 16
"""Where the step is a smaller share of the radius, a member starts again."""
MOMENTUM = 0.75
"""Share of its velocity that a member keeps from pass to pass, to which the gradient is added at a mean size of 1."""
PATIENCE = 4
"""Passes without a worse image after which a member halves its step."""
SHORT_START = 3
"""Passes of each member at first, where there are enough."""
SECOND_LOOK = 3
"""How many times as many the two best then have each: what falls fast at first does not fall the farthest."""
CLOSE = 1 / 2
"""Of the gain of the best, what the second has to have gained to be looked at again."""
MUCH_LEFT = 1 / 2
"""Of what is right in the image that a member begins with, what has to be left for the reserve to begin there, too."""
STALLED, LITTLE = 6, 1 / 50
"""Passes in which a member has to take away more than this share of what is right, or it hands over."""


class Members(Objective, Protocol):
    """An objective with several losses."""

    members: Sequence[str]
    """Names of the losses, the first being the one that takes over first."""
    reserve: Sequence[str]
    """Those of them, the last ones, that wait until the others have shown what they leave."""

    def __call__(self, images: Tensor, index: Tensor, members: Sequence[int] | None = None) -> Any:
        """Evaluate as an `Objective` does, image i by the loss `members[i]`."""


@dataclass
class _Walk:
    """How a member is doing on one image.

    - size: its step, as a share of the radius
    - first: harm of the image that it began with
    - most_harm: of its worst image since it started; record: of all
    - progress: most_harm after each pass, since it took over
    - since: passes without a worse one
    - seen: what tells images that it has seen with this step
    """

    size: float = FIRST_STEP
    first: float | None = None
    most_harm: float = -torch.inf
    record: float = -torch.inf
    progress: list[float] = field(default_factory=list)
    since: int = 0
    seen: set[tuple[float, float]] = field(default_factory=set)

    def note(self, harm: float, loss: float) -> bool:
        """Note an image; return whether it is the worst so far."""
        self.first = harm if self.first is None else self.first
        seen = (harm, loss) in self.seen
        self.seen.add((harm, loss))
        worst = harm > self.most_harm
        self.most_harm, self.record = max(harm, self.most_harm), max(harm, self.record)
        self.progress.append(self.most_harm)
        self.since = 0 if worst else PATIENCE if seen else self.since + 1
        return worst

    @property
    def gain(self) -> float:
        """By how much its worst image is worse than the one that it began with."""
        return 0.0 if self.first is None else self.record - self.first

    @property
    def leaves_much(self) -> bool:
        """Whether more than half of what was right in the image that it began with is right in its worst."""
        return self.first is not None and self.record < MUCH_LEFT * self.first

    @property
    def stalled(self) -> bool:
        """Whether its last passes took little of what is right, or it started again; never where nothing is left."""
        if self.record >= WHOLLY_WRONG or len(self.progress) <= STALLED:
            return False
        before, now = self.progress[-1 - STALLED], self.progress[-1]
        return now - before < LITTLE * abs(now)

    def take_over(self) -> None:
        """Begin at another member's worst image."""
        self._start(TAKING_OVER)
        self.progress = []

    def shorten(self) -> bool:
        """Halve the step; return whether it is then too small, and the walk to start again."""
        if self.size / 2 >= SMALLEST_STEP:
            self._step_by(self.size / 2)
            return False
        self._start(FIRST_STEP)
        return True

    def _start(self, size: float) -> None:
        self._step_by(size)
        self.most_harm = -torch.inf

    def _step_by(self, size: float) -> None:
        self.size, self.since, self.seen = size, 0, set()


class Turn(NamedTuple):
    """Whose pass it is, and whether that member takes the worst image over first."""

    member: int
    takes_over: bool = False


def turns(walks: Sequence[_Walk], passes: int, reserve: int = 0) -> Iterator[Turn]:
    """Yield whose pass each is on an image: all, then those that are close to the best, then the best, then a relay.

    reserve: how many of them, the last ones, come in with the relay alone. A single member has all passes.
    """
    if len(walks) == 1:
        yield from repeat(Turn(0))  # without end
    length = max(1, min(SHORT_START, passes // (5 * len(walks))))
    left, made = list(range(len(walks) - reserve)), 0
    for choose, look in ((_close, length), (_best, SECOND_LOOK * length)):
        for member in left if len(left) > 1 else ():
            yield from [Turn(member)] * look
            made += look
        left = choose(walks, left)
    yield from [Turn(left[0])] * (passes // 2 - made)
    yield from _relay(walks, left[0], reserve)


def _relay(walks: Sequence[_Walk], best: int, reserve: int) -> Iterator[Turn]:
    """Yield the turns from the best member on: each goes on until it stalls, and the next takes over."""
    member = best
    for turn in _takers(walks, best, reserve):
        while not walks[member].stalled:
            yield Turn(member)
        yield turn
        member = turn.member


def _takers(walks: Sequence[_Walk], best: int, reserve: int) -> Iterator[Turn]:
    """Yield who comes after the best member, without end.

    First the first, where it is not the best; then the reserve, where much is left by a walk of its own before it
    takes over; then all in their order, and the reserve again.
    """
    ordinary, waiting = range(len(walks) - reserve), range(len(walks) - reserve, len(walks))
    if best != 0:
        yield Turn(0, True)
    if all(walks[member].leaves_much for member in ordinary):
        yield from map(Turn, waiting)
    for member in cycle([*waiting, *ordinary]):
        yield Turn(member, True)


def _best(walks: Sequence[_Walk], members: Sequence[int]) -> list[int]:
    """Return the member with the worst image."""
    return [max(members, key=lambda member: walks[member].record)]


def _close(walks: Sequence[_Walk], members: Sequence[int]) -> list[int]:
    """Return the two best members; the best alone where the second has gained much less.

    Where nothing right is left, which it may have reached at once, the second may still find more that is false.
    """
    best, *others = sorted(members, key=lambda member: -walks[member].record)
    wrong = walks[best].record >= WHOLLY_WRONG
    return [best, *(one for one in others[:1] if wrong or walks[one].gain >= CLOSE * walks[best].gain)]


def check_passes(attack: Attack, members: int) -> None:
    """Raise `InputError` where the passes of an image are too few for an iteration of each member."""
    if attack.max_iterations < members:
        passes = counted(attack.max_iterations, "pass an image is", "passes an image are")
        raise InputError(f"method {attack.name}: {passes} too few for its {members} losses")


def run_ensemble(
    attack: Attack,
    images: Tensor,
    objective: Members,
    active: int | None = None,
    seeds: Sequence[int] | None = None,
    starts: Tensor | None = None,
    where: Tensor | None = None,
) -> AttackResult:
    """Spend a budget on a batch of images by all losses of an objective, and return the worst images found.

    All as of `loop.run`; `attack.max_iterations` is the number of backward passes of each image.
    """
    check_passes(attack, len(objective.members))
    state = AttackState(images.detach(), active, seeds=seeds, starts=starts, where=where)
    ensemble = _Ensemble(attack, objective, state)
    while len(state.rows):
        ensemble.iterate()
    return finish(attack, objective, state)


class _Ensemble:
    """The members' walks over a batch.

    - walks: by image and member; turns: by image; now: the member at each image
    - floats, velocities: `[M,N,3,H,W]`, where each member is, and the running sum of its gradients
    - worst, directions: `[M,N,3,H,W]`, its worst iterate, and the velocity there
    """

    def __init__(self, attack: Attack, objective: Members, state: AttackState) -> None:
        self.attack, self.objective, self.state = attack, objective, state
        images, members = range(len(state.floats)), range(len(objective.members))
        self.walks = [[_Walk() for _ in members] for _ in images]
        reserve = len(objective.reserve)
        self.turns = [turns(self.walks[row], attack.max_iterations, reserve) for row in images]
        self.now = [next(turn).member for turn in self.turns]
        self.floats = torch.stack([state.floats for _ in members])
        self.worst, self.velocities = self.floats.clone(), torch.zeros_like(self.floats)
        self.directions = torch.zeros_like(self.floats)
        self.radius = l2_radius(attack, state.floats) if attack.norm != "linf" else None
        self.random = [torch.Generator().manual_seed(seed) for seed in state.seeds]

    def iterate(self) -> None:
        """Make one pass on each active image."""
        state, index = self.state, self.state.index
        rows, seen = state.rows, state.seen(self.attack).requires_grad_()
        evaluation = self.objective(seen, rows, [self.now[row] for row in rows.tolist()])
        distance = squared_l2(seen.detach(), at(state.originals, index)).sqrt()
        state.record(evaluation, distance, loss_cost=evaluation.loss)
        harms, losses = evaluation.worst_is().tolist(), evaluation.loss.tolist()
        continuing, _ = judge(self.attack, self.objective, state, seen, evaluation, distance)
        if len(continuing):
            chosen = state.on_device(continuing)
            (gradient,) = torch.autograd.grad(evaluation.loss[chosen].sum(), seen)
            state.backwards[rows[continuing]] += evaluation.passes
            gradient = state.steepest(gradient, index)
            for i in continuing.tolist():
                self._move(int(rows[i]), gradient[i], harms[i], losses[i])
        state.advance(continuing)

    def _move(self, row: int, gradient: Tensor, harm: float, loss: float) -> None:
        """Move the member that has evaluated an image, and give the turn to the next."""
        state, member = self.state, self.now[row]
        walk, floats = self.walks[row][member], state.floats[row]
        if not all_finite(gradient[None]):
            state.healthy[row] = False
            return
        again = False
        velocity = MOMENTUM * self.velocities[member, row] + gradient / gradient.abs().mean().clamp_min(TINY)
        if walk.note(harm, loss):
            self.worst[member, row], self.directions[member, row] = floats, velocity
        elif walk.since >= PATIENCE:
            again = walk.shorten()
            floats, velocity = self.worst[member, row], self.directions[member, row]
        moved = self._random(row) if again else floats - self._step(row, walk.size, velocity)
        self.velocities[member, row] = 0.0 if again else velocity
        moved = state.confined(moved[None], torch.tensor([row]))
        self.floats[member, row] = bounded(self.attack, moved, state.originals[row, None])[0].clamp(0, 1)
        turn = next(self.turns[row])
        if turn.takes_over:
            self.floats[turn.member, row], self.velocities[turn.member, row] = state.best[row], 0.0
            self.walks[row][turn.member].take_over()
        self.now[row] = turn.member
        state.floats[row] = self.floats[turn.member, row]

    def _step(self, row: int, share: float, direction: Tensor) -> Tensor:
        """Return a step along a direction `[3,H,W]`; share: of the radius."""
        if self.radius is None:
            return share * (self.attack.radius or 0.0) * direction.sign()
        return share * self.radius[row] * unit(direction[None])[0]

    def _random(self, row: int) -> Tensor:
        """Draw an image within the radius."""
        original = self.state.originals[row]
        noise = torch.rand(original.shape, generator=self.random[row]).to(original) * 2 - 1
        if self.radius is None:
            return original + noise * (self.attack.radius or 0.0)
        return original + self._step(row, 1.0, noise)
