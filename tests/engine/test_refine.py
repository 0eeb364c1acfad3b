"""A success is shrunk while the goal holds, each trial confirmed and counted."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from detattack.engine import Attack, run
from tests.engine.halfspace import HalfSpace

FAR = Attack("far", "normalized", 1.5, levels=None, max_iterations=3)
"""One step leads far beyond the plane."""
GRAY = torch.full((2, 3, 6, 8), 0.5).mul(255).round() / 255


def problem(distance=0.7, told=None):
    normal = torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(0))
    return HalfSpace(GRAY, normal, distance, told)


def l2(result):
    return (result.images - GRAY).flatten(1).norm(dim=1)


@pytest.mark.parametrize("trials", [1, 2, 3])
def test_where_the_margin_is_told_and_linear_each_trial_leaves_a_twentieth_of_the_excess(trials):
    asked = problem(told=lambda loss: loss)
    refined = run(replace(FAR, refine=trials), GRAY, asked)
    assert l2(refined).tolist() == pytest.approx([0.7 + 0.8 * 0.05**trials] * 2, rel=1e-5)
    assert (refined.forwards - run(FAR, GRAY, problem()).forwards).tolist() == [trials] * 2
    assert (asked.confirmed.count(0), asked.confirmed.count(1)) == (2, 2)


@given(st.floats(0.2, 1.4), st.sampled_from([-1.0, -0.5, -0.2, 0.2, 0.5]))
def test_a_bent_margin_is_narrowed_from_either_side(distance, bend):
    def bent(margin):
        return margin * torch.exp(bend * margin)

    asked = problem(distance, told=bent)
    refined = run(replace(FAR, refine=8), GRAY, asked)
    assert all(asked.confirm(image, row) for row, image in enumerate(refined.images))
    rounding = 1e-6  # of float32 norms, which the last trials come as near to the plane as
    assert all(distance - rounding < value < distance + 0.02 * (1.5 - distance) for value in l2(refined).tolist())


def test_bisection_ends_just_beyond_the_boundary():
    whole = run(FAR, GRAY, problem())
    assert l2(whole).tolist() == pytest.approx([1.5, 1.5])
    refined = run(replace(FAR, refine=10), GRAY, problem())
    assert refined.success.all()
    assert all(0.7 < value < 0.7 + 1.5 / 2**10 for value in l2(refined).tolist())
    assert torch.equal(refined.first_images, whole.first_images)


def test_every_trial_is_a_forward_pass_and_nothing_is_kept_that_is_not_confirmed():
    asked = problem()
    refined = run(replace(FAR, refine=4), GRAY, asked)
    whole = run(FAR, GRAY, problem())
    assert (refined.forwards - whole.forwards).tolist() == [5, 5]
    assert (asked.confirmed.count(0), asked.confirmed.count(1)) == (3, 3)  # the first, the last trial, the smallest
    grudging = problem()
    grudging.confirm = lambda image, index: bool((image - GRAY[index]).norm() > 1.2)
    assert all(1.2 < value < 1.2 + 1.5 / 2**9 for value in l2(run(replace(FAR, refine=9), GRAY, grudging)).tolist())


def test_changes_of_one_gray_level_are_reverted_on_the_grid():
    attack = replace(FAR, levels=256)
    whole, undone = (run(replace(attack, undo=undo), GRAY, problem()) for undo in (0, 8))
    assert undone.success.all()
    assert (l2(undone) < l2(whole)).all()
    changes = (undone.images - GRAY) * 255
    torch.testing.assert_close(changes, changes.round(), atol=1e-3, rtol=0)
    before = ((whole.images - GRAY) * 255).round()
    assert ((before.abs() - changes.round().abs()).unique() >= 0).all()
    assert ((before.abs() - changes.round().abs()).unique() <= 1).all()
