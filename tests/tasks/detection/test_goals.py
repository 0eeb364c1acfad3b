"""Goals: their text, the places they name, and the predicate on hand-made detections."""

import string
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detattack.cli.options import GoalText
from detattack.core.boxes import iou_matrix
from detattack.core.errors import InputError
from detattack.core.types import WHOLLY_WRONG, Category, Detections
from detattack.tasks.detection.goals import (
    GOALS,
    CleanImage,
    Degrade,
    Flood,
    Goal,
    Inject,
    Mislabel,
    Suppress,
    goal_forms,
    label_of,
    labels_about,
    parse_goal,
    register_goal,
)
from detattack.tasks.detection.goals.text import parse_box

CATEGORIES = (Category("car", 3), Category("truck", 8), Category("dog", 18), Category("traffic light", 10))
CAR, TRUCK, DOG = 0, 1, 2
HERE, THERE = (10.0, 20.0, 50.0, 60.0), (100.0, 20.0, 150.0, 80.0)
NEAR = (14.0, 24.0, 54.0, 64.0)  # IoU .68 with HERE
OFF = (26.0, 20.0, 66.0, 60.0)  # IoU .43 with HERE: less than a match, enough for suppress@box
AWAY = (40.0, 20.0, 80.0, 60.0)  # IoU .14 with HERE


def found(*rows: tuple[int, tuple, float] | tuple[int, tuple]) -> Detections:
    boxes = torch.tensor([row[1] for row in rows], dtype=torch.float32).reshape(-1, 4)
    scores = torch.tensor([row[2] if len(row) > 2 else 0.9 for row in rows], dtype=torch.float32)
    return Detections(boxes, scores, torch.tensor([row[0] for row in rows], dtype=torch.int64))


def target(text: str, clean: Detections | None = None, **options):
    return parse_goal(text).resolve(CATEGORIES, CleanImage(200, 100, clean or found()), **options)


# Text

names = st.text(string.ascii_letters + string.digits + " -_.", min_size=1).map(str.strip).filter(bool)
names = names.filter(lambda name: name != "all")
sides = st.floats(-1e6, 1e6, allow_nan=False)
boxes = st.tuples(sides, sides, sides, sides).filter(lambda b: b[0] < b[2] and b[1] < b[3])
goals = st.one_of(
    st.builds(Suppress, names | st.just("all"), st.none() | boxes),
    st.builds(Inject, names, boxes | st.sampled_from(["center", "random", "road"])),
    st.builds(Mislabel, names, names, st.none() | boxes),
    st.builds(Degrade, names | st.just("all")),
    st.builds(Flood, st.integers(1, 10_000)),
)


@settings(max_examples=300, deadline=None)
@given(goals)
def test_a_goal_reads_back_as_itself(goal):
    assert parse_goal(str(goal)) == goal


@pytest.mark.parametrize(
    "text",
    [
        "suppress:all",
        "suppress:car@10,20,80,60",
        "inject:traffic light@center",
        "inject:car@road",
        "mislabel:car@0.5,1.25,80,60.125->dog",
        "degrade:all",
        "degrade:traffic light",
        "flood:20",
    ],
)
def test_text_reads_back_as_itself(text):
    assert str(parse_goal(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "suppress",
        "suppress:",
        ":car",
        "suppress:car@",
        "suppress:car@10,20,80,60@center",
        "suppress:car@center",
        "suppress:car->dog",
        "suppress:car\n@x",
        "supress:car",
        "inject:car",
        "inject:all@center",
        "inject:car@middle",
        "inject:car@center->dog",
        "inject:car@10,20,80",
        "inject:car@10,20,80,60,90",
        "inject:car@10,20,nan,60",
        "inject:car@10,20,inf,60",
        "inject:car@80,20,10,60",
        "inject:car@10,60,80,20",
        "inject:car@10,20,10,60",
        "mislabel:car",
        "mislabel:car->",
        "mislabel:->dog",
        "mislabel:all->dog",
        "mislabel:car->all",
        "mislabel:car@random->dog",
        "mislabel:car->dog->car",
        "degrade:",
        "degrade",
        "degrade:car@10,20,80,60",
        "degrade:car@center",
        "degrade:car->dog",
        "flood:",
        "flood:0",
        "flood:-1",
        "flood:1.5",
        "flood:٣",
        "flood:10001",
        "flood:all",
    ],
)
def test_a_malformed_goal_is_one_line_of_bad_input(text):
    with pytest.raises(InputError) as error:
        parse_goal(text)
    assert str(error.value)
    assert "\n" not in str(error.value)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.text("suppresinjctmlabdgfo:@->,.0123456789 \n", max_size=40))
def test_any_text_is_a_goal_or_one_line_of_bad_input(text):
    try:
        goal, complaint = parse_goal(text), ""
    except InputError as error:
        goal, complaint = None, str(error)
    assert len(complaint.splitlines()) == (goal is None)
    assert goal is None or parse_goal(str(goal)) == goal


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,x", "5,1,5,9", "1,9,5,9", "9,1,5,9", "1,2,3,nan", "-inf,0,1,1"])
def test_a_malformed_box_is_one_line_of_bad_input(text):
    with pytest.raises(InputError, match="^box .*"):
        parse_box(text)


@pytest.mark.parametrize(("wrong", "near"), [("suppress:cat", "car"), ("inject:Dogg@center", "dog")])
def test_nearest_class_names_are_suggested(wrong, near):
    with pytest.raises(InputError, match=f"unknown class .*did you mean '{near}'"):
        parse_goal(wrong).check(CATEGORIES)


def test_letter_case_does_not_tell_classes_apart():
    parse_goal("inject:Dog@center").check(CATEGORIES)
    with pytest.raises(InputError, match="both classes are the same"):
        parse_goal("mislabel:DOG->dog").check(CATEGORIES)


def test_nearest_kinds_are_suggested():
    with pytest.raises(InputError, match="did you mean 'suppress'"):
        parse_goal("supress:car")


def test_what_the_detector_does_not_know_is_named():
    with pytest.raises(InputError, match="unknown class 'zebra'"):
        parse_goal("mislabel:car->zebra").check(CATEGORIES)
    with pytest.raises(InputError, match="same"):
        parse_goal("mislabel:car->car").check(CATEGORIES)
    parse_goal("suppress:all").check(CATEGORIES)
    assert label_of("traffic light", CATEGORIES) == 3


# Places


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4000), st.integers(1, 4000))
def test_center_is_a_quarter_of_each_side_in_the_middle(width, height):
    x1, y1, x2, y2 = parse_goal("inject:car@center").resolve(CATEGORIES, CleanImage(width, height, found())).box
    assert (x2 - x1, y2 - y1) == (width / 4, height / 4)
    assert (x1 + x2, y1 + y2) == (width, height)


@settings(max_examples=100, deadline=None)
@given(st.integers(8, 2000), st.integers(8, 2000), st.integers(0, 2**32), st.integers(0, 2**32))
def test_random_is_seeded_inside_of_the_sizes_promised_and_away_from_what_is_there(width, height, seed, image_id):
    clean = found((CAR, (0, 0, width / 4, height / 2)), (DOG, (width / 2, height / 2, width * 0.7, height * 0.9)))
    image = CleanImage(width, height, clean, (seed, image_id))
    goal = parse_goal("inject:car@random")
    box = goal.resolve(CATEGORIES, image).box
    x1, y1, x2, y2 = box
    assert 0 <= x1 < x2 <= width + 1e-9
    assert 0 <= y1 < y2 <= height + 1e-9
    assert 1 / 8 - 1e-9 <= (x2 - x1) / width <= 1 / 2 + 1e-9
    assert 1 / 8 - 1e-9 <= (y2 - y1) / height <= 1 / 2 + 1e-9
    assert float(iou_matrix(clean.boxes, torch.tensor([box])).max()) < 0.1
    assert goal.resolve(CATEGORIES, image).box == box
    assert goal.resolve(CATEGORIES, replace(image, seed=(seed, image_id + 1))).box != box


def test_no_random_place_in_a_full_image_is_bad_input():
    clean = found(*((CAR, (x, y, x + 40, y + 20)) for x in range(0, 200, 20) for y in range(0, 100, 10)))
    with pytest.raises(InputError, match="no random box"):
        target("inject:car@random", clean)


def test_road_is_what_the_renderer_says():
    goal = parse_goal("inject:car@road")
    assert goal.resolve(CATEGORIES, CleanImage(200, 100, found(), road=HERE)).box == HERE
    with pytest.raises(InputError, match="no free road"):
        goal.resolve(CATEGORIES, CleanImage(200, 100, found()))


@pytest.mark.parametrize("box", ["-1,0,50,50", "0,-0.5,50,50", "150,0,200.5,50", "0,50,50,101"])
@pytest.mark.parametrize("goal", ["inject:car@{}", "suppress:car@{}", "mislabel:car@{}->dog"])
def test_a_box_outside_the_image_is_bad_input(goal, box):
    with pytest.raises(InputError, match="outside the image of 200×100"):
        target(goal.format(box))


def test_a_box_up_to_the_border_is_inside():
    assert target("inject:car@0,0,200,100").box == (0, 0, 200, 100)


# The predicate

AT = ",".join(f"{v:g}" for v in HERE)


@pytest.mark.parametrize(
    ("goal", "after", "expected"),
    [
        ("suppress:all", found(), True),
        ("suppress:all", found((DOG, THERE)), False),
        ("suppress:car", found(), True),
        ("suppress:car", found((CAR, HERE)), False),
        ("suppress:car", found((CAR, THERE)), False),  # moved: no success
        ("suppress:car", found((TRUCK, HERE)), True),  # relabeled: one
        (f"suppress:car@{AT}", found((CAR, THERE)), True),
        (f"suppress:car@{AT}", found((CAR, NEAR)), False),
        (f"suppress:car@{AT}", found((CAR, OFF)), False),
        (f"suppress:car@{AT}", found((CAR, AWAY)), True),
        (f"suppress:car@{AT}", found((DOG, HERE)), True),
        (f"suppress:all@{AT}", found((DOG, NEAR)), False),
        (f"suppress:all@{AT}", found((DOG, THERE)), True),
        (f"inject:car@{AT}", found(), False),
        (f"inject:car@{AT}", found((CAR, NEAR)), True),
        (f"inject:car@{AT}", found((CAR, OFF)), False),
        (f"inject:car@{AT}", found((DOG, HERE)), False),
        (f"inject:car@{AT}", found((DOG, HERE), (CAR, THERE), (CAR, NEAR)), True),
        ("mislabel:car->dog", found(), False),  # vanished is not relabeled
        ("mislabel:car->dog", found((DOG, HERE)), True),
        ("mislabel:car->dog", found((DOG, NEAR)), True),
        ("mislabel:car->dog", found((DOG, OFF)), False),
        ("mislabel:car->dog", found((DOG, HERE), (CAR, NEAR)), False),
        ("mislabel:car->dog", found((TRUCK, HERE)), False),
        ("mislabel:car->dog", found((DOG, HERE), (CAR, THERE)), True),
        ("degrade:all", found(), True),
        ("degrade:all", found((CAR, NEAR)), False),
        ("degrade:all", found((CAR, OFF)), True),  # in the wrong place
        ("degrade:all", found((TRUCK, HERE), (DOG, HERE)), True),  # as something else
        ("degrade:all", found((TRUCK, HERE), (CAR, NEAR)), False),
        ("degrade:all", found((CAR, THERE)), True),
        ("degrade:car", found((CAR, HERE)), False),
        ("degrade:car", found((CAR, OFF)), True),
        ("flood:1", found((CAR, NEAR)), False),
        ("flood:1", found((CAR, OFF)), True),
        ("flood:1", found((DOG, HERE)), True),
        ("flood:2", found((DOG, HERE), (CAR, NEAR)), False),
        ("flood:2", found((DOG, HERE), (TRUCK, HERE), (CAR, NEAR)), True),
    ],
)
def test_predicate(goal, after, expected):
    assert target(goal, found((CAR, HERE))).holds(after) is expected


def test_mislabel_asks_for_every_object():
    both = target("mislabel:car->dog", found((CAR, HERE), (CAR, THERE)))
    assert not both.holds(found((DOG, HERE), (CAR, THERE)))
    assert not both.holds(found((DOG, HERE)))
    assert both.holds(found((DOG, HERE), (DOG, THERE)))
    one = target(f"mislabel:car@{AT}->dog", found((CAR, HERE), (CAR, THERE)))
    assert one.holds(found((DOG, HERE), (CAR, THERE)))


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [(0.51, (True, False)), (0.49, (False, False)), (0.31, (False, False)), (0.29, (False, True))],
)
def test_the_thresholds_of_overlap(overlap, expected):
    """A box whose IoU with HERE is `overlap`: matched from .5 on, in the way of suppress@box from .3 on."""
    x1, y1, x2, y2 = HERE
    after = found((CAR, (x1, y1, x1 + overlap * (x2 - x1), y2)))
    inject, suppress = target(f"inject:car@{AT}"), target(f"suppress:car@{AT}", found((CAR, HERE)))
    assert (inject.holds(after), suppress.holds(after)) == expected


@pytest.mark.parametrize(
    ("goal", "clean", "kept"),
    [
        ("suppress:car", found((CAR, HERE), (DOG, THERE)), [(DOG, THERE)]),
        ("suppress:all", found((CAR, HERE), (DOG, THERE)), []),
        (f"suppress:car@{AT}", found((CAR, HERE), (CAR, THERE), (DOG, NEAR)), [(CAR, THERE), (DOG, NEAR)]),
        (f"suppress:all@{AT}", found((CAR, HERE), (DOG, NEAR), (DOG, THERE)), [(DOG, THERE)]),
        (f"inject:car@{AT}", found((DOG, THERE), (DOG, NEAR)), [(DOG, THERE)]),
        ("mislabel:car->dog", found((CAR, HERE), (TRUCK, THERE)), [(TRUCK, THERE)]),
        ("degrade:car", found((CAR, HERE), (DOG, THERE)), [(DOG, THERE)]),
        ("degrade:all", found((CAR, HERE), (DOG, THERE)), []),
        ("flood:1", found((CAR, HERE), (DOG, THERE)), [(CAR, HERE), (DOG, THERE)]),
    ],
)
def test_keep_others(goal, clean, kept):
    resolved = target(goal, clean, keep_others=True)
    assert list(resolved.kept) == kept
    relabeled = found((DOG, HERE))
    met = {"inject": found((CAR, HERE)), "mislabel": relabeled, "flood": relabeled}.get(resolved.goal.kind, found())
    assert resolved.holds(met) is not bool(kept)
    others = found(*kept)
    together = Detections(*(torch.cat([getattr(met, n), getattr(others, n)]) for n in ("boxes", "scores", "labels")))
    assert resolved.holds(together)
    assert target(goal, clean).holds(met)


@pytest.mark.parametrize(
    ("goal", "clean", "status"),
    [
        ("suppress:all", found(), "nothing"),
        ("suppress:all", found((DOG, HERE)), None),
        ("suppress:car", found((DOG, HERE)), "nothing"),
        ("suppress:car", found((CAR, HERE)), None),
        (f"suppress:car@{AT}", found((CAR, THERE)), "nothing"),
        (f"suppress:car@{AT}", found((CAR, OFF)), None),
        (f"inject:car@{AT}", found(), None),
        (f"inject:car@{AT}", found((CAR, OFF)), None),
        (f"inject:car@{AT}", found((CAR, NEAR)), "already"),
        (f"inject:car@{AT}", found((DOG, NEAR)), None),
        ("mislabel:car->dog", found(), "nothing"),
        ("mislabel:car->dog", found((DOG, HERE)), "nothing"),
        ("mislabel:car->dog", found((CAR, HERE)), None),
        (f"mislabel:car@{AT}->dog", found((CAR, THERE)), "nothing"),
        ("degrade:all", found(), "nothing"),
        ("degrade:all", found((DOG, HERE)), None),
        ("degrade:car", found((DOG, HERE)), "nothing"),
        ("degrade:car", found((CAR, HERE), (DOG, THERE)), None),
        ("flood:1", found(), None),
        ("flood:1", found((DOG, HERE)), None),  # all that is there untouched is right
    ],
)
@pytest.mark.parametrize("keep_others", [False, True])
def test_status_before_anything_is_done(goal, clean, status, keep_others):
    resolved = target(goal, clean, keep_others=keep_others)
    assert resolved.goal.initial_status(resolved, clean) == status


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        ("suppress:all", 0.8),
        ("suppress:car", 0.7),
        (f"suppress:car@{AT}", 0.6),
        (f"inject:car@{AT}", 0.5),
        (f"mislabel:car@{AT}->dog", 0.4),
        ("mislabel:car->dog", 0.0),
        ("degrade:all", 0.7),
        ("degrade:car", 0.7),
        ("flood:1", 0.8),
        ("flood:3", 0.4),
        ("flood:4", 0.0),
    ],
)
def test_confidence_is_the_score_that_the_goal_is_about(goal, expected):
    after = found((CAR, THERE, 0.7), (CAR, OFF, 0.6), (CAR, NEAR, 0.5), (DOG, NEAR, 0.4), (TRUCK, THERE, 0.8))
    resolved = target(goal, found((CAR, HERE), (CAR, THERE)))
    assert resolved.goal.confidence(resolved, after) == pytest.approx(expected)
    assert resolved.goal.confidence(resolved, found()) == 0


def test_asked_iou():
    inject = target(f"inject:car@{AT}")
    assert inject.goal.asked_iou(inject, found((CAR, AWAY), (CAR, NEAR), (DOG, HERE))) == pytest.approx(
        0.6807, abs=1e-3
    )
    assert inject.goal.asked_iou(inject, found((DOG, HERE))) == 0
    suppress = target("suppress:car")
    assert suppress.goal.asked_iou(suppress, found((CAR, HERE))) is None


# What is there, by annotations or by what is detected


def resolved_with(text, clean, annotated):
    return parse_goal(text).resolve(CATEGORIES, CleanImage(200, 100, clean, annotated=annotated))


def test_annotated_objects_count_where_there_are_some():
    goal = resolved_with("degrade:all", found((CAR, HERE)), found((DOG, THERE)))
    assert (goal.objects, goal.object_labels) == ((THERE,), (DOG,))
    assert goal.holds(found((CAR, HERE)))
    assert not goal.holds(found((DOG, THERE)))
    detected = resolved_with("degrade:all", found((CAR, HERE)), None)
    assert (detected.objects, detected.object_labels) == ((HERE,), (CAR,))
    one_class = resolved_with("degrade:car", found(), found((DOG, THERE), (CAR, HERE), (CAR, THERE)))
    assert (one_class.objects, one_class.object_labels) == ((HERE, THERE), (CAR, CAR))
    flood = resolved_with("flood:1", found((CAR, HERE)), found((DOG, THERE)))
    assert flood.holds(found((CAR, HERE)))
    assert not flood.holds(found((DOG, THERE)))


@pytest.mark.parametrize(
    ("goal", "clean", "annotated", "status"),
    [
        ("degrade:all", found((CAR, HERE)), found(), "nothing"),
        ("degrade:all", found(), found((CAR, HERE)), "already"),
        ("degrade:all", found((DOG, HERE)), found((CAR, HERE)), "already"),
        ("degrade:car", found((CAR, HERE)), found((DOG, HERE)), "nothing"),
        ("degrade:all", found((CAR, HERE)), found((CAR, HERE), (DOG, THERE)), None),
        ("flood:1", found((CAR, HERE)), found((DOG, THERE)), "already"),
    ],
)
def test_status_by_annotations(goal, clean, annotated, status):
    resolved = resolved_with(goal, clean, annotated)
    assert resolved.goal.initial_status(resolved, clean) == status


def test_the_harm_of_a_class_is_that_of_its_objects():
    clean = found((CAR, HERE), (DOG, THERE))
    cars, everything = target("degrade:car", clean), target("degrade:all", clean)
    after = found((DOG, THERE, 0.64))
    assert cars.goal.harm(cars, after) == WHOLLY_WRONG
    assert cars.goal.harm(cars, found((DOG, THERE, 0.64), (CAR, THERE, 0.5))) == WHOLLY_WRONG + 0.5
    assert everything.goal.harm(everything, after) == pytest.approx(-0.8)
    assert cars.goal.harm(cars, found((CAR, HERE, 0.25))) == pytest.approx(-0.5)


def test_what_is_false_of_a_class_that_is_not_annotated_does_no_harm():
    image = CleanImage(100, 80, found((CAR, HERE, 0.9)), annotated_labels=(CAR,))
    target = Degrade("all").resolve(CATEGORIES, image)
    assert target.goal.harm(target, found((DOG, THERE, 0.95), (CAR, HERE, 0.25))) == pytest.approx(-0.5)
    assert target.goal.harm(target, found((CAR, THERE, 0.95), (CAR, HERE, 0.25))) == pytest.approx(-0.25)


def test_the_harm_of_a_flood_is_what_is_false():
    flood = target("flood:3", found((CAR, HERE)))
    after = found((CAR, NEAR, 0.9), (CAR, OFF, 0.5), (DOG, HERE, 0.25))
    assert flood.goal.harm(flood, after) == pytest.approx(0.75)
    assert flood.goal.harm(flood, found()) == 0
    many, more = (flood.goal.harm(flood, found(*[(DOG, THERE, 0.75)] * count)) for count in (3000, 4000))
    assert many < more < WHOLLY_WRONG
    assert flood.goal.asked_for(flood, after).tolist() == [False, True, True]
    assert flood.goal.aimed_at(flood, after).tolist() == [False] * 3


def test_other_goals_tell_no_harm_and_are_about_no_objects():
    for text in ("suppress:all", "inject:car@center", "mislabel:car->dog"):
        resolved = target(text, found((CAR, HERE)))
        assert resolved.goal.harm(resolved, found()) is None
        assert not resolved.goal.of_objects
        assert resolved.object_labels == ()


# The registry


def test_the_text_of_each_goal_is_in_the_help_of_its_option():
    told = str(GoalText.__metadata__[0].help)
    assert sorted(GOALS) == ["degrade", "flood", "inject", "mislabel", "suppress"]
    assert all(f"{kind}:" in told for kind in GOALS)
    assert [goal_type.form.partition(":")[0] for goal_type in GOALS.values()] == list(GOALS)


def test_what_is_no_goal_is_told_how_goals_look():
    with pytest.raises(InputError, match="not of the form .*suppress:CLASS.*") as error:
        parse_goal("car")
    assert all(form in str(error.value) for form in goal_forms())


def test_an_own_goal_has_defaults_for_all_but_text_and_predicate(monkeypatch):
    monkeypatch.setattr(GOALS, "_entries", dict(GOALS._entries))

    @register_goal
    @dataclass(frozen=True)
    class Few(Goal):
        kind = "few"
        form = "few:N"
        losses = ("vanish",)
        count: int

        @classmethod
        def parse(cls, text):
            return cls(int(text))

        def __str__(self):
            return f"few:{self.count}"

        def holds(self, target, found):
            return len(found) <= self.count

    clean = found((CAR, HERE, 0.6), (DOG, THERE, 0.8))
    resolved = target("few:1", clean, keep_others=True)
    assert (resolved.labels, resolved.box, resolved.objects, resolved.kept) == ((), None, (), ())
    assert resolved.goal.initial_status(resolved, clean) is None
    assert resolved.goal.initial_status(resolved, found()) == "already"
    assert resolved.goal.confidence(resolved, clean) == pytest.approx(0.8)
    assert resolved.goal.aimed_at(resolved, clean).tolist() == [True, True]
    assert resolved.goal.asked_for(resolved, clean).tolist() == [False, False]
    assert resolved.goal.asked_iou(resolved, clean) is None
    with pytest.raises(InputError, match="goal 'few:x': invalid literal"):
        parse_goal("few:x")
    with pytest.raises(InputError, match="'few': is registered already"):
        register_goal(Few)


@pytest.mark.parametrize(
    ("goal", "suits"),
    [
        ("suppress:car", [True, False]),
        ("suppress:all", [True, True]),
        ("suppress:zebra", [True, True]),  # the renderer knows no such class, so cannot tell
        ("mislabel:car->bus", [True, False]),
        ("inject:car@center", [True, True]),
        ("inject:car@road", [False, True]),
        ("degrade:car", [True, False]),
        ("degrade:all", [True, True]),
        ("degrade:zebra", [True, True]),
        ("flood:5", [True, True]),
    ],
)
def test_which_rendered_scenes_suit(goal, suits):
    @dataclass
    class Facts:
        shown: str
        road: tuple | None

        def may_show(self, name):
            return name in (self.shown, "zebra")

    scenes = (Facts("car", None), Facts("dog", HERE))
    assert [parse_goal(goal).suits(scene) for scene in scenes] == suits
    assert parse_goal(goal).rendered_only == goal.endswith("@road")


# Two labels of one name

TWO_CARS = (Category("car", 3), Category("dog", 18), Category("car", 3))
DOG_AMONG, SECOND_CAR = 1, 2


@pytest.mark.parametrize("text", ["degrade:all", "degrade:car"])
@pytest.mark.parametrize(("label", "is_found"), [(CAR, True), (SECOND_CAR, True), (DOG_AMONG, False)])
def test_an_object_is_found_by_any_label_of_its_name(text, label, is_found):
    for annotated in (CAR, SECOND_CAR):
        image = CleanImage(200, 100, found(), annotated=found((annotated, HERE)))
        resolved = parse_goal(text).resolve(TWO_CARS, image)
        assert resolved.object_labels == (annotated,)
        assert resolved.holds(found((label, NEAR))) != is_found
        assert (resolved.goal.confidence(resolved, found((label, NEAR, 0.75))) == 0.75) == is_found
        assert (resolved.goal.harm(resolved, found((label, NEAR, 0.75))) < WHOLLY_WRONG) == is_found


def test_a_duplicate_of_the_other_label_is_a_false_positive_of_the_class():
    image = CleanImage(200, 100, found(), annotated=found((CAR, HERE), (CAR, THERE)))
    resolved = parse_goal("degrade:all").resolve(TWO_CARS, image)
    seen = found((CAR, HERE, 0.81), (SECOND_CAR, HERE, 0.64), (CAR, THERE, 0.25))
    assert resolved.goal.harm(resolved, seen) == pytest.approx(-(0.9 + 0.5 * 2 / 3))


def test_what_is_at_an_object_by_any_label_of_its_name_is_not_false():
    image = CleanImage(200, 100, found(), annotated=found((CAR, HERE)))
    resolved = parse_goal("flood:1").resolve(TWO_CARS, image)
    seen = found((CAR, HERE), (SECOND_CAR, NEAR), (DOG_AMONG, HERE))
    assert resolved.goal.asked_for(resolved, seen).tolist() == [False, False, True]


# Labels of one name, in goals that name a class

DOUBLED = (*CATEGORIES, Category("car", 50), Category("dog", 51))
CAR_AGAIN, DOG_AGAIN = 4, 5


@pytest.mark.parametrize(
    ("goal", "after", "expected"),
    [
        ("suppress:car", found((CAR_AGAIN, THERE)), False),
        ("suppress:car", found((TRUCK, HERE)), True),
        (f"suppress:car@{AT}", found((CAR_AGAIN, NEAR)), False),
        (f"inject:car@{AT}", found((CAR_AGAIN, NEAR)), True),
        ("mislabel:car->dog", found((DOG_AGAIN, HERE), (DOG, THERE)), True),
        ("mislabel:car->dog", found((DOG, HERE)), False),  # the second car has only vanished
        ("mislabel:car->dog", found((DOG, HERE), (DOG, THERE), (CAR_AGAIN, HERE)), False),
    ],
)
def test_any_label_of_a_name_is_of_the_class(goal, after, expected):
    clean = found((CAR, HERE), (CAR_AGAIN, THERE))
    resolved = parse_goal(goal).resolve(DOUBLED, CleanImage(200, 100, clean))
    assert resolved.holds(after) is expected


def test_what_is_told_of_a_goal_is_of_any_label_of_the_name():
    clean = found((CAR_AGAIN, HERE, 0.8), (DOG, THERE))
    image = CleanImage(200, 100, clean)
    suppress, inject, mislabel = (
        parse_goal(text).resolve(DOUBLED, image, True)
        for text in ("suppress:car", f"inject:dog@{AT}", "mislabel:car->dog")
    )
    after = found((DOG_AGAIN, NEAR, 0.7), (DOG_AGAIN, THERE))
    assert suppress.goal.initial_status(suppress, clean) is mislabel.goal.initial_status(mislabel, clean) is None
    assert [one.goal.confidence(one, after) for one in (inject, mislabel)] == pytest.approx([0.7, 0.7])
    assert suppress.goal.confidence(suppress, clean) == pytest.approx(0.8)
    assert inject.goal.asked_iou(inject, after) == pytest.approx(0.6807, abs=1e-3)
    assert [one.goal.asked_for(one, after).tolist() for one in (inject, mislabel)] == [[True, False]] * 2
    assert suppress.goal.aimed_at(suppress, clean).tolist() == [True, False]
    assert suppress.kept == mislabel.kept == ((DOG, THERE),)
    assert suppress.holds(after), "what must stay has stayed, by another label of its name"


def test_the_labels_that_a_goal_is_about_are_all_of_its_names():
    names = [category.name for category in DOUBLED]
    assert labels_about("mislabel:dog->car", names) == [DOG, DOG_AGAIN, CAR, CAR_AGAIN]
    assert labels_about("suppress:all", names) == labels_about("suppress:zebra", names) == labels_about("", names) == []
