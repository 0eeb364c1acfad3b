"""Checks of what the contract states: shapes, dtypes, ranges, image sizes, categories, a model left untouched."""

from typing import Any

import torch
from torch import Tensor, nn

from detattack.core.categories import COCO_IDS, coco_id
from detattack.core.errors import reason
from detattack.core.types import Category, Detections
from detattack.core.wording import counted
from detattack.detectors.base import Detector
from detattack.detectors.check.findings import Failed
from detattack.detectors.check.inference import EXACT
from detattack.detectors.check.matching import differences
from detattack.detectors.check.pictures import SIZES
from detattack.detectors.check.subject import Subject
from detattack.detectors.registry import fingerprint


def check_contract(subject: Subject) -> str:
    """Check shapes, dtypes and ranges of candidates and detections. Raises `Failed`."""
    detector, image = subject.detector, subject.pictures[0]
    candidates = detector.candidates(image)
    classes = len(detector.categories)
    n, a = candidates.logits.shape[:2] if candidates.logits.dim() == 3 else (0, 0)
    shape = list(candidates.boxes.shape)
    _demand(n == 1 and candidates.logits.shape[2] == classes, "logits", "[N,A,K]", candidates.logits)
    _demand(shape in ([n, a, 4], [n, a, classes, 4]), "boxes", "[N,A,4] or [N,A,K,4]", candidates.boxes)
    if candidates.valid is not None:
        right = candidates.valid.shape == (n, a) and candidates.valid.dtype == torch.bool
        _demand(right, "valid", "bool [N,A]", candidates.valid)
    if candidates.anchors is not None:
        _demand(candidates.anchors.shape == (n, a, 4), "anchors", "[N,A,4]", candidates.anchors)
    _demand(candidates.logits.dtype == image.dtype, "logits", f"{image.dtype}, as the image", candidates.logits)
    result = subject.result(0)
    _check_detections("select", result.selected, classes, result.threshold)
    _check_detections("detect", result.detected, classes, result.threshold)
    return f"{counted(a, 'candidate')} of {counted(classes, 'class')}"


def _check_detections(who: str, found: Detections, classes: int, threshold: float) -> None:
    m = len(found)
    _demand(found.boxes.shape == (m, 4) and found.boxes.dtype == torch.float32, who, "boxes f32 [M,4]", found.boxes)
    _demand(found.scores.shape == (m,) and found.scores.dtype == torch.float32, who, "scores f32 [M]", found.scores)
    _demand(found.labels.shape == (m,) and found.labels.dtype == torch.int64, who, "labels i64 [M]", found.labels)
    if not m:
        return
    if not bool(((found.scores > threshold) & (found.scores <= 1)).all()):
        raise Failed(f"{who}: a score is not in ({threshold}, 1]")
    if not bool(((found.labels >= 0) & (found.labels < classes)).all()):
        raise Failed(f"{who}: a label is not an index into the {counted(classes, 'category')}")
    if not found.boxes.isfinite().all():
        raise Failed(f"{who}: a box is not finite")
    if bool((found.boxes[:, 2:] < found.boxes[:, :2]).any()):
        raise Failed(f"{who}: a box is not x1,y1,x2,y2, since x2 < x1 or y2 < y1")


def check_sizes(subject: Subject) -> str:
    """Check that the detector runs on pictures of all sizes. Raises `Failed`."""
    done: list[str] = []
    for number in range(min(len(SIZES), len(subject.pictures))):
        height, width = subject.pictures[number].shape[-2:]
        try:
            subject.result(number)
        except Exception as error:
            works = ", ".join(done) or "no size before"
            raise Failed(f"fails at {width}×{height} ({reason(error)}); works at {works}") from error
        done.append(f"{width}×{height}")
    return ", ".join(done)


def check_category_ids(subject: Subject) -> str:
    """Check names and ids of the categories, and that `select` and `detect` label a detection alike. Raises `Failed`.

    Names and ids must be unique, and COCO's ids where all names are COCO's.
    """
    categories = subject.detector.categories
    _check_categories(categories)
    compared = 0
    for result in subject.results():
        ours, official = result.selected, result.detected
        pixels, score = differences(ours, official)
        close = (pixels <= EXACT[0]) & (score <= EXACT[1])
        relabeled = close.any(0) & ~(close & (ours.labels[:, None] == official.labels[None])).any(0)
        compared += int(close.any(0).sum())
        if relabeled.any():
            column = int(relabeled.nonzero()[0])
            row = int(close[:, column].nonzero()[0])
            names = [categories[int(found.labels[i])].name for found, i in ((ours, row), (official, column))]
            raise Failed(f"the same detection is {names[0]!r} for select and {names[1]!r} for detect")
    alike = counted(compared, "detection has", "detections have")
    return f"{counted(len(categories), 'category')}; {alike} one label for select and detect"


def _check_categories(categories: tuple[Category, ...]) -> None:
    if not all(isinstance(c, Category) for c in categories):
        raise Failed("categories are not all detattack.types.Category")
    for values in ([c.name for c in categories], [str(c.coco_id) for c in categories]):
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise Failed(f"{twice[0]!r} stands for two categories")
    if {coco_id(c.name) for c in categories} == set(COCO_IDS.values()):
        wrong = [c for c in categories if c.coco_id != coco_id(c.name)]
        if wrong:
            right = coco_id(wrong[0].name)
            raise Failed(f"{wrong[0].name!r} has id {wrong[0].coco_id}, COCO's is {right}")


def check_untouched(detector: Detector, before: dict[str, Any]) -> str:
    """Check that a detector is still in the state `before`, which `state_of` gave. Raises `Failed`."""
    after = state_of(detector)
    for what, value in before.items():
        if after[what] != value:
            raise Failed(f"{what} changed")
    if after["gradients of parameters"]:
        raise Failed("parameters have gradients; freeze them with requires_grad_(False)")
    return "weights, training flags, no gradients of parameters"


def state_of(detector: Detector) -> dict[str, Any]:
    """Return what a check must leave as it is: a hash of the weights, training flags, gradients of parameters."""
    modules = [v for v in (detector, *_attributes(detector)) if isinstance(v, nn.Module)]
    flags = [child.training for module in modules for child in module.modules()]
    grown = any(p.grad is not None or p.requires_grad for module in modules for p in module.parameters())
    return {"weights": fingerprint(detector), "training flags": flags, "gradients of parameters": grown}


def _attributes(detector: object) -> list[Any]:
    """Return the values of an object's attributes, be they in `__dict__` or in `__slots__`."""
    state = object.__getstate__(detector)
    parts = state if isinstance(state, tuple) else (state,)
    return [value for part in parts if part for value in part.values()]


def _demand(holds: bool, what: str, expected: str, got: Tensor) -> None:
    if not holds:
        raise Failed(f"{what}: expected {expected}, got {got.dtype} {list(got.shape)}")
