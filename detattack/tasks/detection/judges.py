"""A goal before several detectors, those of `--through-models` or draws of a random defense: it has to hold for all."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from detattack.core.categories import find_name
from detattack.core.errors import InputError
from detattack.core.precision import Precision
from detattack.core.types import WHOLLY_WRONG, Category, Detections, Evaluation
from detattack.detectors.base import Detector
from detattack.detectors.defended import Defended
from detattack.detectors.fast import AcceleratedDetector
from detattack.detectors.several import descended_of, judges_of
from detattack.tasks.detection.config import DetectionConfig
from detattack.tasks.detection.goals import Goal, Target, first_labels_of
from detattack.tasks.detection.inference import detected
from detattack.tasks.detection.objective import DetectionObjective


def accelerated(model: Detector, precision: Precision) -> Detector:
    """Return a detector as the attack loop sees it; of a defended one the detector behind the defense is copied."""
    if isinstance(model, Defended):
        return Defended(accelerated(model.detector, precision), model.defense, model.draw, model.draws)
    return AcceleratedDetector(model, precision)


def target_for(target: Target, known: tuple[Category, ...], judge: Detector) -> Target:
    """Translate a target from the classes `known` to those of another detector, by name; places stay where they are.

    Objects of classes that the other lacks are left out, and what must stay is a matter of the first detector alone.
    Raises `InputError` where the other lacks a class that the goal names.
    """
    if judge.categories == known:
        return target
    names = [category.name for category in judge.categories]
    annotated = [find_name(known[label].name, names) for label in target.annotated_labels]
    pairs = [
        (box, label)
        for box, theirs in zip(target.objects, target.object_labels, strict=True)
        if (label := find_name(known[theirs].name, names)) is not None
    ]
    return replace(
        target,
        labels=target.goal.labels(judge.categories),
        objects=tuple(box for box, _ in pairs) if target.object_labels else target.objects,
        object_labels=tuple(label for _, label in pairs),
        kept=(),
        first_labels=first_labels_of(judge.categories),
        annotated_labels=tuple(label for label in annotated if label is not None),
    )


def check_classes(goal: Goal, model: Detector) -> None:
    """Raise `InputError` where a detector lacks a class of the goal; of several, it is named."""
    judges = judges_of(model)
    for judge in judges:
        try:
            goal.check(judge.categories)
        except InputError as error:
            raise InputError(f"model {judge.name}: {error}" if len(judges) > 1 else str(error)) from None


def holds_for_all(model: Detector, config: DetectionConfig, target: Target, image: Tensor, found: Detections) -> bool:
    """Tell whether the goal holds for `[3,H,W]` before every judge.

    found: what the first detects there, at any score.
    """
    first, *others = judges_of(model)
    return target.holds(found.above(config.score_threshold)) and all(
        target_for(target, first.categories, judge).holds(detected(judge, config, image).above(config.score_threshold))
        for judge in others
    )


class JointObjective:
    """The objective of a batch before several detectors.

    The loss is the mean of theirs, each divided by what it was on an image's first evaluation, so that none drowns the
    others; the harm is the mean of theirs, and a success is one that each proposes and confirms.

    - parts: the objectives whose losses are descended, one a detector
    - witnesses: further ones, which confirm a success alone
    - detector: that of the first part
    - checks: the passes of a confirmation, at most
    - members: the losses that `ensemble` takes one by one; reserve: those of them that wait
    """

    def __init__(self, parts: Sequence[DetectionObjective], witnesses: Sequence[DetectionObjective] = ()) -> None:
        self.parts, self.witnesses = tuple(parts), tuple(witnesses)
        self.members, self.reserve = parts[0].members, parts[0].reserve
        self.checks = len(self.parts) + len(self.witnesses)
        self.detector = parts[0].detector
        self._first: dict[tuple[int, int | None], Tensor] = {}

    def __call__(self, images: Tensor, index: Tensor, members: Sequence[int] | None = None) -> Evaluation:
        """Evaluate images `[n,3,H,W]`, row i with the target `index[i]`; members: as of `DetectionObjective`."""
        found = [part(images, index, members) for part in self.parts]
        losses = torch.stack([one.loss for one in found])
        harms = [one.harm for one in found if one.harm is not None]
        rises = self.parts[0].targets[0].goal.rises
        confidence = torch.stack([one.confidence for one in found])
        return Evaluation(
            loss=(losses / self._scales(losses.detach(), index, members)).mean(0),
            success=torch.stack([one.success for one in found]).all(0),
            confidence=confidence.amin(0) if rises else confidence.amax(0),
            agrees=lambda i: all(one.agrees(i) for one in found),
            harm=(lambda: mean_harm(torch.stack([harm() for harm in harms]))) if harms else None,
            passes=sum(one.passes for one in found),
            margin=greatest([one.margin for one in found]),
        )

    def _scales(self, losses: Tensor, index: Tensor, members: Sequence[int] | None) -> Tensor:
        """Return what the losses `[parts,n]` are divided by: how large each was first, relative to the first part's."""
        rows = []
        for i, row in enumerate(index.tolist()):
            key = row, None if members is None else members[i]
            sizes = self._first.setdefault(key, losses[:, i].abs().clamp_min(1.0))
            rows.append(sizes / sizes[0])
        return torch.stack(rows, 1)

    def confirm(self, image: Tensor, index: int) -> bool:
        """Whether the goal holds for `[3,H,W]` by the official inference of each."""
        return all(self.confirmations(image, index))

    def confirmations(self, image: Tensor, index: int) -> Iterator[bool]:
        """Yield what each detector says of `[3,H,W]`."""
        return (part.confirm(image, index) for part in (*self.parts, *self.witnesses))

    def answer(self, image: Tensor, index: int) -> tuple[float, bool]:
        """Tell the harm, and whether the goal holds for each, by the official inference alone: no gradient."""
        harms, holds = zip(*(part.answer(image, index) for part in (*self.parts, *self.witnesses)), strict=True)
        return float(mean_harm(torch.tensor(harms, dtype=torch.float64))), all(holds)


def greatest(margins: Sequence[Tensor | None]) -> Tensor | None:
    """Return the margin of what is farthest from its goal, `[n]`; None where one is not told."""
    told = [margin for margin in margins if margin is not None]
    return torch.stack(told).amax(0) if len(told) == len(margins) else None


def mean_harm(harms: Tensor) -> Tensor:
    """Return the mean over the first axis, in which what is wholly wrong counts 0, unless all are."""
    wrong = harms >= WHOLLY_WRONG
    return torch.where(wrong.all(0), harms, harms.masked_fill(wrong, 0.0)).mean(0)


def objective_for(
    model: Detector, config: DetectionConfig, targets: Sequence[Target]
) -> DetectionObjective | JointObjective:
    """Make the objective of a batch, a target an image, before all judges of a model."""
    judges, descended = judges_of(model), descended_of(model)

    def part(judge: Detector) -> DetectionObjective:
        return _part(judge, config, [target_for(one, judges[0].categories, judge) for one in targets])

    if len(judges) == 1:
        return part(judges[0])
    parts = [(part(judge), any(judge is one for one in descended)) for judge in judges]
    return JointObjective([one for one, falls in parts if falls], [one for one, falls in parts if not falls])


def _part(judge: Detector, config: DetectionConfig, targets: Sequence[Target]) -> DetectionObjective:
    stop = config.attack.stop
    seen = judge if config.attack.step == "square" else accelerated(judge, config.precision)
    return DetectionObjective(
        seen, list(targets), config.score_threshold, stop == "budget", stop == "worst", config.loss
    )
