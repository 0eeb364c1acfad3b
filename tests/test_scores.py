"""What a run amounts to, on records made by hand."""

import pytest

from detattack.core.types import Category, DetectorCard
from detattack.metrics.rates import wilson_interval
from detattack.tasks.detection.record import DetectionRecord
from detattack.tasks.detection.summary import emptying_threshold, match, summarize
from detattack.tasks.summary import change_line

CAR, DOG, PERSON = range(3)
CARD = DetectorCard("toy", (Category("car", 3), Category("dog", 18), Category("person", 1)), 0.05)
HERE, THERE, ELSEWHERE = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0), (40.0, 0.0, 50.0, 10.0)
MOVED = (1.0, 0.0, 11.0, 10.0)
"""IoU .82 with `HERE`."""


def found(*detections):
    """Detections `(box, score, label)` as a record holds them."""
    boxes, scores, labels = zip(*detections, strict=True) if detections else ((), (), ())
    return {"boxes": [list(b) for b in boxes], "scores": list(scores), "labels": list(labels)}


def record(number=1, status="success", goal="suppress:all", clean=(), adversarial=(), **values):
    values = {"quality": {"l2": 1.0, "psnr": 50.0}, "file_success": status == "success", "k": 4} | values
    return DetectionRecord(
        number, f"i{number}", "", status, goal=goal, clean=found(*clean), adversarial=found(*adversarial), **values
    )


# Proportions


@pytest.mark.parametrize(
    ("tau", "floor", "words"),
    [
        (0.5, 0.01, "an attack that is to empty AP runs at τ = 0.01, the lowest score"),
        (0.01, 0.01, "at τ = 0.01 nothing that AP counts is left"),
        (0.01, 0.05, "at τ = 0.01 nothing that AP counts is left"),
        (0.5, 0.0, "no τ empties AP"),
    ],
)
def test_which_threshold_empties_ap(tau, floor, words):
    assert words in emptying_threshold(tau, floor)


# Success, distances, cost


def test_errors_count_as_tried_and_what_needs_no_attack_does_not():
    statuses = ("success", "success", "failure", "error", "nothing", "already")
    summary = summarize([record(i, status) for i, status in enumerate(statuses)])
    assert [summary[s] for s in ("images", "success", "failure", "error", "nothing", "already")] == [6, 2, 1, 1, 1, 1]
    assert (summary["attacked"], summary["success_rate"]) == (4, 0.5)
    assert summary["success_interval"] == wilson_interval(2, 4)


def test_the_file_is_judged_apart_from_the_floats():
    summary = summarize([record(1, file_success=False), record(2)])
    assert (summary["success_rate"], summary["file_success_rate"]) == (1.0, 0.5)


def test_medians_and_means_are_over_the_successes_and_what_is_known():
    rows = [record(i, quality={"l2": float(l2), "psnr": None}) for i, l2 in enumerate((1, 2, 6))]
    rows.append(record(9, "failure", quality={"l2": 100.0}))
    summary = summarize(rows)
    assert (summary["median_l2"], summary["mean_l2"], summary["median_psnr"], summary["median_uqi"]) == (
        2,
        3,
        None,
        None,
    )


def test_an_empty_run():
    summary = summarize([], CARD)
    assert (summary["success_rate"], summary["success_interval"], summary["median_k"]) == (None, None, None)
    assert summary["collateral"]["kept_share"] is None


def test_only_timing_depends_on_the_clock():
    slow, fast = (summarize([record(seconds=seconds)], CARD) for seconds in (9.0, 1.0))
    assert slow.pop("timing") != fast.pop("timing")
    assert slow == fast


def test_per_goal():
    rows = [record(1, goal="suppress:car", status="failure"), record(2, goal="suppress:car"), record(3)]
    goals = summarize(rows)["per_goal"]
    assert [(name, g["successes"], g["trials"], g["rate"]) for name, g in goals.items()] == [
        ("suppress:all", 1, 1, 1.0),
        ("suppress:car", 1, 2, 0.5),
    ]


def test_an_image_that_could_not_be_read_counts_for_the_goal_that_was_asked():
    goals = summarize([record(1), record(2, "error", goal="", quality={})], CARD, goal="suppress:all")["per_goal"]
    assert {name: (one["trials"], one["rate"]) for name, one in goals.items()} == {"suppress:all": (2, 0.5)}


def test_a_mean_psnr_says_how_many_images_it_is_over():
    """That of an image that did not change is infinite, and not in it."""
    one = {"linf": 0.1, "l2": 2.0, "rms": 3.0, "psnr": 40.0}
    rows = [record(1, quality=one), record(2, quality={"linf": 0.0, "l2": 0.0, "rms": 0.0, "psnr": None})]
    change = summarize(rows, CARD)["change"]
    assert {name: (of["images"], of["mean"]) for name, of in change.items()} == {
        "linf": (2, 0.05),
        "l2": (2, 1.0),
        "rms": (2, 1.5),
        "psnr": (1, 40.0),
    }
    assert "RMS 1.500, PSNR 40.00 of the 1 that changed; 0 backward" in change_line(summarize(rows, CARD))
    assert "PSNR 40.00; " in change_line(summarize(rows[:1], CARD))


# Classes and collateral damage


def test_what_vanished_of_each_class():
    clean = [(HERE, 0.9, CAR), (THERE, 0.8, CAR), (ELSEWHERE, 0.7, DOG), (ELSEWHERE, 0.3, PERSON)]
    attacked = [(MOVED, 0.6, CAR), (THERE, 0.9, DOG), (ELSEWHERE, 0.4, DOG)]
    classes = summarize([record(1, "failure", clean=clean, adversarial=attacked)], CARD)["per_class"]
    assert list(classes) == ["car", "dog"]  # the person was not seen above τ
    assert (classes["car"]["objects"], classes["car"]["vanished"], classes["car"]["relabeled"]) == (2, 1, 1)
    assert (classes["dog"]["objects"], classes["dog"]["vanished"], classes["dog"]["relabeled"]) == (1, 1, 0)


def test_collateral_of_a_suppression():
    clean = [(HERE, 0.9, CAR), (THERE, 0.8, DOG), (ELSEWHERE, 0.7, PERSON)]
    attacked = [(THERE, 0.7, DOG), (ELSEWHERE, 0.4, PERSON), ((60, 0, 70, 10), 0.9, PERSON)]
    one = record(goal="suppress:car", clean=clean, adversarial=attacked)
    collateral = summarize([one], CARD)["collateral"]
    assert (collateral["others"], collateral["kept"], collateral["kept_share"]) == (2, 1, 0.5)
    assert (collateral["new"], collateral["new_per_image"]) == (1, 1)
    assert collateral["difference_per_image"]["mean"] == 0  # one lost, one new


def test_an_injected_object_is_no_collateral_but_a_second_one_is():
    clean = [(HERE, 0.9, CAR)]
    attacked = [(HERE, 0.9, CAR), (THERE, 0.8, CAR)]
    one = {"goal": "inject:car@20,0,30,10", "box": THERE, "clean": clean}
    collateral = summarize([record(adversarial=attacked, **one)], CARD)["collateral"]
    assert (collateral["kept"], collateral["others"], collateral["new"]) == (1, 1, 0)
    collateral = summarize([record(adversarial=[*attacked, (ELSEWHERE, 0.9, CAR)], **one)], CARD)["collateral"]
    assert collateral["new"] == 1
    collateral = summarize([record(adversarial=[(THERE, 0.9, DOG)], **one)], CARD)["collateral"]
    assert (collateral["kept"], collateral["new"]) == (0, 1)  # another class at the asked box was not asked for


def test_a_relabeled_object_is_no_collateral():
    one = record(
        goal="mislabel:car->dog",
        objects=(HERE,),
        clean=[(HERE, 0.9, CAR), (THERE, 0.9, PERSON)],
        adversarial=[(HERE, 0.9, DOG), (THERE, 0.9, PERSON)],
    )
    collateral = summarize([one], CARD)["collateral"]
    assert (collateral["others"], collateral["kept"], collateral["new"]) == (1, 1, 0)


def test_labels_of_one_name_are_one_class():
    card = DetectorCard("toy", (*CARD.categories, Category("dog", 50)), 0.05)
    clean, after = ((HERE, 0.9, CAR), (THERE, 0.9, DOG)), ((THERE, 0.9, 3), (ELSEWHERE, 0.9, DOG))
    summary = summarize([record(goal="suppress:car", clean=clean, adversarial=after)], card)
    assert [summary["collateral"][key] for key in ("others", "kept", "new")] == [1, 1, 1]
    dogs = summarize([record(goal="suppress:dog", clean=clean, adversarial=after)], card)["per_class"]["dog"]
    assert (dogs["objects"], dogs["vanished"]) == (1, 0)


def test_images_that_were_not_attacked_have_no_collateral():
    rows = [record(1, "nothing", clean=[(HERE, 0.9, CAR)]), record(2, "error", goal="", clean=[])]
    assert summarize(rows, CARD)["collateral"]["images"] == 0


def test_matches_are_one_to_one_and_the_nearest_first():
    from detattack.tasks.detection.record import from_lists

    clean = from_lists(found((HERE, 0.9, CAR), (MOVED, 0.8, CAR)))
    assert match(clean, from_lists(found((MOVED, 0.9, CAR)))) == [-1, 0]
    assert match(clean, from_lists(found((MOVED, 0.9, CAR), (HERE, 0.9, CAR)))) == [1, 0]
    assert match(clean, from_lists(found((HERE, 0.9, DOG)))) == [-1, -1]
    assert match(clean, from_lists(found())) == [-1, -1]


def test_a_goal_at_a_box_is_about_what_is_there():
    from detattack.tasks.detection.record import from_lists, target_of

    clean = from_lists(found((HERE, 0.9, CAR), (THERE, 0.9, CAR), (HERE, 0.8, DOG)))
    target = target_of(record(goal="suppress:car@0,0,10,10", box=HERE), CARD)
    assert target.goal.aimed_at(target, clean).tolist() == [True, False, False]
