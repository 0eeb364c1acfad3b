"""What every goal is: its text, its meaning for one image, the predicate, the loss, and what reports ask of it.

An own goal is a frozen dataclass derived from `Goal` and registered by `@register_goal`: `parse`, `__str__`, `classes`
and `holds` say what it is, `losses` what leads there; all else has a default that is right for most.
"""

import functools
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

import torch
from torch import Tensor

from detattack.core.boxes import Box
from detattack.core.categories import find_name
from detattack.core.errors import InputError, unknown
from detattack.core.registry import Registry
from detattack.core.types import Category, Detections, Evaluation
from detattack.tasks.detection.candidates import ImageCandidates, columns
from detattack.tasks.detection.goals.text import check_inside
from detattack.tasks.detection.losses import LOSSES, keep
from detattack.tasks.detection.matching import SUPPRESS_IOU, as_boxes, at, matched, top_score

if TYPE_CHECKING:
    from detattack.datasets.rendered import SceneFacts


@dataclass(frozen=True)
class CleanImage:
    """What resolving a goal needs to know of one image.

    - width, height: in pixels
    - clean: its detections above τ, untouched
    - seed: of everything random about the goal
    - road: the box where the renderer says that the road is free; None: not known
    - annotated: the annotated objects, their scores 1; None: not known, or not to be looked at
    - annotated_labels: of the classes that the annotations have; empty: all
    """

    width: int
    height: int
    clean: Detections
    seed: tuple[int, ...] = (0,)
    road: Box | None = None
    annotated: Detections | None = None
    annotated_labels: tuple[int, ...] = ()

    @property
    def objects(self) -> Detections:
        """The reference objects: the annotated ones, or what is detected untouched."""
        return self.clean if self.annotated is None else self.annotated


@dataclass(frozen=True)
class Target:
    """A goal resolved for one image: all that a record needs to keep of it, so that it can be judged again.

    - labels: of the classes that the goal names, the first of each name, as indices into the detector's categories;
      empty: all classes
    - box: where; None: anywhere
    - objects, object_labels: the boxes of the reference objects that the goal is about, and their classes
    - kept: clean detections that must stay, as (label, box) (`keep_others`), whatever the goal
    - first_labels: for each label the first one of the same name; empty: all names differ
    - annotated_labels: of the classes that the annotations have, in the attack alone; empty: all
    """

    goal: "Goal"
    labels: tuple[int, ...] = ()
    box: Box | None = None
    objects: tuple[Box, ...] = ()
    kept: tuple[tuple[int, Box], ...] = ()
    object_labels: tuple[int, ...] = ()
    first_labels: tuple[int, ...] = ()
    annotated_labels: tuple[int, ...] = ()

    @property
    def counting(self) -> tuple[int, ...]:
        """The labels whose false detections cost average precision; empty: all.

        They are of the classes that the goal names, or of those that are annotated.
        """
        return self.named or self._all_named_as(self.annotated_labels)

    @property
    def label(self) -> int | None:
        """The first of the labels; None: all classes."""
        return self.labels[0] if self.labels else None

    @property
    def classes(self) -> tuple[tuple[int, ...], ...]:
        """For each class that the goal names, all labels of its name."""
        return tuple(map(self.labels_named_as, self.labels))

    @property
    def first_class(self) -> tuple[int, ...] | None:
        """The first of `classes`: what is there, where the goal names another that is to be; None: all classes."""
        return self.classes[0] if self.labels else None

    @property
    def named(self) -> tuple[int, ...] | None:
        """The labels of `classes`, as `Detections.of` takes them; None: all classes."""
        return self._all_named_as(self.labels) or None

    @property
    def places(self) -> tuple[tuple[Box, ...], tuple[int, ...]]:
        """Boxes and labels that an object is found by: each object once for every label of its name."""
        pairs = [
            (box, named)
            for box, label in zip(self.objects, self.object_labels, strict=True)
            for named in self.labels_named_as(label)
        ]
        return tuple(box for box, _ in pairs), tuple(label for _, label in pairs)

    def labels_named_as(self, label: int) -> tuple[int, ...]:
        """List the labels of the same name as a label, itself among them."""
        firsts = self.first_labels
        return tuple(one for one, first in enumerate(firsts) if first == firsts[label]) or (label,)

    def _all_named_as(self, labels: Sequence[int]) -> tuple[int, ...]:
        return tuple(one for label in labels for one in self.labels_named_as(label))

    def firsts(self, labels: Tensor) -> Tensor:
        """Replace labels by the first of the same name."""
        return torch.tensor(self.first_labels, device=labels.device)[labels] if self.first_labels else labels

    def holds(self, found: Detections) -> bool:
        """Tell whether the goal holds, given the detections above τ, and what must stay has stayed: the predicate."""
        stays = (matched(found, self.labels_named_as(label), box) for label, box in self.kept)
        return self.goal.holds(self, found) and all(stays)

    def loss(self, seen: ImageCandidates, losses: Sequence[str] = ()) -> Tensor:
        """Compute the goal's loss, and a hinge for each detection that must stay. Scalar.

        losses: names of registered losses instead of the goal's own.
        """
        loss = self.goal.loss(self, seen, losses)
        for label, box in self.kept:
            loss = loss + keep(seen, self.labels_named_as(label), box)
        return loss

    @property
    def needs_boxes(self) -> bool:
        """Whether the loss or the predicate looks at boxes."""
        return bool(self.kept) or self.goal.needs_boxes(self)


class Goal(ABC):
    """What an attack is after, for any image. Derived classes are frozen dataclasses.

    - kind: the name before the colon. form: how its text looks, for help and hints, e.g. `suppress:CLASS`
    - losses: names of registered losses, of which the goal's loss is the sum
    """

    kind: ClassVar[str]
    form: ClassVar[str]
    losses: ClassVar[tuple[str, ...]]
    of_objects: ClassVar[bool] = False
    """Whether it is about reference objects: annotated ones, or what is detected untouched."""
    members: ClassVar[tuple[str, ...]] = ()
    """The losses of `ensemble`; none: the goal's own."""
    reserve: ClassVar[tuple[str, ...]] = ()
    """Further ones, which come in after half of the passes."""
    rises: ClassVar[bool] = False
    """Whether `confidence` rises towards the goal, as where something new is to be seen."""

    @classmethod
    @abstractmethod
    def parse(cls, text: str) -> Self:
        """Parse the goal from what follows `KIND:`. Raises `InputError`; `parse_goal` says of which goal it speaks."""

    @abstractmethod
    def __str__(self) -> str:
        """Write the text that `parse_goal` reads back as an equal goal."""

    @abstractmethod
    def holds(self, target: Target, found: Detections) -> bool:
        """Tell whether the goal holds, given the detections above τ: the predicate."""

    def classes(self) -> tuple[str, ...]:
        """Name the classes that it speaks of, in the order of `Target.labels`; none: of all."""
        return ()

    # For one image

    def check(self, categories: tuple[Category, ...]) -> None:
        """Raise `InputError` where the goal names a class that the detector does not know, or one class twice."""
        labels = self.labels(categories)
        if len(labels) != len(set(labels)):
            raise InputError(f"goal '{self}': both classes are the same")

    def labels(self, categories: tuple[Category, ...]) -> tuple[int, ...]:
        """Look up the labels of `classes`. Raises `InputError`."""
        return tuple(label_of(name, categories) for name in self.classes())

    @property
    def box(self) -> Box | None:
        """The box that the text names, if it names one."""
        return None

    def check_size(self, width: int, height: int) -> None:
        """Raise `InputError` where the goal names a box that is not inside an image of that size."""
        if self.box:
            check_inside(self.box, width, height)

    def locate(self, image: CleanImage) -> Box | None:
        """Find the box that the goal is about; None: anywhere. Raises `InputError` where there is no such place."""
        self.check_size(image.width, image.height)
        return self.box

    def reference(self, target: Target, image: CleanImage) -> Detections | None:
        """Select the clean detections whose boxes are the target's `objects`; None: the goal has no use for them."""
        return None

    def resolve(self, categories: tuple[Category, ...], image: CleanImage, keep_others: bool = False) -> Target:
        """Resolve the goal for an image. Raises `InputError` for a box outside it or a place that is not there."""
        target = Target(
            self,
            self.labels(categories),
            self.locate(image),
            first_labels=first_labels_of(categories),
            annotated_labels=image.annotated_labels,
        )
        reference = self.reference(target, image)
        if reference is not None:
            labels = tuple(reference.labels.tolist()) if self.of_objects else ()
            target = replace(target, objects=as_boxes(reference.boxes), object_labels=labels)
        if keep_others:
            others = self.others(target, image.clean)
            boxes = as_boxes(image.clean.boxes[others])
            target = replace(target, kept=tuple(zip(image.clean.labels[others].tolist(), boxes, strict=True)))
        return target

    def initial_status(self, target: Target, clean: Detections) -> str | None:
        """`nothing` (nothing to attack), `already` (the goal holds untouched), or None: there is work to do."""
        return "already" if self.holds(target, clean) else None

    # Where there is nothing to attack

    def looked_at(self, target: Target, found: Detections) -> Detections:
        """Those of the detections, of any class, that are where the goal looks. Default: at the box, or everywhere."""
        return at(found, target.box, SUPPRESS_IOU)

    def already(self, score: float | None = None) -> str:
        """Say that the goal holds untouched. score: the confidence of the image that this is said of."""
        return "the goal holds untouched"

    def alternatives(self, seen: Sequence[str]) -> Iterator["Goal"]:
        """Goals of the same kind that would have work to do. seen: names of classes that are there."""
        return iter(())

    # What leads there

    def loss(self, target: Target, seen: ImageCandidates, losses: Sequence[str] = ()) -> Tensor:
        """Sum some registered losses, scalar; none named: the goal's `losses`."""
        return functools.reduce(operator.add, (LOSSES[name].function(seen, target) for name in losses or self.losses))

    def members_of(self, losses: Sequence[str]) -> tuple[str, ...]:
        """List the losses that `ensemble` takes one by one; losses: those that are asked for, if any."""
        return tuple(losses) or (*self.members, *self.reserve) or self.losses

    def check_losses(self, losses: Sequence[str]) -> None:
        """Raise `InputError` where a loss is not known, named twice, or about objects that the goal does not have."""
        for name in losses or self.losses:
            if losses.count(name) > 1:
                raise InputError(f"loss {name}: is named twice")
            if LOSSES.find(name).of_objects and not self.of_objects:
                raise InputError(f"loss {name}: is about the reference objects of degrade and flood; '{self}' has none")

    def margin(self, target: Target, seen: ImageCandidates) -> Tensor:
        """Return the logit, relative to τ, of the candidate that the goal is about; scalar.

        Default: the largest of the target's classes.
        """
        return seen.relative[:, columns(target.named)].max()

    def possible(self, target: Target, seen: ImageCandidates) -> Tensor:
        """Tell whether the detector's own `select` may find the goal reached, bool scalar.

        A cheap answer that is never False where it does.
        """
        return torch.ones((), dtype=torch.bool, device=seen.logits.device)

    def harm(self, target: Target, found: Detections) -> float | None:
        """Tell how wrong an output is, the larger the worse, from detections of any score; None: the loss tells."""
        return None

    def needs_boxes(self, target: Target) -> bool:
        """Tell whether the loss or the predicate looks at boxes.

        Where it does not, `of_logits` is asked instead, for detectors that can compute logits alone.
        """
        return True

    def of_logits(self, target: Target, logits: Tensor, score_threshold: float) -> Evaluation:
        """Loss, proposal and confidence of a batch from logits `[n,A,K]` alone."""
        raise NotImplementedError(f"{type(self).__name__} needs boxes")

    def asked_box(self, target: Target) -> Box | None:
        """Return a box that two-stage heads should score besides their own proposals."""
        return None

    # What is reported

    def confidence(self, target: Target, found: Detections) -> float:
        """Return the score that the goal is about, from detections down to the detector's floor; 0 where there is none.

        Default: the highest of the target's classes.
        """
        return top_score(found.of(target.named))

    def asked_iou(self, target: Target, found: Detections) -> float | None:
        """Return the best IoU with an asked box among the detections of its class; None where no box is asked for."""
        return None

    def aimed_at(self, target: Target, clean: Detections) -> Tensor:
        """Which clean detections the goal is about, bool `[M]`; the others ought to stay. Default: of its classes."""
        return clean.are_of(target.named)

    def places(self, target: Target, clean: Detections) -> tuple[Box, ...]:
        """Return the boxes of what it is about. Default: of its objects, or of the detections that it is aimed at."""
        return target.objects or as_boxes(clean.boxes[self.aimed_at(target, clean)])

    def others(self, target: Target, clean: Detections) -> Tensor:
        """Which clean detections `keep_others` holds in place, bool `[M]`."""
        return ~self.aimed_at(target, clean)

    def asked_for(self, target: Target, found: Detections) -> Tensor:
        """Which detections are what the goal asks for, and so no collateral damage where they are new; bool `[M]`."""
        return torch.zeros_like(found.labels, dtype=torch.bool)

    # Where it can be asked for

    @property
    def rendered_only(self) -> bool:
        """Whether the goal needs what is known of rendered scenes only."""
        return False

    def suits(self, scene: "SceneFacts") -> bool:
        """Whether a rendered scene is worth attacking with this goal."""
        return True


GOALS: Registry[type[Goal]] = Registry("goal")
"""Every class of goals by its kind."""
G = TypeVar("G", bound=type[Goal])


def register_goal(goal_type: G) -> G:
    """Make a goal known by its `kind`, as a class decorator. Raises `InputError` where that is taken."""
    GOALS.register(goal_type.kind, goal_type)
    return goal_type


def goal_forms() -> list[str]:
    """How the text of each goal looks."""
    return [goal_type.form for goal_type in GOALS.values()]


def parse_goal(text: str) -> Goal:
    """Parse a goal. Raises `InputError` for anything that is none."""
    kind, colon, rest = text.strip().partition(":") if isinstance(text, str) else ("", "", "")
    if not colon or not kind or not rest:
        *forms, last = goal_forms()
        raise InputError(f"goal {text!r}: not of the form {', '.join(forms)} or {last}")
    goal_type = GOALS.find(kind)
    try:
        return goal_type.parse(rest)
    except (InputError, ValueError) as error:
        raise InputError(f"goal {text!r}: {error}") from error


def first_labels_of(categories: tuple[Category, ...]) -> tuple[int, ...]:
    """List for each label the first one of the same name; none where all names differ."""
    names = [c.name for c in categories]
    return tuple(map(names.index, names)) if len(set(names)) < len(names) else ()


def labels_about(text: str, names: Sequence[str]) -> list[int]:
    """List the labels of the classes that the text of a goal names; none: it names none, or is of no goal known."""
    try:
        firsts = [find_name(name, names) for name in parse_goal(text).classes()]
    except InputError:
        return []
    spelled = [names[first] for first in firsts if first is not None]
    return [label for name in spelled for label, one in enumerate(names) if one == name]


def label_of(name: str, categories: tuple[Category, ...]) -> int:
    """Find the index of a class by its name, or by an alias of it. Raises `InputError` with the nearest names."""
    names = [c.name for c in categories]
    label = find_name(name, names)
    if label is None:
        raise unknown("class", name, names)
    return label
