"""Spending a budget: the image returned is the worst seen, within the budget, and takes no more passes than allowed.

What holds for `ensemble` and for the methods with one loss alike is tested on all of them.
"""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detattack.core.errors import InputError
from detattack.core.types import WHOLLY_WRONG, Evaluation
from detattack.datasets.image_io import decode_png, png_bytes, to_pixels
from detattack.engine import PRESETS, run, run_ensemble
from detattack.engine.budget import Budget
from detattack.engine.ensemble import SMALLEST_STEP, _Walk, check_passes, turns
from tests.engine.worst import Valleys, on_gray_levels

SPENDING = [
    *(("ensemble", norm) for norm in ("linf", "l2", "rms")),
    *(("pgd-linf", "linf"), ("fgsm", "linf"), ("pgd-l2", "l2"), ("pgd-l2", "rms")),
]
few = settings(max_examples=40, deadline=None)
sizes = st.sampled_from((0.3, 0.5, 1.0, 1.7, 2.0, 3.2, 8.0, 40.0))
seeds = st.integers(0, 2**31)


def attack_of(method: str, norm: str, size: float, levels: int | None = 256, passes: int = 12):
    """size: in gray levels, whatever the norm."""
    budget = Budget(norm, size / 255 * 60**0.5 if norm == "l2" else size)
    return replace(budget.spent_by(PRESETS[method]), levels=levels, max_iterations=passes)


def spend(attack, images, objective, **more):
    return (run_ensemble if attack.step == "ensemble" else run)(attack, images, objective, **more)


def excess(attack, images, originals) -> float:
    """By how much the largest change is above the budget, in [0,1] units."""
    change = (images.double() - originals.double()).flatten(1)
    if attack.norm == "linf":
        return float(change.abs().max()) - attack.radius
    size = change.square().mean(1).sqrt() if attack.norm == "rms" else change.norm(dim=1)
    return float(size.max()) - attack.radius


# Within the budget


@few
@given(st.sampled_from(SPENDING), sizes, st.sampled_from((None, 256)), st.integers(3, 20), st.booleans(), seeds)
def test_no_image_is_beyond_the_budget(of, size, levels, passes, tell_harm, seed):
    if levels and of[1] == "linf" and size < 1:
        size += 1
    attack = attack_of(*of, size, levels, passes)
    images = on_gray_levels(seed)
    problem = Valleys(seed, tell_harm=tell_harm)
    result = spend(attack, images, problem)
    for row in range(len(images)):
        for seen, _ in problem.of(row):
            assert excess(attack, seen[None], images[row, None]) <= 1e-6
    for found in (result.images, result.first_images):
        assert excess(attack, found, images) <= 1e-6
        assert 0 <= float(found.min()) <= float(found.max()) <= 1
    if levels:
        for image, original in zip(result.images, images, strict=True):
            written = decode_png(png_bytes(to_pixels(image))).astype(int)
            change = abs(written - to_pixels(original).astype(int))
            limit = attack.radius * 255
            if attack.norm == "linf":
                assert change.max() <= limit + 1e-3
            elif attack.norm == "rms":
                assert (change**2).mean() <= limit**2 * (1 + 1e-6)
            else:
                assert (change**2).sum() <= limit**2 * (1 + 1e-6)


@few
@given(st.sampled_from(SPENDING), sizes.filter(lambda size: size >= 1), st.sampled_from((None, 256)), seeds)
def test_passes_are_as_many_as_are_allowed_and_no_more(of, size, levels, seed):
    """K is the pass that found the worst image; the last iterate is judged without a pass of its own."""
    attack = attack_of(*of, size, levels, passes=7)
    problem = Valleys(seed)
    result = spend(attack, on_gray_levels(seed), problem)
    assert result.backwards.tolist() == [7, 7]
    assert result.forwards.tolist() == [8, 8]
    assert [len(problem.of(row)) for row in (0, 1)] == [8, 8]


@pytest.mark.parametrize("of", [one for one in SPENDING if one[0] != "ensemble"])
def test_a_step_is_a_quarter_of_the_budget_in_its_own_norm(of):
    images, problem = on_gray_levels(1) * 0.5 + 0.25, Valleys(1)
    attack = attack_of(*of, 4.0, levels=None, passes=1)
    spend(attack, images, problem)
    moved = torch.stack([problem.of(row)[1][0] for row in (0, 1)])
    assert excess(attack, moved, images) == pytest.approx(-0.75 * attack.radius, rel=1e-4)


# The worst is kept


@few
@given(st.sampled_from(SPENDING), sizes.filter(lambda size: size >= 1), st.sampled_from((None, 256)), seeds)
def test_the_worst_of_all_images_seen_is_returned(of, size, levels, seed):
    attack = attack_of(*of, size, levels)
    images, problem = on_gray_levels(seed), Valleys(seed)
    result = spend(attack, images, problem)
    assert result.success.all()
    for row in range(len(images)):
        seen = problem.of(row)
        harms = [harm for _, harm in seen]
        first = harms.index(max(harms))
        assert torch.equal(result.images[row], seen[first][0])
        assert torch.equal(result.first_images[row], seen[first][0])
        assert int(result.first_iteration[row]) == first


@pytest.mark.parametrize("of", SPENDING)
def test_without_a_harm_the_least_loss_is_the_worst(of):
    images, problem = on_gray_levels(3), Valleys(3, tell_harm=False)
    result = spend(attack_of(*of, 4.0), images, problem)
    for row in range(len(images)):
        seen = problem.of(row)
        assert torch.equal(result.images[row], max(seen, key=lambda one: one[1])[0])


@pytest.mark.parametrize("of", SPENDING)
def test_an_image_that_is_wholly_wrong_is_made_worse_by_the_passes_that_are_left(of):
    attack, images = attack_of(*of, 20.0, passes=40), on_gray_levels(5, count=6)
    problem = Valleys(1, most=0.9)
    result = spend(attack, images, problem)
    wrong = 0
    for row in range(len(images)):
        harms = [harm for _, harm in problem.of(row)]
        wrong += max(harms) >= WHOLLY_WRONG > harms[0]
        assert int(result.backwards[row]) == (0 if harms[0] >= WHOLLY_WRONG else 40)
        assert torch.equal(result.images[row], problem.of(row)[harms.index(max(harms))][0])
    assert wrong


@pytest.mark.parametrize("of", SPENDING)
def test_an_image_that_begins_wholly_wrong_takes_no_pass(of):
    images = on_gray_levels(0)
    result = spend(attack_of(*of, 2), images, Valleys(most=-2))
    assert torch.equal(result.images, images)
    assert result.backwards.tolist() == [0, 0]
    assert result.forwards.tolist() == [1, 1]


@few
@given(st.sampled_from(SPENDING), st.sampled_from((None, 256)), seeds)
def test_a_larger_budget_that_starts_from_a_smaller_is_at_least_as_bad(of, levels, seed):
    images, least, start = on_gray_levels(seed), None, None
    for size in (1.0, 2.0, 4.0):
        problem = Valleys(seed)
        result = spend(attack_of(*of, size, levels, passes=4), images, problem, starts=start)
        harm = problem.harm_of(result.images)
        assert least is None or (harm >= least).all()
        assert start is None or torch.equal(torch.stack([problem.of(row)[0][0] for row in (0, 1)]), start)
        least, start = harm, result.images


# Images by themselves


@few
@given(st.sampled_from(SPENDING), st.sampled_from((None, 256)), st.sampled_from((1, 2, None)), seeds)
def test_an_image_does_not_depend_on_its_neighbors(of, levels, active, seed):
    attack, images = attack_of(*of, 3.0, levels), on_gray_levels(seed, count=4)
    together = spend(attack, images, Valleys(seed), active=active, seeds=range(4))
    for row in range(4):
        alone = spend(attack, images[row, None], Valleys(seed), seeds=[row])
        assert torch.equal(together.images[row], alone.images[0])
        for name in ("first_iteration", "forwards", "backwards", "finite"):
            assert getattr(together, name)[row] == getattr(alone, name)[0]


@pytest.mark.parametrize("of", SPENDING)
@pytest.mark.parametrize("lost_at", [0, 3])
def test_a_loss_that_is_no_number_stops_alone(of, lost_at):
    attack, images = attack_of(*of, 3.0, passes=8), on_gray_levels(2, count=3)
    problem = Valleys(2, lost=(1,), lost_at=lost_at)
    result = spend(attack, images, problem)
    assert len(problem.of(1)) == lost_at + 1
    assert result.backwards.tolist() == [8, lost_at, 8]
    assert result.finite.tolist() == [True, lost_at > 0, True]  # what was found before is kept
    assert result.success.tolist() == [True, lost_at > 0, True]
    assert result.images.isfinite().all()
    whole = spend(attack, images, Valleys(2))
    assert torch.equal(result.images[[0, 2]], whole.images[[0, 2]])


def test_a_gradient_that_is_no_number_stops_alone():
    class Broken(Valleys):
        def __call__(self, images, index, members=None):
            found = super().__call__(images, index, members)
            roots = [
                (image.sum() * 0).sqrt() if row == 1 else 0 for image, row in zip(images, index.tolist(), strict=True)
            ]
            return found._replace(loss=torch.stack([a + b for a, b in zip(found.loss, roots, strict=True)]))

    attack, images = attack_of("ensemble", "linf", 3.0, passes=8), on_gray_levels(2, count=3)
    result = run_ensemble(attack, images, Broken(2))
    assert result.backwards.tolist() == [8, 1, 8]
    assert torch.equal(result.images[[0, 2]], run_ensemble(attack, images, Valleys(2)).images[[0, 2]])


def test_the_same_seed_gives_the_same_image():
    images = on_gray_levels(4)
    attack = attack_of("ensemble", "l2", 1.0, passes=60)
    first, same, other = (
        run_ensemble(attack, images, Valleys(4), seeds=seeds).images for seeds in ([0, 1], [0, 1], [7, 8])
    )
    assert torch.equal(first, same)
    assert first.shape == other.shape


# Members


def test_passes_too_few_for_the_members_are_refused():
    attack = attack_of("ensemble", "linf", 2, passes=2)
    with pytest.raises(InputError, match="2 passes an image are too few for its 3 losses") as error:
        run_ensemble(attack, on_gray_levels(0), Valleys())
    assert len(str(error.value).splitlines()) == 1
    check_passes(replace(attack, max_iterations=3), 3)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(0, 100))
def test_every_member_has_its_turn(members, more):
    """As soon as there are passes enough for an iteration of each."""
    passes = members + more
    walks = [_Walk() for _ in range(members)]
    turn = turns(walks, passes)
    order = [next(turn).member for _ in range(passes)]
    assert set(order) == set(range(members))


def played(gains, falls, reserve=0, passes=60):
    """The turns of walks that begin at a harm of −4 and gain at once what `gains` says, and `falls` a pass later on."""
    walks = [_Walk() for _ in gains]
    turn, order = turns(walks, passes, reserve), []
    for _ in range(passes):
        order.append(next(turn))
        member = order[-1].member
        if order[-1].takes_over:
            walks[member].take_over()
        made = sum(one.member == member for one in order)
        walks[member].note(-4.0 + (gains[member] + made * falls[member] if made > 1 else 0.0), float(len(order)))
    return order


def test_the_best_member_has_the_rest_while_it_makes_progress():
    order = [turn.member for turn in played((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.1, 0.0))]
    assert set(order[-40:]) == {2}
    assert order.count(2) == 60 - 3 * 3


@pytest.mark.parametrize(
    ("gains", "passes"),
    [
        ((2.0, 1.2, 0.2), [45, 12, 3]),
        ((2.0, 0.8, 0.2), [54, 3, 3]),
        ((WHOLLY_WRONG + 4, 0.8, 0.2), [45, 12, 3]),
    ],
)
def test_a_second_look_is_for_two_that_are_close_or_where_nothing_right_is_left(gains, passes):
    order = [turn.member for turn in played(gains, (0.1, 0.0, 0.0))]
    assert [order.count(member) for member in range(3)] == passes


def test_a_member_that_stalls_hands_over_after_half_of_the_passes():
    order = played((2.1, 0.1, 0.1), (0.0, 0.0, 0.0))
    assert not any(turn.takes_over for turn in order[:30])
    assert {turn.member for turn in order[12:30]} == {0}
    takers = [place for place, turn in enumerate(order) if turn.takes_over]
    assert [order[place].member for place in takers] == [0, 1, 2, 0, 1]
    assert takers == [30, 37, 44, 51, 58]  # as many passes each as it takes to see no progress, and the one before


def test_the_first_member_takes_over_first_where_it_is_not_the_best():
    order = played((0.1, 2.1, 0.1), (0.0, 0.0, 0.0))
    assert [turn.member for turn in order if turn.takes_over] == [0, 0, 1, 2, 0]


@pytest.mark.parametrize(
    ("gains", "comes_in"),
    [
        ((1.9, 0.2, 1.0), [(2, False), (2, True), (0, True)]),  # more than half is left: a walk of its own first
        ((2.1, 0.2, 1.0), [(2, True), (0, True), (1, True)]),
        ((0.2, 2.1, 1.0), [(0, True), (2, True), (0, True)]),
    ],
)
def test_the_reserve_comes_in_with_the_relay(gains, comes_in):
    order = played(gains, (0.0, 0.0, 0.0), reserve=1)
    assert 2 not in [turn.member for turn in order[:30]]
    relay = order[29:]
    changes = [now for before, now in pairwise(relay) if now.takes_over or now.member != before.member]
    assert changes[:3] == comes_in


def test_the_relay_begins_for_no_image_that_is_wholly_wrong():
    order = played((WHOLLY_WRONG + 4, 0.1, 0.1), (0.0, 0.0, 0.0), reserve=1)
    assert not any(turn.takes_over for turn in order)
    assert 2 not in [turn.member for turn in order]


@pytest.mark.parametrize(("norm", "size", "levels"), [("linf", 2.0, 256), ("linf", 0.5, None), ("rms", 2.0, 256)])
def test_who_takes_over_begins_at_the_worst_image(norm, size, levels):
    problem = Valleys(6)
    run_ensemble(attack_of("ensemble", norm, size, levels, passes=60), on_gray_levels(6, count=1), problem)
    passes = [(members[0], images[0], float(harm)) for _, members, images, harm in problem.seen]
    changes = [k for k in range(31, 60) if passes[k][0] != passes[k - 1][0]]
    assert changes
    for k in changes:
        _, worst, _ = max(passes[:k], key=lambda one: one[2])
        torch.testing.assert_close(passes[k][1], worst, rtol=0, atol=1e-6)


def test_one_member_has_all():
    problem = Valleys(members=1)
    result = run_ensemble(attack_of("ensemble", "linf", 2, passes=9), on_gray_levels(0), problem)
    assert result.backwards.tolist() == [9, 9]
    assert {member for _, members, _, _ in problem.seen for member in members} == {0}
    assert not any(turn.takes_over for turn in played((1.0,), (0.0,)))


def test_a_member_starts_again_once_its_step_changes_nothing():
    walk, halves = _Walk(), 0
    walk.note(5.0, 0.0)
    while not walk.shorten():
        assert walk.size >= SMALLEST_STEP
        halves += 1
    assert halves > 0
    assert walk.most_harm == float("-inf")
    assert walk.record == 5.0
    assert walk.note(1.0, 1.0)  # of the new walk the worst so far
    assert walk.record == 5.0


def test_a_gradient_that_turns_for_one_pass_does_not_turn_the_walk():
    """Two values; the second gradient turns the second one around, by less than three quarters of the first."""
    gradients = torch.tensor([[1.0, 2.0], [1.0, -0.5], [1.0, -2.0]])

    class Turning:
        members = ("only",)
        reserve = ()

        def __init__(self):
            self.seen = []

        def __call__(self, images, index, members=None):
            slope = gradients[min(len(self.seen), 2)]
            self.seen.append(images.detach().flatten().clone())
            loss = (images * slope.view(1, 1, 1, 2)).flatten(1).sum(1)
            harm = torch.tensor([float(len(self.seen))], dtype=torch.float64)  # each is the worst so far
            return Evaluation(loss, torch.zeros(1, dtype=torch.bool), loss.detach(), harm=lambda: harm)

    problem = Turning()
    attack = attack_of("ensemble", "linf", 100.0, levels=None, passes=3)
    run_ensemble(attack, torch.full((1, 1, 1, 2), 0.5), problem)
    steps = torch.stack(problem.seen).diff(dim=0).sign()
    # of the second value: 4/3; 3/4 · 4/3 − 2/3 = 1/3; 3/4 · 1/3 − 4/3 < 0
    assert steps.tolist() == [[-1, -1], [-1, -1], [-1, 1]]
