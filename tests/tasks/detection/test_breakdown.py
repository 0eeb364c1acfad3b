"""What a run broke, as the summary tells it."""

import pytest

from detattack.core.types import Category, DetectorCard
from detattack.datasets.base import Dataset
from detattack.metrics.confusion import BACKGROUND
from detattack.tasks.detection.breakdown import breakdown, lost_ap_line
from detattack.tasks.detection.breakdown_page import breakdown_charts, breakdown_tables
from detattack.tasks.detection.record import DetectionRecord
from detattack.tasks.detection.summary import summarize

CARD = DetectorCard("toy", (Category("car", 3), Category("dog", 18), Category("kite", 38)), 0.05)
CAR, DOG, KITE = range(3)
CATEGORIES = ({"id": 7, "name": "Car"}, {"id": 8, "name": "dog"}, {"id": 9, "name": "sphinx"})
HERE, THERE, ELSEWHERE = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)


def lists(rows):
    return {
        "boxes": [list(map(float, box)) for box, _, _ in rows],
        "scores": [score for _, score, _ in rows],
        "labels": [label for _, _, label in rows],
    }


def record(number=1, status="success", clean=(), adversarial=(), attacked=None):
    """Of an image that was attacked, whatever its status, the change is measured."""
    attacked = status in ("success", "failure") if attacked is None else attacked
    return DetectionRecord(
        number,
        "a",
        "a.png",
        status,
        width=64,
        height=48,
        goal="suppress:car",
        clean=lists(clean),
        adversarial=lists(adversarial),
        quality={"l2": 1.0} if attacked else {},
    )


def data(*rows, categories=CATEGORIES):
    annotations = tuple(
        {"id": i, "image_id": image, "category_id": category, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0}
        for i, (image, (x1, y1, x2, y2), category) in enumerate(rows)
    )
    return Dataset((), "", categories, annotations)


CLEAN = ((HERE, 0.9, CAR), (THERE, 0.8, DOG), (ELSEWHERE, 0.4, CAR))
ATTACKED = ((HERE, 0.3, CAR), (THERE, 0.6, KITE), (ELSEWHERE, 0.7, DOG))
TRUTH = data((1, HERE, 7), (1, THERE, 8), (1, (0, 20, 10, 30), 9))


def test_what_became_of_the_detections_above_tau():
    told = breakdown([record(clean=CLEAN, adversarial=ATTACKED)], CARD, data(categories=()), 0.5)
    assert told["confusion"] == {
        "clean_to_adversarial": {"car": {BACKGROUND: 1}, "dog": {"kite": 1}, BACKGROUND: {"dog": 1}},
        "objects_to_clean": None,
        "objects_to_adversarial": None,
    }
    assert told["lost_ap"] is None


def test_what_annotated_objects_are_taken_for():
    """Objects have the detector's names; of a class that it does not know there are none."""
    confusion = breakdown([record(clean=CLEAN, adversarial=ATTACKED)], CARD, TRUTH, 0.5)["confusion"]
    assert confusion["objects_to_clean"] == {"car": {"car": 1}, "dog": {"dog": 1}}
    assert confusion["objects_to_adversarial"] == {"car": {BACKGROUND: 1}, "dog": {"kite": 1}, BACKGROUND: {"dog": 1}}


def test_what_ap50_is_lost_to():
    """All scores count, but for those of a class that the data do not have: attacked, the car is found, and the dog is
    missed, with a dog where nothing is."""
    lost = breakdown([record(clean=CLEAN, adversarial=ATTACKED)], CARD, TRUTH, 0.5)["lost_ap"]
    assert lost["clean"]["ap50"] == pytest.approx(1)
    attacked = lost["adversarial"]
    assert attacked["ap50"] == pytest.approx(1 / 2)
    assert {name: value for name, value in attacked["lost"].items() if value > 1e-9} == {"missed": pytest.approx(1 / 2)}
    assert attacked["objects"] == {"right": 1, "wrong_class": 0, "wrong_place": 0, "missed": 1}
    assert {name: n for name, n in attacked["detections"].items() if n} == {"right": 1, "background": 1}
    assert lost_ap_line(lost) == "missed 0.50"


def test_confusion_is_over_attacked_images_and_lost_ap_over_all_that_were_seen():
    records = [
        record(1, "nothing", CLEAN, CLEAN),
        record(2, "failure", CLEAN, CLEAN),
        DetectionRecord(3, "c", "c.png", "error"),
    ]
    told = breakdown(records, CARD, data((1, HERE, 7), (2, HERE, 7), (3, HERE, 7)), 0.5)
    assert told["confusion"]["clean_to_adversarial"] == {"car": {"car": 1}, "dog": {"dog": 1}}
    assert sum(told["lost_ap"]["clean"]["objects"].values()) == 2


def test_recall_and_false_detections_above_tau():
    """Of an object's class and place is right, all else is false: attacked, a kite is at the dog and a dog nowhere."""
    told = breakdown([record(clean=CLEAN, adversarial=ATTACKED)], CARD, TRUTH, 0.5)["above_threshold"]
    assert told["clean"] == {"recall": 1, "false_positives_per_image": 0}
    assert told["adversarial"] == {"recall": 0, "false_positives_per_image": 2}
    half = breakdown([record(clean=CLEAN, adversarial=[(HERE, 0.9, CAR)])], CARD, TRUTH, 0.5)["above_threshold"]
    assert half["adversarial"] == {"recall": 1 / 2, "false_positives_per_image": 0}


def test_what_is_of_a_class_that_the_data_lack_is_false_on_an_object_alone():
    """Nobody annotated kites: one beside the objects may be right, one on the dog is not a dog."""
    seen = [(HERE, 0.9, CAR), (THERE, 0.6, KITE), (ELSEWHERE, 0.7, KITE)]
    told = breakdown([record(clean=seen, adversarial=seen)], CARD, TRUTH, 0.5)
    assert told["above_threshold"]["clean"] == {"recall": 1 / 2, "false_positives_per_image": 1}
    assert told["confusion"]["objects_to_clean"] == {"car": {"car": 1}, "dog": {"kite": 1}}


def test_every_attacked_image_counts_whatever_its_status_and_no_other():
    """An image with nothing to miss is attacked where a budget is spent: what is false in it counts."""
    false = [(HERE, 0.9, CAR)]
    records = [record(1, "success"), record(2, "nothing", (), false, attacked=True), record(3, "nothing", (), false)]
    told = breakdown(records, CARD, data(), 0.5)
    assert told["above_threshold"]["adversarial"] == {"recall": None, "false_positives_per_image": 1 / 2}
    assert told["confusion"]["clean_to_adversarial"] == {BACKGROUND: {"car": 1}}
    assert breakdown(records, CARD, data(categories=()), 0.5)["above_threshold"] is None
    nothing = breakdown([], CARD, TRUTH, 0.5)["above_threshold"]
    assert nothing["clean"] == {"recall": None, "false_positives_per_image": None}


def test_what_is_kept_is_what_the_collateral_damage_counts():
    one = record(clean=CLEAN, adversarial=[(THERE, 0.6, DOG), (ELSEWHERE, 0.7, DOG)])
    counts = breakdown([one], CARD, data(categories=()), 0.5)["confusion"]["clean_to_adversarial"]
    collateral = summarize([one], CARD)["collateral"]
    assert (counts["dog"]["dog"], sum(counts[BACKGROUND].values())) == (collateral["kept"], collateral["new"]) == (1, 1)


def test_tau_is_compared_as_scores_are_kept():
    """0.3 in float32 is above 0.3, but a detection of just that score is not above τ = 0.3."""
    score = 0.30000001192092896
    told = breakdown([record(clean=[(HERE, score, CAR)])], CARD, data(categories=()), 0.3)
    assert told["confusion"]["clean_to_adversarial"] == {}


def test_names_that_mean_one_category_are_one_class():
    twice = DetectorCard("toy", (Category("car", 3), Category("car", 4)), 0.05)
    truth = data((1, HERE, 7), categories=({"id": 7, "name": "car"},))
    told = breakdown([record(clean=[(HERE, 0.9, 1)], adversarial=[(HERE, 0.9, 0)])], twice, truth, 0.5)
    assert told["confusion"]["clean_to_adversarial"] == {"car": {"car": 1}}
    assert told["lost_ap"]["clean"]["ap50"] == pytest.approx(1)


def test_without_objects_nothing_is_drawn_of_ap():
    told = breakdown([record(clean=CLEAN, adversarial=CLEAN)], CARD, data(), 0.5)
    assert told["lost_ap"]["clean"]["ap50"] is None
    assert lost_ap_line(told["lost_ap"]) is None
    assert [plot.title for plot in breakdown_charts(told, 0.5)][0] == "Clean to attacked"
    assert "Where AP50 is lost" not in [plot.title for plot in breakdown_charts(told, 0.5)]
    assert len(breakdown_tables(told)) == 1


@pytest.mark.parametrize("summary", [{}, {"confusion": None, "lost_ap": None}, breakdown([], CARD, data(), 0.5)])
def test_what_is_not_known_is_not_drawn(summary):
    assert breakdown_charts(summary, 0.5) == []
    assert lost_ap_line(summary.get("lost_ap")) is None
