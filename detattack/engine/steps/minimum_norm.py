"""Step rules of minimum-norm attacks: they look for the nearest image that meets the goal, also after the first one.

x(k) = x(0) + δ(k); g is ∂Cost/∂x(k), of the whole cost (Eq. 2), α the step size, u(v) = v / ‖v‖₂. `walk` is ours
(`jnd-min`); the others are references. None depends on the scale of the loss, λ1.
"""

import math

import torch
from torch import Tensor

from detattack.engine.presets import Attack
from detattack.engine.quantize import rounded_to_l2
from detattack.engine.state import at, placed
from detattack.engine.steps.adam import adam
from detattack.engine.steps.base import TINY, Iterate, Range, against, broadcast, l2_norms, register_step, unit


class _Annealed:
    """A rule with parameters that follow half a cosine over the `max_iterations` + 1 iterates that are judged."""

    def __init__(self, attack: Attack, images: Tensor) -> None:
        self.iterates = attack.max_iterations + 1
        self.largest = l2_norms(torch.maximum(images, 1 - images))

    def falling(self, first: float, last: float, now: Iterate) -> Tensor:
        """Return `[n,1,1,1]`: `first` at k = 0, `last` where the iterations end."""
        cosine = torch.cos(math.pi * now.number / self.iterates)
        return (last + (first - last) * (1 + cosine) / 2).to(now.images)


@register_step("walk", help="along the boundary, on whole gray levels (jnd-min)", search=Range(0.02, 10))
class BoundaryWalk(_Annealed):
    """`jnd-min`: a walk along the boundary with rounding inside, on integer gray levels from the first step on.

    v = u(r·v − α(k)·u(g)), x(k+1) = round(x(0) + t·v) with t such that ‖x(k+1) − x(0)‖₂ = r, and r = r·(1 − γ)ⁿ where
    the goal holds for the nth time in a row, r·(1 + γ) where it does not but did before, else
    r + (1 + γ)·min(|loss| / ‖∂loss/∂x‖₂, α).

    The direction v is a running average of −∂Cost/∂x scaled to norm 1: where the boundary has corners, the nearest
    point to x(0) lies along an average of the gradients around it, not along one of them. The next image is the
    rounding of x(0) + t·v whose L2 from x(0) is the radius r, t by bisection: of all changes by whole gray levels of
    that L2 it has the largest scalar product with v. Until the goal holds for the first time, the radius grows by the
    distance to the boundary to first order, but by no more than the step; then it shrinks by γ where the goal holds and
    grows by γ where it does not. The first success may lie far beyond the boundary: so it shrinks by more with each
    success in a row. The step, α at first, and γ follow half a cosine; γ ends finer where there are no levels to round
    to.
    """

    last_share = 0.01
    first_gamma = 0.1
    last_gamma_of_levels, last_gamma_of_floats = 0.01, 0.001

    def __init__(self, attack: Attack, images: Tensor) -> None:
        super().__init__(attack, images)
        self.levels = attack.levels
        self.last_gamma = self.last_gamma_of_levels if attack.levels else self.last_gamma_of_floats
        self.direction = torch.zeros_like(images)
        self.radius = images.new_zeros(len(images))
        self.found = torch.zeros_like(self.radius, dtype=torch.bool)
        self.in_a_row = torch.zeros_like(self.radius)

    def step(self, now: Iterate) -> Tensor:
        """Return x(k+1)."""
        rows = now.rows
        size = self.falling(1.0, self.last_share, now) * now.size
        direction = unit(against(now.gradient, broadcast(self.radius[rows]) * at(self.direction, rows), size))
        self.found[rows] = found = self.found[rows] | now.success
        self.in_a_row[rows] = in_a_row = (self.in_a_row[rows] + 1) * now.success
        gamma = self.falling(self.first_gamma, self.last_gamma, now).flatten()
        first_order = (1 + gamma) * now.to_boundary().minimum(size.flatten())
        # A soft loss may cross 0 before the goal holds. There rounding must not hold the image where it is.
        first_order = torch.where(now.loss > 0, first_order, first_order.maximum(self._one_level(self.radius[rows])))
        outside = self.radius[rows] + torch.where(found, gamma * self.radius[rows], first_order)
        inside = self.radius[rows] * (1 - gamma) ** in_a_row
        radius = torch.where(now.success, inside, outside).minimum(self.largest[rows])
        self.direction, self.radius[rows] = placed(self.direction, rows, direction), radius
        return rounded_to_l2(now.originals, direction, radius, self.levels)

    def _one_level(self, radius: Tensor) -> Tensor:
        """Return how much the L2 `[n]` grows if one more value changes by one level; 0 for floats."""
        return (radius**2 + (self.levels - 1) ** -2).sqrt() - radius if self.levels else torch.zeros_like(radius)


@register_step("ddn", help="decoupled direction and norm", search=Range(0.02, 10))
class DDN(_Annealed):
    """Decoupled direction and norm (Rony et al., 2019): x(k+1) = x(0) + ε(k+1)·u(δ(k) − α(k)·u(g)).

    ε(k+1) = (1 − γ)·ε(k) where the goal holds, else (1 + γ)·ε(k).

    That is a step along the gradient, then a rescaling to a norm that shrinks by γ while the goal holds and grows by γ
    while it does not. The step size falls from α to a hundredth of it. Where the gradient is exactly zero the direction
    is random, normally distributed, as in the authors' code.
    """

    first_norm = 1.0
    shift = 997
    gamma = 0.05
    last_share = 0.01

    def __init__(self, attack: Attack, images: Tensor) -> None:
        super().__init__(attack, images)
        self.norm = images.new_full((len(images),), self.first_norm)
        self.noise = torch.zeros_like(images)

    def step(self, now: Iterate) -> Tensor:
        """Return x(k+1)."""
        size = self.falling(1.0, self.last_share, now) * now.size
        moved = (now.images - now.originals).addcmul_(self._direction(now), size, value=-1)
        factor = torch.where(now.success, 1 - self.gamma, 1 + self.gamma)
        norm = torch.minimum(self.norm[now.rows] * factor, self.largest[now.rows])
        self.norm[now.rows] = norm
        return now.originals + broadcast(norm) * unit(moved)

    def _direction(self, now: Iterate) -> Tensor:
        """Return the direction of the gradient, or a random one where the gradient is zero.

        An image's noise is drawn once and shifted by some pixels at each iteration, since the host, which draws it,
        does not know which gradients are zero.
        """
        numbers = now.number.flatten().long().tolist()
        for i in (i for i, number in enumerate(numbers) if number == 0):
            noise = torch.randn(now.images[i].shape, generator=torch.Generator().manual_seed(now.seeds[i]))
            self.noise[now.rows[i : i + 1]] = noise[None].to(self.noise)
        noise = torch.stack([one.roll(self.shift * k) for one, k in zip(self.noise[now.rows], numbers, strict=True)])
        return torch.where(broadcast(l2_norms(now.gradient) == 0), noise, unit(now.gradient))


@register_step("fmn", help="fast minimum-norm attack", search=Range(0.02, 10))
class FMN(_Annealed):
    """Fast minimum-norm attack (Pintor et al., 2021) in L2: x(k+1) = x(0) + Π_ε(δ(k) − α(k)·u(g)).

    Π_ε projects onto the ball of radius ε, where ε = min((1 − γ)·ε, ‖δ*‖₂) where the goal holds, δ* the smallest
    success; else (1 + γ)·ε, and ‖δ(k)‖₂ + |loss| / ‖∂loss/∂x‖₂ until the first success.

    That is a step along the gradient inside a ball whose radius is the distance to the boundary to first order until
    the goal holds for the first time, then shrinks and grows by γ.
    """

    last_share = 0.01
    gammas = 0.05, 0.001

    def __init__(self, attack: Attack, images: Tensor) -> None:
        super().__init__(attack, images)
        self.epsilon, self.best = self.largest.clone(), self.largest.clone()
        self.found = torch.zeros_like(self.epsilon, dtype=torch.bool)

    def step(self, now: Iterate) -> Tensor:
        """Return x(k+1)."""
        rows, change = now.rows, now.images - now.originals
        length, gamma = l2_norms(change), self.falling(*self.gammas, now).flatten()
        self.found[rows] |= now.success
        self.best[rows] = best = torch.where(now.success, torch.minimum(length, self.best[rows]), self.best[rows])
        outside = torch.where(self.found[rows], self.epsilon[rows] * (1 + gamma), length + now.to_boundary())
        inside = torch.minimum(self.epsilon[rows] * (1 - gamma), best)
        epsilon = torch.minimum(torch.where(now.success, inside, outside), self.largest[rows])
        self.epsilon[rows] = epsilon
        moved = against(now.gradient, change, self.falling(1.0, self.last_share, now) * now.size)
        return now.originals + moved * broadcast((epsilon / l2_norms(moved).clamp_min(TINY)).clamp_max(1))


@register_step("cw", help="Carlini and Wagner", search=Range(1e-5, 0.2))
class CarliniWagner:
    """Carlini and Wagner (2017) in L2: x(k+1) = x(k) − Adam_α(2·δ(k) + c·g/λ1), Adam on ‖x − x(0)‖² + c·Cost/λ1.

    The cost is left out while the goal holds. c is searched: the iterations are divided into `searches` equal rounds,
    each of which starts at x(0). After a round in which an image met the goal, c is halved towards the largest c that
    failed; else it is raised tenfold, or halfway to the smallest that succeeded. The bounds are held by clamping
    instead of the change of variables.
    """

    searches = 5

    def __init__(self, attack: Attack, images: Tensor) -> None:
        self.scale = attack.loss_weight or 1.0
        self.round_length = max(1, (attack.max_iterations + 1) // self.searches)
        self.mean, self.square = torch.zeros_like(images), torch.zeros_like(images)
        self.weight, self.low = images.new_ones(len(images)), images.new_zeros(len(images))
        self.high = torch.full_like(self.low, torch.inf)
        self.found = torch.zeros_like(self.low, dtype=torch.bool)

    def step(self, now: Iterate) -> Tensor:
        """Return x(k+1)."""
        rows, number = now.rows, now.number % self.round_length + 1
        self.found[rows] |= now.success
        weight = torch.where(now.success, 0.0, self.weight[rows] / self.scale)
        gradient = torch.addcmul(2 * (now.images - now.originals), now.gradient, broadcast(weight))
        mean, square, direction = adam(at(self.mean, rows), at(self.square, rows), gradient, number)
        over = (number == self.round_length).to(rows.device)
        on = (~over).to(gradient)  # the next round begins with running means of 0
        self.mean, self.square = placed(self.mean, rows, mean * on), placed(self.square, rows, square * on)
        self._search(rows, over.flatten())
        return torch.where(over, now.originals, torch.addcmul(now.images, direction, now.size, value=-1))

    def _search(self, rows: Tensor, over: Tensor) -> None:
        """Set the next c of the images whose round is over."""
        weight, found = self.weight[rows], self.found[rows]
        low = torch.where(over & ~found, weight, self.low[rows])
        high = torch.where(over & found, weight, self.high[rows])
        following = torch.where(high.isfinite(), (low + high) / 2, 10 * weight)
        self.low[rows], self.high[rows] = low, high
        self.weight[rows] = torch.where(over, following, weight)
        self.found[rows] = found & ~over


@register_step(
    "deepfool", help="to the boundary made linear; step_size: overshoot", search=Range(1e-3, 1), own_loop=True
)
class DeepFool:
    """DeepFool for an objective with one loss, that of a detector: step to the boundary of the linearized loss.

    x(k+1) = x(0) + (1 + α)·Σ_{j≤k} −u(g(j))·|loss(j)| / ‖∂loss(j)/∂x‖₂, where α is the overshoot. Classifiers, where
    each class has a boundary of its own, use `run_deepfool`.
    """

    def __init__(self, attack: Attack, images: Tensor) -> None:
        self.total = torch.zeros_like(images)

    def step(self, now: Iterate) -> Tensor:
        """Return x(k+1)."""
        self.total[now.rows] -= broadcast(now.to_boundary()) * unit(now.gradient)
        return now.originals + (1 + now.size) * self.total[now.rows]
