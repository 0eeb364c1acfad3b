"""Minimum-norm attacks on linear models, where the smallest change is known: margin / ‖w‖ along w; rounding to gray
levels; and the search that takes changes back."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from detattack.core.types import Evaluation
from detattack.engine import PRESETS, Attack, run
from detattack.engine import loop as engine_loop
from detattack.engine.perceptual import contrast_weights
from detattack.engine.quantize import as_file, rounded_to_l2
from detattack.engine.steps import STEPS
from tests.engine.steps.rules import ROWS, Rule, gradients

SHAPE = 3, 24, 32
SMOOTH = {"jnd-min": 1.001, "ddn": 1.03, "fmn": 1.02}
"""How far from the optimum, as a factor, each may end within 200 iterations."""


class HalfSpace:
    """Images in the middle of the range, the boundary of image i at the distance `distances[i]`; a success from there
    on. Counts the passes of each image."""

    slack = 1e-9  # FMN's steps end on the boundary itself, up to the last bit

    def __init__(self, distances, levels=None, seed=0, dtype=torch.float64):
        generator = torch.Generator().manual_seed(seed)
        self.normal = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
        self.normal = (self.normal / self.normal.norm()).to(dtype)
        gray = 0.4 + 0.2 * torch.rand(len(distances), *SHAPE, generator=generator, dtype=torch.float64)
        self.images = as_file(gray, levels).to(dtype)
        self.distances = torch.tensor(distances, dtype=dtype)
        self.calls = torch.zeros(len(distances), dtype=torch.long)

    def margin(self, images, index):
        return self.distances[index] - ((images - self.images[index]) * self.normal).flatten(1).sum(1)

    def __call__(self, images, index):
        self.calls[index] += 1
        margin = self.margin(images, index)
        return Evaluation(3 * margin, margin < self.slack, torch.sigmoid(-margin).detach())

    def confirm(self, image, index):
        self.calls[index] += 1
        return bool(self.margin(image[None], torch.tensor([index])) < self.slack)

    def smallest_in_levels(self, row):
        """The smallest L2 of a change by whole gray levels: those with the largest |w| / (2|n| + 1) first."""
        weights = self.normal.flatten().abs().double()
        counts = torch.arange(1, 60, dtype=torch.float64)[:, None]
        value, cost = (weights / (2 * counts - 1)).flatten(), (2 * counts - 1).expand(-1, len(weights)).flatten()
        gain = weights.expand(len(counts), -1).flatten()
        order = value.argsort(descending=True)
        needed = int((gain[order].cumsum(0) < 255 * float(self.distances[row])).sum()) + 1
        return math.sqrt(float(cost[order[:needed]].sum())) / 255


def lengths(result, problem):
    return (result.images - problem.images).flatten(1).norm(dim=1)


@pytest.mark.parametrize("name", sorted(SMOOTH))
def test_floats_end_at_the_margin_over_the_gradient(name):
    problem = HalfSpace([0.05, 0.3, 1.0, 3.0])
    result = run(replace(PRESETS[name], levels=None, max_iterations=200), problem.images, problem)
    assert result.success.all()
    ratio = lengths(result, problem) / problem.distances
    assert (ratio >= 1 - 1e-6).all()
    assert float(ratio.max()) <= SMOOTH[name]


class Overshot(HalfSpace):
    """A loss by whose slope the boundary seems four times as far as it is."""

    def __call__(self, images, index):
        margin = self.margin(images, index)
        loss = margin.sign() * margin.abs() ** (1 / 4)
        return Evaluation(loss, margin < self.slack, torch.sigmoid(-margin).detach())


def test_a_walk_comes_back_from_a_first_success_far_beyond_the_boundary():
    problem = Overshot([0.1, 0.5])
    attack = replace(PRESETS["jnd-min"], levels=None, step_size=4.0, max_iterations=20)
    result = run(attack, problem.images, problem)
    assert result.first_iteration.tolist() == [1, 1]
    assert ((result.first_images - problem.images).flatten(1).norm(dim=1) > 4 * problem.distances).all()
    assert (lengths(result, problem) <= 1.1 * problem.distances).all()


def test_carlini_wagner_nears_it():
    problem = HalfSpace([0.3, 1.0])
    result = run(replace(PRESETS["cw"], levels=None, max_iterations=999), problem.images, problem)
    ratio = lengths(result, problem) / problem.distances
    assert (ratio >= 1).all()
    assert float(ratio.max()) <= 1.1


@pytest.mark.parametrize("levels", [None, 256])
def test_deepfool_is_the_projection_with_its_overshoot(levels):
    problem = HalfSpace([0.5, 2.0], levels)
    attack = replace(PRESETS["deepfool"], levels=None)
    result = run(attack, problem.images, problem)
    assert result.first_iteration.tolist() == [1, 1]
    torch.testing.assert_close(lengths(result, problem), 1.02 * problem.distances)


@pytest.mark.parametrize("levels", [None, 256])
@pytest.mark.parametrize("name", ["jnd-min", "ddn", "fmn", "cw", "deepfool"])
def test_the_scale_of_the_loss_changes_nothing(name, levels):
    problem = HalfSpace([0.3, 1.0], levels)
    attacks = [replace(PRESETS[name], levels=levels, loss_weight=weight) for weight in (0.01, 1.0, 100.0)]
    small, one, large = (run(attack, problem.images, problem) for attack in attacks)
    assert one.success.all()
    for other in (small, large):
        torch.testing.assert_close(lengths(other, problem), lengths(one, problem), rtol=1e-6, atol=0)
        assert torch.equal(other.first_iteration, one.first_iteration)


@pytest.mark.parametrize("weight", [0.01, 1.0, 100.0])
def test_the_distance_to_the_boundary_is_that_of_the_loss_whatever_the_regularizers(weight, monkeypatch):
    found = []

    class Probe(STEPS["gd"].make):
        def step(self, now):
            found.append(now.to_boundary())
            return now.images

    monkeypatch.setattr(engine_loop, "make_step", Probe)
    problem = HalfSpace([0.3, 1.0])
    plain = Attack("t", "gd", 1.0, loss_weight=weight, max_iterations=1, levels=None)
    regularized = replace(plain, l2_weight=3.0, range_weight=5.0, tv_weight=700.0)
    for attack in (plain, regularized, replace(plain, perceptual=True), replace(regularized, perceptual=True)):
        run(attack, problem.images, problem)
    torch.testing.assert_close(found[0], problem.distances)
    torch.testing.assert_close(found[1], problem.distances)
    torch.testing.assert_close(found[3], found[2])


class Saturated(HalfSpace):
    """Without any gradient until a tenth of the way is done."""

    def __call__(self, images, index):
        evaluation = super().__call__(images, index)
        return evaluation._replace(loss=evaluation.loss.minimum(2.7 * self.distances[index]))


def test_ddn_leaves_a_place_without_a_gradient_and_each_image_on_its_own():
    problem = Saturated([1.0, 1.0, 1.0])
    attack = replace(PRESETS["ddn"], levels=None, max_iterations=200)
    found = run(attack, problem.images, problem, active=2, seeds=[3, 4, 5])
    assert found.success.all()
    assert float(lengths(found, problem).max()) < 1.05
    short, alone = replace(attack, max_iterations=5), Saturated([1.0])
    alone.images = problem.images[1:2]
    astray = run(short, problem.images, problem, active=2, seeds=[3, 4, 5])
    for seed, same in ((4, True), (5, False)):
        again = run(short, alone.images, alone, seeds=[seed])
        assert torch.equal(again.images[0], astray.images[1]) is same
    zero = run(replace(PRESETS["fmn"], levels=None), problem.images, problem)
    assert torch.equal(zero.images, problem.images)  # its reference code has no random direction


@pytest.mark.parametrize("distance", [0.02, 0.1, 0.4, 2.0])
def test_in_gray_levels_the_walk_finds_the_smallest_change_there_is(distance):
    """The best rounding is no nearest one: only the values with the largest gradients change at all."""
    problem = HalfSpace([distance], 256)
    smallest = problem.smallest_in_levels(0)
    result = run(PRESETS["jnd-min"], problem.images, problem)
    assert result.success.all()
    assert float(lengths(result, problem)) <= 1.01 * smallest + 0.5 / 255
    assert float(lengths(result, problem)) >= smallest * (1 - 1e-9)


class SoftHalfSpace(HalfSpace):
    """Its loss is 0 long before the goal holds, as a margin over a soft maximum may be: exactly where the `values` with
    the largest gradients have changed by one level."""

    def __init__(self, distance, values):
        super().__init__([distance], 256)
        self.softness = distance - float(self.normal.flatten().abs().topk(values).values.sum()) / 255

    def __call__(self, images, index):
        evaluation = super().__call__(images, index)
        return evaluation._replace(loss=evaluation.loss - 3 * self.softness)


@pytest.mark.parametrize("distance", [0.1, 0.4, 2.0])
@pytest.mark.parametrize("values", [1, 6, 60])
def test_a_loss_that_crosses_zero_before_the_goal_holds_does_not_stop_the_walk(distance, values):
    problem = SoftHalfSpace(distance, values)
    smallest = problem.smallest_in_levels(0)
    result = run(PRESETS["jnd-min"], problem.images, problem)
    assert result.success.all()
    assert float(lengths(result, problem)) <= 1.02 * smallest + 0.5 / 255


def test_where_little_room_is_left_the_walk_needs_less_than_ddn():
    problem = HalfSpace([0.05], 256)
    walk, ddn = (lengths(run(PRESETS[name], problem.images, problem), problem) for name in ("jnd-min", "ddn"))
    assert float(walk) < float(ddn)


@given(st.floats(0.01, 3), st.integers(0, 2**32))
def test_a_rounded_image_has_the_length_asked_for(length, seed):
    generator = torch.Generator().manual_seed(seed)
    originals = torch.randint(0, 256, (2, 3, 12, 16), generator=generator) / 255
    directions = torch.randn(originals.shape, generator=generator)
    directions = directions / directions.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    images = rounded_to_l2(originals, directions, torch.full((2,), length), 256)
    change = (images - originals) * 255
    assert torch.allclose(change, change.round(), atol=1e-3)
    assert ((images >= 0) & (images <= 1)).all()
    assert (change * directions >= -1e-3).all()  # each value moves the way of its direction, or not at all
    found = change.flatten(1).norm(dim=1)
    assert (found >= 1 - 1e-3).all()
    free = ((originals > 0.2) & (originals < 0.8)).float().mean() * originals[0].numel()
    if length * 255 > 4 and length < 0.2 * math.sqrt(float(free)):
        assert torch.allclose(found, torch.full_like(found, 255 * length), rtol=0.2)


@pytest.mark.parametrize("name", ["jnd-min", "ddn", "fmn", "jnd"])
def test_taking_changes_back_only_shrinks_and_every_pass_is_counted(name):
    attack = replace(PRESETS[name], max_iterations=30, undo=0)
    plain, shrunk = HalfSpace([0.1, 0.5], 256), HalfSpace([0.1, 0.5], 256)
    before, after = run(attack, plain.images, plain), run(replace(attack, undo=10), shrunk.images, shrunk)
    assert after.success.all()
    assert (lengths(after, shrunk) <= lengths(before, plain)).all()
    assert torch.equal(after.backwards, before.backwards + 1)
    assert torch.equal(after.forwards + after.backwards - shrunk.calls, after.backwards)
    assert all(shrunk.margin(after.images[row : row + 1], torch.tensor([row])) < shrunk.slack for row in range(2))
    assert torch.equal(after.first_images, before.first_images)


def test_a_wasteful_change_is_taken_back():
    """PGD in L∞ moves every value by four levels here; half of them hardly matter, and one of their four goes."""
    problem = HalfSpace([0.3], 256)
    problem.normal[:, :, 16:] *= 0.01
    attack = replace(PRESETS["pgd-linf"], step_size=1 / 255, undo=12)
    before, after = (run(replace(attack, undo=n), problem.images, problem) for n in (0, 12))
    assert torch.equal((255 * (before.images - problem.images).abs()).round(), torch.full((1, *SHAPE), 4.0).double())
    expected = math.sqrt((16 + 9) / (16 + 16)) * lengths(before, problem)
    torch.testing.assert_close(lengths(after, problem), expected, rtol=0.02, atol=0)


def test_a_proposal_that_is_not_confirmed_counts_as_outside():
    """Else the radius would shrink for ever around a point that the model's own inference rejects."""

    class Stricter(HalfSpace):
        def confirm(self, image, index):
            return bool(self.margin(image[None], torch.tensor([index])) < -0.05)

    problem = Stricter([0.5])
    for name in ("jnd-min", "ddn"):
        result = run(replace(PRESETS[name], levels=None), problem.images, problem)
        assert result.success.all()
        assert 0.55 <= float(lengths(result, problem)) <= 0.6


@pytest.mark.parametrize("name", ["jnd", "jnd-min"])
def test_a_perceptual_walk_ends_at_the_smallest_weighted_change(name):
    """Closed form: ‖w·d‖ with n·d = c is least along n / w², at c / ‖n / w‖."""
    problem = HalfSpace([0.3])
    problem.images[..., 16:] = 0.5  # flat on the right
    weights = contrast_weights(problem.images)
    smallest = 0.3 / float((problem.normal / weights).norm())
    attack = replace(PRESETS[name], levels=None, l2_weight=0, range_weight=0, tv_weight=0, max_iterations=150)
    attack = replace(attack, refine=12, step_size=0.05)
    found = run(replace(attack, perceptual=True), problem.images, problem)
    plain = run(attack, problem.images, problem)
    weighted = [float((weights * (one.images - problem.images)).norm()) for one in (found, plain)]
    assert smallest * (1 - 1e-6) <= weighted[0] <= 1.01 * smallest
    assert weighted[1] > 1.02 * smallest


def test_weights_are_lower_where_the_image_is_busy():
    problem = HalfSpace([0.3])
    problem.images[..., 16:] = 0.5
    weights = contrast_weights(problem.images)
    assert float(weights.mean()) == pytest.approx(1)
    assert float(weights[..., :12].max()) < float(weights[..., 20:].min())


def test_where_a_gradient_is_zero_ddn_goes_in_a_random_direction_of_the_image_and_the_iteration():
    (given,) = gradients()
    gradient = given.clone()
    gradient[:2] = 0

    def steps(gradient, rows):
        rule = Rule("ddn")
        return torch.stack([rule.step(gradient[rows], rows, 0.3) for _ in range(2)])

    found, alone = steps(gradient, ROWS), steps(gradient, ROWS[1:2])
    assert torch.equal(found[:, 1:2], alone)
    assert torch.equal(found[:, 2:], steps(given, ROWS)[:, 2:])
    unlike = [found[0, 0], found[0, 1], found[1, 0], found[1, 1]]
    for i, one in enumerate(unlike):
        assert float(one.norm()) > 0
        assert all(abs(float(torch.cosine_similarity(one.flatten(), o.flatten(), 0))) < 0.5 for o in unlike[:i])
