"""Categories are matched by name, whatever a data set calls them."""

import pytest
from torchvision.models.detection import RetinaNet_ResNet50_FPN_Weights

from detattack.core.categories import ALIASES, COCO_IDS, canonical, categories_named, find_name, match_names
from detattack.core.errors import InputError
from detattack.core.types import Category
from detattack.datasets.coco import category_ids
from detattack.detectors.parts.head_columns import UNNAMED
from detattack.tasks.detection.goals import label_of, parse_goal

VOC = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]


def test_cocos_names_and_ids_are_torchvisions():
    listed = RetinaNet_ResNet50_FPN_Weights.DEFAULT.meta["categories"]
    assert {name: i for i, name in enumerate(listed) if name not in UNNAMED} == COCO_IDS


def test_every_alias_is_a_word_for_one_of_cocos():
    assert set(ALIASES.values()) <= set(COCO_IDS)
    assert not set(ALIASES) & set(COCO_IDS)


def test_all_of_vocs_classes_are_among_cocos():
    categories = categories_named(VOC)
    assert [c.name for c in categories] == VOC
    assert [c.coco_id for c in categories] == [COCO_IDS[canonical(name)] for name in VOC]
    assert len({c.coco_id for c in categories}) == 20


def test_a_voc_detector_on_cocos_annotations_and_the_other_way_round():
    voc = tuple(Category(name, i) for i, name in enumerate(VOC, 1))
    coco_data = [{"id": i, "name": name} for name, i in COCO_IDS.items()]
    found = category_ids(voc, coco_data)
    assert [found[VOC.index(n)] for n in ("aeroplane", "tvmonitor", "sofa", "car")] == [5, 72, 63, 3]
    coco = tuple(Category(name, i) for name, i in COCO_IDS.items())
    back = category_ids(coco, [{"id": i, "name": name} for i, name in enumerate(VOC)])
    assert len(back) == 20
    assert back[list(COCO_IDS).index("dining table")] == VOC.index("diningtable")


def test_two_words_for_one_thing_are_not_guessed_between():
    both = (Category("tv", 1), Category("tvmonitor", 2))
    assert category_ids(both, [{"id": 7, "name": "television"}]) == {}
    assert category_ids(both, [{"id": 7, "name": "tv"}]) == {0: 7}
    assert find_name("television", ["tv", "tvmonitor"]) is None


def test_goals_take_another_data_sets_word():
    coco = categories_named(COCO_IDS)
    assert coco[label_of("aeroplane", coco)].name == "airplane"
    assert label_of("tv", categories_named(VOC)) == VOC.index("tvmonitor")
    parse_goal("mislabel:sofa->tvmonitor").check(coco)
    with pytest.raises(InputError, match="both classes are the same"):
        parse_goal("mislabel:sofa->couch").check(coco)
    assert coco[label_of("Aeroplane", coco)].name == "airplane"
    assert coco[label_of("Traffic_Light", coco)].name == "traffic light"
    with pytest.raises(InputError, match="unknown class 'aeroplan': did you mean 'airplane'"):
        label_of("aeroplan", coco)


@pytest.mark.parametrize(
    ("name", "coco"),
    [
        ("traffic_light", "traffic light"),
        ("Traffic-Light", "traffic light"),
        (" TRAFFIC  light ", "traffic light"),
        ("traffic__light_", "traffic light"),
        ("Cellular_telephone", "cell phone"),
        ("bus_(vehicle)", "bus"),
        ("Monitor/TV", "tv"),
        ("cart", "cart"),
    ],
)
def test_spellings_of_one_name(name, coco):
    assert canonical(name) == coco
    assert find_name(name, ["kite", coco]) == 1


def test_aliases_are_written_as_they_are_looked_up():
    assert [alias for alias in ALIASES if canonical(alias) != ALIASES[alias]] == []


def test_names_that_collide_are_taken_to_the_letter_or_not_at_all():
    assert match_names(["car", "dog"], ["Car", "car", "DOG", "Dog"]) == {0: 1}
    assert match_names(["tv", "tvmonitor"], ["tvmonitor", "television"]) == {1: 0}
    assert match_names(["traffic light"], ["traffic_light", "traffic-light"]) == {}
    assert find_name("traffic_light", ["traffic light", "Traffic Light"]) is None
    assert find_name("traffic light", ["traffic light", "Traffic Light"]) == 0


def test_ids_are_by_cocos_own_spelling():
    """They are part of a model's fingerprint, by which runs from before `_` was read as a blank are resumed."""
    assert [c.coco_id for c in categories_named(["Person ", "sofa"])] == [1, 63]
    assert [c.coco_id for c in categories_named(["person", "traffic_light"])] == [1, 2]


def test_names_that_coco_does_not_know_are_numbered():
    assert categories_named(["wolf", "car"]) == (Category("wolf", 1), Category("car", 2))
    assert categories_named(["car", "dog"]) == (Category("car", 3), Category("dog", 18))
