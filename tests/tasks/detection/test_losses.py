"""The losses against their equations, worked out by hand on a few candidates; and their registry."""

import math

import pytest
import torch

from detattack.core.errors import InputError
from detattack.core.types import Candidates
from detattack.tasks.detection.candidates import WELL_PLACED, ImageCandidates, candidates_of, logit
from detattack.tasks.detection.goals import GOALS, Inject, Mislabel, Suppress, Target
from detattack.tasks.detection.losses import LOSSES, MARGIN, keep, register_loss, smooth_hinge

HERE, THERE = (8.0, 8.0, 28.0, 28.0), (40.0, 12.0, 60.0, 40.0)
TAU = 0.4
LOGITS = torch.tensor([[1.0, -2.0], [-1.0, 0.5]], dtype=torch.float64)


def h(value: float) -> float:
    return math.log1p(math.exp(10 * value)) / 10


def seen(logits=LOGITS, boxes=(HERE, THERE)) -> ImageCandidates:
    candidates = Candidates(torch.tensor([boxes], dtype=torch.float64), logits[None])
    return candidates_of(candidates, 0, (48, 64), TAU, WELL_PLACED)


def z(row: int, label: int) -> float:
    return float(LOGITS[row, label]) - logit(TAU)


def test_logits_are_relative_to_the_threshold():
    assert logit(0.5) == 0
    assert seen().relative[0, 0] == pytest.approx(1 - math.log(0.4 / 0.6))
    assert all(map(math.isfinite, (logit(0), logit(1))))
    assert float(smooth_hinge(torch.tensor(0.3))) == pytest.approx(h(0.3))


def test_vanish_is_the_sum_of_hinges_over_the_classes_candidates():
    everything = sum(h(z(row, label) + MARGIN) for row in (0, 1) for label in (0, 1))
    assert float(LOSSES["vanish"].function(seen(), Target(Suppress("all")))) == pytest.approx(everything)
    of_one = sum(h(z(row, 1) + MARGIN) for row in (0, 1))
    assert float(LOSSES["vanish"].function(seen(), Target(Suppress("b"), (1,)))) == pytest.approx(of_one)
    at_a_box = LOSSES["vanish"].function(seen(), Target(Suppress("a", HERE), (0,), HERE))
    assert float(at_a_box) == pytest.approx(h(z(0, 0) + MARGIN))


def test_inject_pulls_the_candidate_at_the_place():
    """One candidate, exactly at the place: its box term rests, and nothing crowds."""
    alone = seen(LOGITS[:1], (HERE,))
    loss = LOSSES["inject"].function(alone, Target(Inject("b", HERE), (1,), HERE))
    assert float(loss) == pytest.approx(h(MARGIN - z(0, 1)))
    moved = LOSSES["inject"].function(alone, Target(Inject("b", THERE), (1,), THERE))
    assert float(moved) > float(loss) + WELL_PLACED.box_weight * WELL_PLACED.slack


def test_mislabel_is_the_old_class_down_and_the_new_one_up_at_each_object():
    alone = seen(LOGITS[:1], (HERE,))
    target = Target(Mislabel("a", "b"), (0, 1), objects=(HERE,))
    expected = h(z(0, 0) + MARGIN) + h(MARGIN - z(0, 1))
    assert float(LOSSES["mislabel"].function(alone, target)) == pytest.approx(expected)
    assert float(LOSSES["mislabel"].function(alone, Target(target.goal, (0, 1)))) == 0


@pytest.mark.parametrize("goal", [Suppress("b"), Inject("b", HERE), Mislabel("b", "a")])
def test_what_must_stay_is_a_hinge_more_for_any_goal(goal):
    target = Target(goal, tuple("ab".index(name) for name in goal.classes()), goal.box, (HERE,))
    both = Target(goal, target.labels, target.box, target.objects, kept=((0, HERE), (1, THERE)))
    expected = float(target.loss(seen())) + h(MARGIN - z(0, 0)) + h(MARGIN - z(1, 1))
    assert float(both.loss(seen())) == pytest.approx(expected)
    assert both.needs_boxes
    assert float(keep(seen(), 0, (0.0, 0.0, 4.0, 4.0))) == 0  # no candidate is there any more


def test_an_own_loss_is_known_by_its_name(monkeypatch):
    monkeypatch.setattr(LOSSES, "_entries", dict(LOSSES._entries))

    @register_loss("sum", help="the sum of all logits")
    def total(candidates, target):
        return candidates.logits.sum()

    class Both(Suppress):
        losses = ("vanish", "sum")

    expected = Target(Suppress("all")).loss(seen()) + LOGITS.sum()
    assert float(Target(Both("all")).loss(seen())) == pytest.approx(float(expected))
    with pytest.raises(InputError, match="'sum': is registered already"):
        register_loss("sum", help="again")(total)


def test_every_goal_names_losses_that_exist():
    assert {name for goal in GOALS.values() for name in goal.losses} <= set(LOSSES)
