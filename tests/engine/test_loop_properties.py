"""What every attack keeps, whatever its numbers: properties over random attacks on random problems, and gradients in
float64 against finite differences."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detattack.core.types import Evaluation
from detattack.engine import Attack, run
from detattack.engine import loop as engine_loop
from detattack.engine.cost import bounded_range, squared_l2, total_variation
from detattack.engine.quantize import as_file
from detattack.engine.steps import STEPS

RULES = sorted(name for name, rule in STEPS.items() if rule.make)
SHAPE = (3, 4, 5)
NUMBERS = st.sampled_from((0.0, 0.01, 0.3, 1.0, 7.0))
attacks = st.builds(
    Attack,
    st.just("any"),
    st.sampled_from(RULES),
    st.sampled_from((1e-4, 0.02, 0.3, 5.0)),
    growth=st.sampled_from((1.0, 1.1)),
    loss_weight=NUMBERS,
    l2_weight=NUMBERS,
    range_weight=NUMBERS,
    tv_weight=NUMBERS,
    max_iterations=st.integers(1, 12),
    levels=st.sampled_from((None, 256, 16)),
    stop=st.sampled_from(("first", "confidence", "budget")),
    stop_confidence=st.sampled_from((0.0, 0.6)),
    radius=st.sampled_from((None, 0.1, 0.5)),
    norm=st.sampled_from(("linf", "l2")),
    refine=st.sampled_from((0, 3)),
)
seeds = st.integers(0, 2**32)
few = settings(max_examples=60, deadline=None)


class Problem:
    """Success is to bring a smooth function of the image below 0. Notes all that it is shown."""

    def __init__(self, seed: int, count: int = 2, levels: int | None = None):
        generator = torch.Generator().manual_seed(seed)
        self.images = as_file(torch.rand(count, *SHAPE, generator=generator, dtype=torch.float64), levels)
        self.direction = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
        self.offset = torch.rand(count, generator=generator, dtype=torch.float64)
        self.start = (self.images * self.direction).flatten(1).sum(1)
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.confirmed: list[tuple[int, torch.Tensor]] = []

    def loss(self, images: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        margin = (images * self.direction).flatten(1).sum(1) - self.start[index] + self.offset[index]
        return margin + 0.1 * torch.sin(3 * margin)

    def __call__(self, images: torch.Tensor, index: torch.Tensor) -> Evaluation:
        self.seen.append((index.clone(), images.detach().clone()))
        loss = self.loss(images, index)
        return Evaluation(loss, loss < 0, torch.sigmoid(-4 * loss).detach())

    def confirm(self, image: torch.Tensor, index: int) -> bool:
        good = bool(self.loss(image[None], torch.tensor([index])) < 0)
        if good:
            self.confirmed.append((index, image.clone()))
        return good

    def shown(self, row: int) -> list[torch.Tensor]:
        """Every iterate of an image that the model saw with a gradient to come, in order."""
        return [images[index.tolist().index(row)] for index, images in self.seen if row in index.tolist()]


# Invariants


@few
@given(attacks, seeds)
def test_values_stay_in_the_range(attack, seed):
    problem = Problem(seed, levels=attack.levels)
    result = run(attack, problem.images, problem)
    for images in (result.images, result.first_images, *(seen for _, seen in problem.seen)):
        assert 0 <= float(images.min()) <= float(images.max()) <= 1
    if attack.levels is not None:
        for images in (result.images, result.first_images):
            assert torch.equal(as_file(images, attack.levels), images)


@few
@given(attacks, seeds)
def test_k_is_the_first_confirmed_success_and_x_of_k_the_image_that_was_confirmed(attack, seed):
    attack = replace(attack, refine=0)
    problem = Problem(seed, levels=attack.levels)
    result = run(attack, problem.images, problem)
    for row in range(len(problem.images)):
        k, shown = int(result.first_iteration[row]), problem.shown(row)
        confident = attack.stop != "confidence"
        wins = [
            bool(problem.loss(x[None], torch.tensor([row])) < 0)
            and (
                confident
                or bool(torch.sigmoid(-4 * problem.loss(x[None], torch.tensor([row]))) >= attack.stop_confidence)
            )
            for x in shown
        ]
        assert bool(result.success[row]) == any(wins)
        assert k == (wins.index(True) if any(wins) else -1)
        if k >= 0:
            assert torch.equal(result.first_images[row], shown[k])
            assert any(index == row and torch.equal(image, shown[k]) for index, image in problem.confirmed)


@few
@given(attacks, seeds, st.integers(1, 10))
def test_no_iteration_after_success_changes_x_of_k(attack, seed, more):
    """Whatever comes after the first success, for a smaller one or for shrinking it, leaves K and x(K) as they are."""
    problem = Problem(seed, levels=attack.levels)
    short = run(attack, problem.images, problem)
    longer = replace(attack, max_iterations=attack.max_iterations + more)
    if attack.step in ("ddn", "fmn", "cw", "walk"):  # these plan for as many iterations as there are
        longer = replace(attack, refine=0, stop="first" if attack.stop == "budget" else attack.stop)
    long = run(longer, problem.images, Problem(seed, levels=attack.levels))
    for row in short.success.nonzero().flatten().tolist():
        assert long.first_iteration[row] == short.first_iteration[row]
        assert torch.equal(long.first_images[row], short.first_images[row])


@few
@given(attacks, seeds)
def test_what_is_found_is_never_larger_than_x_of_k(attack, seed):
    problem = Problem(seed, levels=attack.levels)
    result = run(attack, problem.images, problem)
    found, first = ((x - problem.images).flatten(1).norm(dim=1) for x in (result.images, result.first_images))
    assert (found[result.success] <= first[result.success] * (1 + 1e-12)).all()


TERMS = {"l2_weight": "squared_l2", "range_weight": "bounded_range", "tv_weight": "total_variation"}


@few
@given(attacks, seeds, st.sampled_from(sorted(TERMS)))
def test_a_weight_of_zero_removes_its_term_to_the_last_bit(attack, seed, weight):
    """The same bits where that term is another function altogether."""
    attack = replace(attack, **{weight: 0.0})
    problem = Problem(seed, levels=attack.levels)
    result = run(attack, problem.images, problem)

    kept = getattr(engine_loop, TERMS[weight])

    def other(images: torch.Tensor, *given: Any) -> torch.Tensor:
        if weight == "l2_weight":  # it is also what the distance is taken from
            assert given[2] is None  # no gradient is asked for
            return kept(images, *given)
        return 3 + 100 * images.square().flatten(1).sum(1)

    try:
        setattr(engine_loop, TERMS[weight], other)
        changed = run(attack, problem.images, Problem(seed, levels=attack.levels))
    finally:
        setattr(engine_loop, TERMS[weight], kept)
    assert torch.equal(result.images, changed.images)
    assert torch.equal(result.first_images, changed.first_images)
    assert torch.equal(result.first_iteration, changed.first_iteration)


# Gradients


def slope(function, x: torch.Tensor, step: float = 1e-6) -> torch.Tensor:
    """Central finite differences of a function `[1,3,H,W]` -> `[1]`, value by value."""
    found = torch.zeros_like(x)
    for place in range(x.numel()):
        nudge = torch.zeros_like(x).view(-1)
        nudge[place] = step
        nudge = nudge.view_as(x)
        found.view(-1)[place] = float(function(x + nudge) - function(x - nudge)) / (2 * step)
    return found


@pytest.mark.parametrize("rule", RULES)
def test_every_step_rule_is_given_the_gradient_of_the_whole_cost(rule, monkeypatch):
    """λ1·loss + λ2·‖x − x0‖² + λ3·range + λ4·variation of Eq. 2, at the image that the model saw."""
    problem = Problem(3, count=1)
    problem.images = 0.2 + 0.6 * problem.images
    attack = Attack("t", rule, 0.01, 1.0, 0.7, 0.3, 2.0, 1.1, max_iterations=4, levels=None, stop="budget")
    given: list[tuple[torch.Tensor, torch.Tensor]] = []

    class Noting(STEPS[rule].make):
        def step(self, now):
            given.append((now.images.clone(), now.gradient.clone()))
            return super().step(now)

    monkeypatch.setattr(engine_loop, "make_step", Noting)
    run(attack, problem.images, problem)
    assert len(given) == 4

    def cost(x: torch.Tensor) -> torch.Tensor:
        loss = problem.loss(x, torch.tensor([0]))
        return 0.7 * loss + 0.3 * squared_l2(x, problem.images) + 2.0 * bounded_range(x) + 1.1 * total_variation(x)

    for image, gradient in given:
        inside = (image > 1e-3) & (image < 1 - 1e-3)  # at the bounds the range term has a corner
        assert inside.sum() > 50
        torch.testing.assert_close(gradient[inside], slope(cost, image)[inside], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("levels", [None, 256])
def test_the_gradient_of_the_rounded_image_moves_the_float_one(levels, monkeypatch):
    """Straight through: it is taken where the model looked."""
    problem = Problem(5, count=1)
    problem.images = 0.2 + 0.6 * problem.images
    given: list[tuple[torch.Tensor, torch.Tensor]] = []

    class Noting(STEPS["gd"].make):
        def step(self, now):
            given.append((now.images.clone(), now.gradient.clone()))
            return super().step(now)

    monkeypatch.setattr(engine_loop, "make_step", Noting)
    run(Attack("t", "gd", 1e-3, max_iterations=3, levels=levels, stop="budget"), problem.images, problem)
    for image, gradient in given:
        expected = slope(lambda x: problem.loss(x, torch.tensor([0])), as_file(image, levels))
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-7)
