"""Which objects `degrade` and `flood` are about."""

from types import SimpleNamespace

import pytest

from detattack.core.errors import InputError
from detattack.core.types import Category
from detattack.datasets.base import Dataset
from detattack.engine import PRESETS
from detattack.tasks.detection.config import DetectionConfig
from detattack.tasks.detection.goals import parse_goal
from detattack.tasks.detection.objects import check_reference, objects_of

MODEL = SimpleNamespace(name="m", categories=(Category("car", 3), Category("dog", 18)))
CATEGORIES = [{"id": 40, "name": "Dog"}, {"id": 7, "name": "kite"}, {"id": 2, "name": "car"}]


def annotation(image, category, x, crowd=None):
    more = {} if crowd is None else {"iscrowd": crowd}
    return {"image_id": image, "category_id": category, "bbox": [x, 10, 20, 30], **more}


ROWS = (
    annotation(1, 2, 5),
    annotation(1, 40, 50, 0),
    annotation(1, 2, 80, 1),
    annotation(2, 7, 0),
    annotation(3, 2, 0),
)
ANNOTATED = Dataset((), "", tuple(CATEGORIES), ROWS)


def config(goal: str, reference=None) -> DetectionConfig:
    return DetectionConfig(goal=goal, attack=PRESETS["ensemble"], reference=reference)


def found(goal="degrade:all", reference=None, dataset=ANNOTATED):
    return objects_of(MODEL, config(goal, reference), parse_goal(goal), dataset)


@pytest.mark.parametrize("reference", [None, "annotations"])
def test_annotated_objects_of_known_classes_without_crowds(reference):
    objects = found(reference=reference)
    first = objects.of(1)
    assert first.labels.tolist() == [0, 1]
    assert first.boxes.tolist() == [[5, 10, 25, 40], [50, 10, 70, 40]]
    assert first.scores.tolist() == [1, 1]
    assert len(objects.of(2)) == 0  # a kite alone
    assert objects.of(3).labels.tolist() == [0]
    assert objects.of(4).boxes.shape == (0, 4)


def test_labels_of_the_classes_that_the_annotations_have():
    assert found().labels == (), "all that the model knows"
    without = Dataset((), "", tuple(CATEGORIES[1:]), ROWS[:1])
    assert found(dataset=without).labels == (0,)


def test_all_classes_are_looked_up_whatever_the_goal_s():
    """`flood` asks what is false, of any class."""
    assert found("flood:3").of(1).labels.tolist() == found("degrade:car").of(1).labels.tolist() == [0, 1]


def test_of_two_labels_of_one_name_the_first_is_noted():
    model = SimpleNamespace(name="m", categories=(*MODEL.categories, Category("car", 3)))
    objects = objects_of(model, config("degrade:all"), parse_goal("degrade:all"), ANNOTATED)
    assert objects.of(1).labels.tolist() == [0, 1]


def test_where_detections_are_the_reference():
    assert found(reference="detections") is None
    assert found(dataset=Dataset((), "")) is None
    assert found("suppress:car") is None
    assert found("inject:car@center") is None


def test_a_reference_is_checked():
    for reference in (None, "detections", "annotations"):
        check_reference(config("degrade:all", reference), parse_goal("degrade:all"), ANNOTATED)
    check_reference(config("degrade:all", "detections"), parse_goal("degrade:all"), Dataset((), ""))
    with pytest.raises(InputError, match="--reference annotations: the data set has none"):
        check_reference(config("degrade:all", "annotations"), parse_goal("degrade:all"), Dataset((), ""))
    for reference in ("detections", "annotations"):
        with pytest.raises(InputError, match="'suppress:car' is about no reference objects"):
            check_reference(config("suppress:car", reference), parse_goal("suppress:car"), ANNOTATED)
