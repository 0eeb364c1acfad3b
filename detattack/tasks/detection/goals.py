"""Goals: what an attack is after, as text in configs and ledgers, and the one predicate that judges it.

    suppress:all   suppress:car   suppress:car@10,20,80,60
    inject:car@10,20,80,60   inject:car@center   inject:car@random   inject:car@road
    mislabel:car->dog   mislabel:car@10,20,80,60->dog

The same predicate serves the stop rule of the loop, the success rate and `verify`.
"""

import math
import re
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor

from detattack.core.boxes import Box, iou_matrix, to_box
from detattack.core.categories import match
from detattack.core.errors import InputError, unknown
from detattack.core.types import Category, Detections

Kind = Literal["suppress", "inject", "mislabel"]

SUPPRESS_IOU = 0.3
"""A detection with at least this IoU with the box of `suppress:...@box` is the one that must vanish."""
MATCH_IOU = 0.5
"""From this IoU on, a detection is at the asked box, or at the same object."""
RANDOM_IOU = 0.1
"""A random place keeps its IoU with every clean detection below this."""
PLACES = ("center", "random", "road")
RANDOM_TRIALS = 1000


@dataclass(frozen=True)
class Goal:
    """What an attack is after.

    category: a class name, or `all` (suppress only). place: where, for inject: a box or one of `PLACES`; for
    suppress and mislabel: a box, or None for the whole image. new_category: of mislabel.
    """

    kind: Kind
    category: str
    place: Box | str | None = None
    new_category: str | None = None

    def __str__(self) -> str:
        place = self.place
        at = "" if place is None else "@" + (place if isinstance(place, str) else ",".join(map(_number, place)))
        to = f"->{self.new_category}" if self.new_category else ""
        return f"{self.kind}:{self.category}{at}{to}"


def _number(value: float) -> str:
    """Short where that loses nothing: a goal reads back as itself."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


_GOAL = re.compile(r"(?P<kind>\w+):(?P<category>[^@>]+?)(?:@(?P<place>[^>]+?))?(?:->(?P<new>[^@>]+))?")


def parse_goal(text: str) -> Goal:
    """A goal from its text. Raises `InputError` for anything that is none."""
    match = _GOAL.fullmatch(text.strip()) if isinstance(text, str) else None
    if not match:
        raise InputError(f"goal {text!r}: not of the form suppress:CLASS, inject:CLASS@PLACE or mislabel:CLASS->CLASS")
    kind, category, place, new = (part and part.strip() for part in match.group("kind", "category", "place", "new"))
    if kind not in ("suppress", "inject", "mislabel"):
        raise unknown("goal", kind, ("suppress", "inject", "mislabel"))
    where = parse_place(place) if place else None
    if (kind == "mislabel") != bool(new):
        raise InputError(f"goal {text!r}: '->CLASS' belongs to mislabel, and mislabel needs it")
    if kind == "inject" and where is None:
        raise InputError(f"goal {text!r}: inject needs a place, e.g. inject:{category}@center")
    if kind != "inject" and isinstance(where, str):
        raise InputError(f"goal {text!r}: {kind} takes a box, not {where!r}")
    if new == "all" or (category == "all" and kind != "suppress"):
        raise InputError(f"goal {text!r}: {kind} needs one class")
    return Goal(cast(Kind, kind), category, where, new)


def parse_place(text: str) -> Box | str:
    """`center`, `random`, `road`, or a box."""
    return text if text in PLACES else parse_box(text)


def parse_box(text: str) -> Box:
    """`x1,y1,x2,y2` in pixels, x1 < x2 and y1 < y2. Raises `InputError`."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 4 or not all(math.isfinite(v) for v in values):
        raise InputError(f"box {text!r}: not four numbers x1,y1,x2,y2")
    x1, y1, x2, y2 = values
    if x1 >= x2 or y1 >= y2:
        raise InputError(f"box {text!r}: inverted or empty (x1 < x2 and y1 < y2 are needed)")
    return x1, y1, x2, y2


def label_of(name: str, categories: tuple[Category, ...]) -> int:
    """The index of a class by its name, matched as `detectors.names.match` does. Raises `InputError` with the nearest
    names."""
    names = [c.name for c in categories]
    label = match(name, names)
    if label is None:
        raise unknown("class", name, names)
    return label


def check_goal(goal: Goal, categories: tuple[Category, ...]) -> None:
    """Raises `InputError` where the goal names a class that the detector does not know."""
    named = [label_of(name, categories) for name in (goal.category, goal.new_category) if name and name != "all"]
    if len(named) != len(set(named)):
        raise InputError(f"goal '{goal}': both classes are the same")


def check_place(goal: Goal, width: int, height: int) -> None:
    """Raises `InputError` where the goal's box is not inside an image of that size."""
    if isinstance(goal.place, tuple):
        x1, y1, x2, y2 = goal.place
        if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
            text = ",".join(f"{v:g}" for v in goal.place)
            raise InputError(f"box {text}: outside the image of {width}×{height} pixels")


@dataclass(frozen=True)
class Target:
    """A goal resolved for one image.

    label, new_label: indices into the detector's categories; label None: all classes.
    box: where; None: anywhere. objects: the boxes of the clean detections that are to be relabeled.
    kept: clean detections that must stay, as (label, box) (`keep_others`).
    """

    goal: Goal
    kind: Kind
    label: int | None
    new_label: int | None = None
    box: Box | None = None
    objects: tuple[Box, ...] = ()
    kept: tuple[tuple[int, Box], ...] = ()


@dataclass(frozen=True)
class Scene:
    """What resolving a goal needs to know of one image: its size, its clean detections above τ, its seed, and
    the box where the renderer says that the road is free (rendered scenes only)."""

    width: int
    height: int
    clean: Detections
    seed: tuple[int, ...] = (0,)
    road: Box | None = None


def resolve(goal: Goal, categories: tuple[Category, ...], scene: Scene, keep_others: bool = False) -> Target:
    """The goal for one image. Raises `InputError` for a box outside the image or a place that is not there."""
    label = None if goal.category == "all" else label_of(goal.category, categories)
    new_label = label_of(goal.new_category, categories) if goal.new_category else None
    target = Target(goal, goal.kind, label, new_label, _locate(goal, scene))
    if goal.kind == "mislabel":
        target = replace(target, objects=_tuples(_aimed_at(target, scene.clean, MATCH_IOU).boxes))
    if keep_others:
        target = replace(target, kept=_others(target, scene.clean))
    return target


def initial_status(target: Target, clean: Detections) -> str | None:
    """`nothing` (nothing to suppress), `already` (the goal holds untouched), or None: there is work to do."""
    if target.kind == "suppress":
        return "nothing" if achieved(target, clean) else None
    if target.kind == "mislabel":
        return None if target.objects else "nothing"
    return "already" if achieved(replace(target, kept=()), clean) else None


def achieved(target: Target, found: Detections) -> bool:
    """The predicate: whether the goal holds, given the detections above τ."""
    return _achieved_kind(target, found) and all(
        _matches(found.of(label), box, MATCH_IOU) for label, box in target.kept
    )


def _achieved_kind(target: Target, found: Detections) -> bool:
    if target.kind == "suppress":
        return not len(_aimed_at(target, found, SUPPRESS_IOU))
    if target.kind == "inject":
        return _matches(found.of(target.label), target.box, MATCH_IOU)
    return all(
        _matches(found.of(target.new_label), box, MATCH_IOU) and not _matches(found.of(target.label), box, MATCH_IOU)
        for box in target.objects
    )


def confidence(target: Target, found: Detections) -> float:
    """The score that the goal is about, from detections down to the detector's floor; 0 where there is none.

    suppress: the highest that is to vanish. inject: the highest at the box. mislabel: the lowest, over the
    objects, of the new class.
    """
    if target.kind == "suppress":
        return _top(_aimed_at(target, found, SUPPRESS_IOU))
    if target.kind == "inject":
        return _top(_at(found.of(target.label), target.box, MATCH_IOU))
    return min((_top(_at(found.of(target.new_label), box, MATCH_IOU)) for box in target.objects), default=0.0)


def asked_iou(target: Target, found: Detections) -> float | None:
    """For inject: the best IoU with the asked box among the detections of the class; None for other goals."""
    if target.kind != "inject":
        return None
    boxes = found.of(target.label).boxes
    return float(iou_matrix(boxes, _tensor(target.box, boxes)).max()) if len(boxes) else 0.0


def _aimed_at(target: Target, found: Detections, least_iou: float) -> Detections:
    of_class = found.of(target.label)
    return of_class if target.box is None else _at(of_class, target.box, least_iou)


def _others(target: Target, clean: Detections) -> tuple[tuple[int, Box], ...]:
    """Clean detections that the goal is not about."""
    keep = torch.ones(len(clean), dtype=torch.bool, device=clean.boxes.device)
    if target.kind == "inject":
        keep &= iou_matrix(clean.boxes, _tensor(target.box, clean.boxes))[:, 0] < MATCH_IOU
    elif target.box is None:
        keep &= clean.labels != target.label if target.label is not None else False
    else:
        near = iou_matrix(clean.boxes, _tensor(target.box, clean.boxes))[:, 0] >= SUPPRESS_IOU
        keep &= ~(near & ((clean.labels == target.label) if target.label is not None else True))
    return tuple(zip(clean.labels[keep].tolist(), _tuples(clean.boxes[keep]), strict=True))


def _locate(goal: Goal, scene: Scene) -> Box | None:
    if not isinstance(goal.place, str):
        check_place(goal, scene.width, scene.height)
        return goal.place
    if goal.place == "center":
        w, h = scene.width, scene.height
        return (w * 3 / 8, h * 3 / 8, w * 5 / 8, h * 5 / 8)
    if goal.place == "random":
        return _random_box(scene)
    if scene.road is None:
        raise InputError(f"goal '{goal}': no free road is known here (rendered scenes only, and not all)")
    return scene.road


def _random_box(scene: Scene) -> Box:
    """A box of 1/8 to 1/2 of the sides, away from every clean detection, drawn by the scene's seed."""
    rng = np.random.default_rng(scene.seed)
    for _ in range(RANDOM_TRIALS):
        w, h = rng.uniform(1 / 8, 1 / 2, 2) * (scene.width, scene.height)
        x, y = rng.uniform(0, 1, 2) * (scene.width - w, scene.height - h)
        box = (float(x), float(y), float(x + w), float(y + h))
        boxes = scene.clean.boxes
        if not len(boxes) or float(iou_matrix(boxes, _tensor(box, boxes)).max()) < RANDOM_IOU:
            return box
    raise InputError(f"no random box with IoU < {RANDOM_IOU} with every detection was found")


def _at(found: Detections, box: Box | None, least_iou: float) -> Detections:
    keep = iou_matrix(found.boxes, _tensor(box, found.boxes))[:, 0] >= least_iou
    return Detections(found.boxes[keep], found.scores[keep], found.labels[keep])


def _matches(found: Detections, box: Box | None, least_iou: float) -> bool:
    return len(_at(found, box, least_iou)) > 0


def _top(found: Detections) -> float:
    return float(found.scores.max()) if len(found) else 0.0


def _tensor(box: Box | None, like: Tensor) -> Tensor:
    return torch.tensor([box], dtype=torch.float32, device=like.device)


def _tuples(boxes: Tensor) -> tuple[Box, ...]:
    return tuple(to_box(row) for row in boxes.tolist())
