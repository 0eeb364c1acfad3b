"""The losses against their equations, worked out by hand on a few candidates; and their registry."""

import math
from dataclasses import replace

import pytest
import torch

from detattack.core.boxes import iou
from detattack.core.errors import InputError
from detattack.core.types import Candidates, Detections
from detattack.tasks.detection.candidates import (
    CEILING,
    FLOOR,
    JUST_PAST,
    WELL_PLACED,
    ImageCandidates,
    candidates_of,
    for_ranking,
    logit,
)
from detattack.tasks.detection.goals import GOALS, Degrade, Flood, Inject, Mislabel, Suppress, Target
from detattack.tasks.detection.losses import FALSE, LOSSES, MARGIN, keep, register_loss, smooth_hinge

HERE, THERE = (8.0, 8.0, 28.0, 28.0), (40.0, 12.0, 60.0, 40.0)
TAU = 0.4
LOGITS = torch.tensor([[1.0, -2.0], [-1.0, 0.5]], dtype=torch.float64)


def h(value: float) -> float:
    return math.log1p(math.exp(10 * value)) / 10


def seen(logits=LOGITS, boxes=(HERE, THERE), reach=JUST_PAST) -> ImageCandidates:
    candidates = Candidates(torch.tensor([boxes], dtype=torch.float64), logits[None])
    return candidates_of(candidates, 0, (48, 64), TAU, WELL_PLACED, reach)


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
    of_the_old = LOSSES["vanish"].function(seen(), Target(Mislabel("b", "a"), (1, 0)))  # the new class is to appear
    assert float(of_the_old) == pytest.approx(of_one)


def test_inject_pulls_the_candidate_at_the_place():
    """One candidate, exactly at the place: its box term rests, and nothing crowds."""
    alone = seen(LOGITS[:1], (HERE,))
    loss = LOSSES["inject"].function(alone, Target(Inject("b", HERE), (1,), HERE))
    assert float(loss) == pytest.approx(h(MARGIN - z(0, 1)))
    moved = LOSSES["inject"].function(alone, Target(Inject("b", THERE), (1,), THERE))
    assert float(moved) > float(loss) + WELL_PLACED.box_weight * WELL_PLACED.slack


def test_relabel_is_the_old_class_down_and_the_new_one_up_at_each_object():
    alone = seen(LOGITS[:1], (HERE,))
    target = Target(Mislabel("a", "b"), (0, 1), objects=(HERE,))
    expected = h(z(0, 0) + MARGIN) + h(MARGIN - z(0, 1))
    assert float(LOSSES["relabel"].function(alone, target)) == pytest.approx(expected)
    assert float(LOSSES["relabel"].function(alone, Target(target.goal, (0, 1)))) == 0


@pytest.mark.parametrize("goal", [Suppress("b"), Inject("b", HERE), Mislabel("b", "a")])
def test_what_must_stay_is_a_hinge_more_for_any_goal(goal):
    target = Target(goal, tuple("ab".index(name) for name in goal.classes()), goal.box, (HERE,))
    both = Target(goal, target.labels, target.box, target.objects, kept=((0, HERE), (1, THERE)))
    expected = float(target.loss(seen())) + h(MARGIN - z(0, 0)) + h(MARGIN - z(1, 1))
    assert float(both.loss(seen())) == pytest.approx(expected)
    assert both.needs_boxes
    assert float(keep(seen(), (0,), (0.0, 0.0, 4.0, 4.0))) == 0  # no candidate is there any more


# Of objects: two candidates, the first at an object of class 0, the second at one of class 1

RANKING = for_ranking(TAU)
BOTH = Target(Degrade("all"), objects=(HERE, THERE), object_labels=(0, 1))
NOTHING = Target(Degrade("all"))


def off(box, overlap):
    """A box as large beside it, with that IoU."""
    move = (box[2] - box[0]) * (1 - overlap) / (1 + overlap)
    return (box[0] + move, box[1], box[2] + move, box[3])


def loss(name, candidates, target=BOTH) -> float:
    return float(LOSSES[name].function(candidates, target))


def test_how_far_outputs_are_driven():
    assert RANKING.down == pytest.approx(logit(TAU) - FLOOR)
    assert RANKING.up == pytest.approx(CEILING - logit(TAU))
    assert RANKING.down > JUST_PAST.down
    assert RANKING.overlap < JUST_PAST.overlap < 0.5


@pytest.mark.parametrize("reach", [JUST_PAST, RANKING])
def test_miss_is_each_object_s_own_score_down_at_the_object(reach):
    expected = h(z(0, 0) + reach.down) + h(z(1, 1) + reach.down)
    assert loss("miss", seen(reach=reach)) == pytest.approx(expected)
    away = seen(boxes=(off(HERE, 0.39), off(THERE, 0.41)), reach=reach)  # one may move back within .5, one is gone
    assert loss("miss", away) == pytest.approx(h(z(1, 1) + reach.down))


@pytest.mark.parametrize("reach", [JUST_PAST, RANKING])
def test_unmatch_is_a_score_times_what_a_box_is_too_near(reach):
    near = seen(boxes=(HERE, off(THERE, 0.7)), reach=reach)
    expected = h(z(0, 0) + reach.down) * (1 - reach.overlap) + h(z(1, 1) + reach.down) * (0.7 - reach.overlap)
    assert loss("unmatch", near) == pytest.approx(expected)


def test_unmatch_is_0_where_no_object_is_found_and_above_where_one_is():
    """By the predicate, on one candidate whose score and box go past the threshold."""
    object_here = Target(Degrade("a"), (0,), objects=(HERE,), object_labels=(0,))
    for relative in (-2.0, -1.0, 0.01, 3.0):
        for overlap in (0.1, 0.48, 0.51, 0.9):
            logits = torch.tensor([[relative + logit(TAU), -9.0]], dtype=torch.float64)
            one = seen(logits, (off(HERE, overlap),))
            found = Detections(one.boxes[:, 0], one.logits[:, 0].sigmoid(), torch.zeros(1, dtype=torch.long)).above(TAU)
            if object_here.holds(found):
                assert loss("unmatch", one, object_here) == pytest.approx(0, abs=1e-4)
            else:
                assert loss("unmatch", one, object_here) > 1e-3
    assert loss("unmatch", seen(boxes=(off(HERE, 0.4), off(THERE, 0.4)))) == 0


@pytest.mark.parametrize("reach", [JUST_PAST, RANKING])
def test_mislabel_is_another_class_ahead_of_the_own(reach):
    """The best of the two classes that are not the object's; far enough ahead it rests."""
    logits = torch.tensor([[1.0, -2.0, 0.25], [-1.0, 0.5, -40.0]], dtype=torch.float64)
    lead = (1.0 - 0.25) + (0.5 + 1.0)
    expected = lead + h(1.0 - logit(TAU) + MARGIN) + h(0.5 - logit(TAU) + MARGIN)
    assert loss("mislabel", seen(logits, reach=reach)) == pytest.approx(expected)
    done = torch.tensor([[-20.0, 0.0, -5.0], [9.0, -20.0, 0.0]], dtype=torch.float64)
    assert loss("mislabel", seen(done, reach=reach)) == pytest.approx(-2 * reach.lead, abs=1e-6)


def test_mislabel_is_about_the_object_that_a_candidate_covers_best():
    one = seen(LOGITS[:1], (HERE,))
    both = Target(Degrade("all"), objects=(off(HERE, 0.7), HERE), object_labels=(1, 0))
    assert loss("mislabel", one, both) == pytest.approx(3.0 + h(z(0, 0) + MARGIN))
    assert loss("mislabel", seen(LOGITS[:1], (off(HERE, 0.39),))) == 0


def test_another_label_of_the_same_name_is_no_other_class():
    logits = torch.tensor([[1.0, -2.0, 1.5]], dtype=torch.float64)
    target = Target(Degrade("all"), objects=(HERE,), object_labels=(0,), first_labels=(0, 1, 0))
    one = seen(logits, (HERE,))
    tau = logit(TAU)
    assert loss("mislabel", one, target) == pytest.approx(3.5 + h(1.5 - tau + MARGIN))
    assert loss("miss", one, target) == pytest.approx(h(1 - tau + MARGIN) + h(1.5 - tau + MARGIN))
    assert loss("fabricate", one, target) == pytest.approx(2 + tau)


def test_mislabel_of_the_only_class_there_is():
    only = Target(Degrade("all"), objects=(HERE,), object_labels=(0,))
    relative = z(0, 0)
    expected = relative + MARGIN + h(relative + MARGIN)
    assert loss("mislabel", seen(LOGITS[:1, :1], (HERE,)), only) == pytest.approx(expected)


@pytest.mark.parametrize("reach", [JUST_PAST, RANKING])
def test_mislocate_weighs_overlap_by_the_score_which_it_does_not_change(reach):
    logits = LOGITS.clone().requires_grad_()
    both = seen(logits, boxes=(HERE, off(THERE, 0.7)), reach=reach)
    score = [1 / (1 + math.exp(-value)) for value in (1.0, 0.5)]
    expected = score[0] * (1 - reach.overlap) + score[1] * (0.7 - reach.overlap)
    found = LOSSES["mislocate"].function(both, BOTH)
    assert float(found.detach()) == pytest.approx(expected)
    assert not torch.autograd.grad(found, logits)[0].any()  # boxes that never move are no error
    assert loss("mislocate", seen(boxes=(off(HERE, 0.2), off(THERE, 0.2)), reach=reach)) == 0


@pytest.mark.parametrize("reach", [JUST_PAST, RANKING])
def test_fabricate_is_what_is_false_up(reach):
    """At an object its own class is no false detection, another class is; away from objects any class is."""
    up = lambda value: -min(value, reach.up)  # noqa: E731
    assert loss("fabricate", seen(reach=reach)) == pytest.approx(up(z(0, 1)) + up(z(1, 0)))
    assert loss("fabricate", seen(reach=reach), NOTHING) == pytest.approx(up(z(0, 0)) + up(z(1, 1)))
    away = seen(boxes=(off(HERE, 0.39), off(THERE, 0.41)), reach=reach)
    assert loss("fabricate", away) == pytest.approx(up(z(0, 0)) + up(z(1, 0)))


def test_fabricate_where_only_what_is_right_could_be_seen():
    only = Target(Degrade("all"), objects=(HERE,), object_labels=(0,))
    logits = LOGITS[:1, :1].clone().requires_grad_()
    found = LOSSES["fabricate"].function(seen(logits, (HERE,)), only)
    assert float(found.detach()) == 0
    assert torch.autograd.grad(found, logits)[0].tolist() == [[0.0]]


def test_past_the_threshold_the_best_false_ones_are_pulled_for_average_precision_all_are(monkeypatch):
    monkeypatch.setattr("detattack.tasks.detection.losses.FABRICATED", 1)
    monkeypatch.setattr("detattack.tasks.detection.losses.STILL_SHORT", 0)
    best = min(z(1, 0), z(0, 1)), max(z(1, 0), z(0, 1))
    assert loss("fabricate", seen()) == pytest.approx(-min(best[1], JUST_PAST.up))
    assert loss("fabricate", seen(reach=RANKING)) == pytest.approx(-sum(min(one, RANKING.up) for one in best))


def test_candidates_that_have_passed_the_threshold_do_not_take_the_place_of_the_next(monkeypatch):
    """Where NMS leaves few of them, a flood would rest on them for ever."""
    monkeypatch.setattr("detattack.tasks.detection.losses.FABRICATED", 2)
    monkeypatch.setattr("detattack.tasks.detection.losses.STILL_SHORT", 1)
    logits = torch.tensor([[1.0], [0.9], [0.8], [-1.0], [-2.0]], dtype=torch.float64, requires_grad=True)
    found = LOSSES["fabricate"].function(seen(logits, [HERE] * 5), NOTHING)
    assert torch.autograd.grad(found, logits)[0].flatten().tolist() == [0, 0, 0, -1, 0]


@pytest.mark.parametrize("reach", [JUST_PAST, RANKING])
def test_outrank_is_what_is_right_less_what_is_false(reach):
    """The first candidate is right at all of COCO's thresholds, the second at (.7 − .5) / .45 of them."""
    score = lambda row, label: 1 / (1 + math.exp(-float(LOGITS[row, label])))  # noqa: E731
    up = lambda row, label: math.log1p(math.exp(min(z(row, label), reach.up) + logit(TAU)))  # noqa: E731
    share = 0.2 / 0.45
    right = score(0, 0) + share * score(1, 1)
    false = up(0, 1) + up(1, 0) + (1 - share) * up(1, 1)
    assert loss("outrank", seen(boxes=(HERE, off(THERE, 0.7)), reach=reach)) == pytest.approx(right - FALSE * false)


def test_outrank_counts_what_is_false_of_the_annotated_classes_alone():
    """Of another class nobody annotated anything: seen anywhere, it costs no average precision."""
    first = replace(BOTH, objects=(HERE,), object_labels=(0,), annotated_labels=(0,))
    logits = LOGITS.clone().requires_grad_()
    found = LOSSES["outrank"].function(seen(logits, reach=RANKING), first)
    (gradient,) = torch.autograd.grad(found, logits)
    assert (gradient != 0).tolist() == [[True, False], [True, False]]


def test_outrank_lowers_right_scores_raises_false_ones_and_moves_boxes_off():
    boxes = torch.tensor([[off(HERE, 0.9)], [off(THERE, 0.4)]], dtype=torch.float64, requires_grad=True)
    logits = LOGITS.clone().requires_grad_()
    found = LOSSES["outrank"].function(ImageCandidates(boxes, logits, None, (48, 64), TAU, reach=RANKING), BOTH)
    by_score, by_box = torch.autograd.grad(found, (logits, boxes))
    assert (by_score > 0).tolist() == [[True, False], [False, False]]  # the second is false already: at no threshold
    assert float(by_box[0, 0, 0]) < 0  # to the right, as it is off already
    assert not by_box[1].any()


@pytest.mark.parametrize("name", [name for name, one in LOSSES.items() if one.of_objects])
@pytest.mark.parametrize("reach", [JUST_PAST, RANKING])
def test_without_objects_there_is_nothing_to_lose_and_no_error(name, reach):
    logits, boxes = LOGITS.clone().requires_grad_(), torch.tensor([[HERE], [THERE]]).double().requires_grad_()
    empty = ImageCandidates(boxes, logits, None, (48, 64), TAU, reach=reach)
    found = LOSSES[name].function(empty, NOTHING)
    gradients = torch.autograd.grad(found, (logits, boxes), allow_unused=True, materialize_grads=True)
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert (float(found.detach()) == 0) == (name not in ("fabricate", "outrank"))


@pytest.mark.parametrize("name", [name for name, one in LOSSES.items() if one.of_objects])
def test_of_boxes_by_class_the_object_s_own_counts(name):
    """Where each class has a box of its own, that of the object's class is the one at the object."""
    of_class = torch.tensor([[HERE, THERE], [HERE, THERE]], dtype=torch.float64)  # class 0 is here, class 1 there
    for_class = ImageCandidates(of_class, LOGITS, None, (48, 64), TAU)
    for label, box in ((0, HERE), (1, THERE)):
        one = Target(Degrade("all"), objects=(box,), object_labels=(label,))
        assert loss(name, for_class, one) == pytest.approx(loss(name, seen(boxes=(box, box)), one))
        other = Target(Degrade("all"), objects=(box,), object_labels=(1 - label,))
        nowhere = seen(boxes=((0.0, 0.0, 4.0, 4.0),) * 2)
        assert loss(name, for_class, other) == pytest.approx(loss(name, nowhere, other))
    assert float(iou(of_class[0, 1], of_class[0, 0])) == 0


def test_losses_of_objects_are_for_goals_that_have_some():
    for name, one in LOSSES.items():
        for goal in (Suppress("a"), Inject("a", HERE), Mislabel("a", "b"), Degrade("a"), Flood(3)):
            if one.of_objects and not goal.of_objects:
                with pytest.raises(InputError, match=f"loss {name}: is about the reference objects"):
                    goal.check_losses((name,))
            else:
                goal.check_losses((name,))
    with pytest.raises(InputError, match="unknown loss 'unmach': did you mean 'unmatch'"):
        Degrade("a").check_losses(("unmach",))


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
    assert {name for goal in GOALS.values() for name in (*goal.losses, *goal.members)} <= set(LOSSES)
