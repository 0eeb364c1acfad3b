"""Whether an adapter keeps the contract: `detattack models check`. Works on any detector, trained or not.

Each property is checked on its own and gets a verdict, so that what is wrong is called by its name. Pictures are
rendered scenes and colored noise, square and not, of sizes that 32 does not divide; parity can be had on photos.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detattack.boxes import iou_matrix
from detattack.detectors.agreement import Agreement, agreement, differences
from detattack.detectors.base import Detector
from detattack.detectors.names import COCO_IDS, coco_id
from detattack.detectors.random_weights import noise
from detattack.detectors.registry import fingerprint
from detattack.types import Candidates, Category, Detections

SIZES = ((213, 317), (256, 256), (320, 180))
"""Height and width of the pictures."""
ENOUGH = 20
"""Detections that an image must have to count as compared."""
THRESHOLDS = (0.05, 0.01, 1e-3, 1e-4, 0.0)
"""Tried one after the other, below the detector's own, until an image has enough detections."""
EXACT = (0.01, 1e-5)
"""Pixels and score by which `select` may differ from `detect`, and an image among others from one among its copies."""
ALONE, ALONE_SHARE = (1.0, 0.01), 0.9
"""The same for an image in a batch against the image alone, and the share of its detections that must agree: there
sums run in another order, which moves an untrained network's boxes by tenths of a pixel and tips comparisons between
two that nearly tie; a fault moves them all."""
SLOPE_ERROR = 0.1
"""Relative difference between the gradient and a finite difference along it."""
LEAST_SLOPE = 0.5
"""The finite difference over the gradient, at least, where the candidates' own places move with the image: models
with a first stage (Faster R-CNN, RT-DETR) let that pass without a gradient, so the slope may well be steeper."""
STEPS = (1e-2, 3e-2, 3e-3, 1e-1, 1e-3, 1e-4)
"""Lengths of the finite differences, in the L2 of the image, tried until one agrees: long ones meet kinks, short
ones the last bit of a float."""
MATCH_IOU, SURE = 0.5, 0.3
"""A detection lies on an annotated object from this IoU on, and counts above this score."""


@dataclass(frozen=True)
class Finding:
    """What is checked, `passed`, `failed` or `not compared`, and the figures behind it."""

    name: str
    verdict: str
    detail: str

    @property
    def passed(self) -> bool:
        return self.verdict == "passed"


class _Failed(Exception):
    """A property that does not hold."""

    verdict = "failed"


class _NotCompared(_Failed):
    """Too little to judge by."""

    verdict = "not compared"


def check_detector(
    detector: Detector,
    count: int = 6,
    images: Sequence[Tensor] = (),
    truth: Sequence[Detections] = (),
) -> Iterator[Finding]:
    """The findings on a detector, one by one. It is left as it was found, or `left untouched` says so.

    count: pictures to make and compare on. images: `[3,H,W]` each, to compare `select` and `detect` on instead.
    truth: of each of these, the true boxes and labels, which tell whether categories have their right names; without
    them that is not checked.
    """
    before = _state(detector)
    subject = _Subject(detector, check_pictures(len(SIZES) if images else count, detector.device))
    compared = _Subject(detector, [image[None].to(detector.device) for image in images]) if images else subject
    checks: list[tuple[str, Callable[[], str]]] = [
        ("contract", lambda: _contract(subject)),
        ("sizes", lambda: _sizes(subject)),
        ("parity", lambda: _parity(compared)),
        ("gradient", lambda: _gradient(detector, between_levels(subject.pictures[0]))),
        ("id mapping", lambda: _id_mapping(compared)),
        ("determinism", lambda: _determinism(subject)),
        ("batch", lambda: _batch(subject)),
    ]
    if truth:
        checks.append(("names", lambda: _names(compared, truth)))
    for name, check in checks:
        yield _finding(name, check)
    yield _finding("left untouched", lambda: _untouched(detector, before))


@dataclass(frozen=True, eq=False)
class _Pair:
    """What `select` and `detect` find in an image above a threshold that lets enough through."""

    selected: Detections
    detected: Detections
    threshold: float


@dataclass(frozen=True, eq=False)
class _Subject:
    """A detector and the pictures that it is judged by, each looked at once."""

    detector: Detector
    pictures: list[Tensor]
    _seen: dict[int, _Pair] = field(default_factory=dict)

    def pairs(self) -> Iterator[_Pair]:
        """In the order of the pictures."""
        return map(self.pair, range(len(self.pictures)))

    def pair(self, number: int) -> _Pair:
        """Of one picture."""
        if number not in self._seen:
            self._seen[number] = _pair(self.detector, self.pictures[number])
        return self._seen[number]


@torch.no_grad()
def _pair(detector: Detector, image: Tensor) -> _Pair:
    candidates, floor = detector.candidates(image), detector.eval_threshold
    for threshold in (floor, *(t for t in THRESHOLDS if t < floor)):
        selected = detector.select(candidates, threshold)[0]
        if len(selected) >= ENOUGH:
            break
    return _Pair(selected, detector.detect(image, threshold)[0], threshold)


def check_pictures(count: int, device: torch.device) -> list[Tensor]:
    """`[1,3,H,W]`, 8-bit values: crops of rendered scenes, and noise smooth at several scales, in turn."""
    return [_picture(number).to(device) for number in range(count)]


def between_levels(image: Tensor) -> Tensor:
    """The image with values that no 8-bit file holds: an adapter may resize those in another way."""
    return image * 0.99 + 0.3 / 255


def _picture(number: int) -> Tensor:
    from detattack.scenes import render, scene_seed

    height, width = SIZES[number % len(SIZES)]
    if number % 2 == 0:
        pixels = torch.from_numpy(render(scene_seed(0, number + 1)).image).permute(2, 0, 1)[None]
        y, x = (pixels.shape[-2] - height) // 2, (pixels.shape[-1] - width) // 2
        return pixels[..., y : y + height, x : x + width].float() / 255
    return (F.interpolate(noise(1, 64, number), (height, width), mode="bilinear") * 255).round() / 255


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "passed", check())
    except _Failed as failure:
        return Finding(name, failure.verdict, str(failure))
    except Exception as error:  # whatever a third party's adapter raises
        return Finding(name, "failed", f"raises {type(error).__name__}: {_first_line(error)}")


# The properties


def _contract(subject: _Subject) -> str:
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
    pair = subject.pair(0)
    _check_detections("select", pair.selected, classes, pair.threshold)
    _check_detections("detect", pair.detected, classes, pair.threshold)
    return f"{a} candidates of {classes} classes"


def _check_detections(who: str, found: Detections, classes: int, threshold: float) -> None:
    m = len(found)
    _demand(found.boxes.shape == (m, 4) and found.boxes.dtype == torch.float32, who, "boxes f32 [M,4]", found.boxes)
    _demand(found.scores.shape == (m,) and found.scores.dtype == torch.float32, who, "scores f32 [M]", found.scores)
    _demand(found.labels.shape == (m,) and found.labels.dtype == torch.int64, who, "labels i64 [M]", found.labels)
    if not m:
        return
    if not bool(((found.scores > threshold) & (found.scores <= 1)).all()):
        raise _Failed(f"{who}: a score is not in ({threshold}, 1]")
    if not bool(((found.labels >= 0) & (found.labels < classes)).all()):
        raise _Failed(f"{who}: a label is not an index into the {classes} categories")
    if not found.boxes.isfinite().all():
        raise _Failed(f"{who}: a box is not finite")
    if bool((found.boxes[:, 2:] < found.boxes[:, :2]).any()):
        raise _Failed(f"{who}: a box is not x1,y1,x2,y2, since x2 < x1 or y2 < y1")


def _sizes(subject: _Subject) -> str:
    done: list[str] = []
    for number in range(min(len(SIZES), len(subject.pictures))):
        height, width = subject.pictures[number].shape[-2:]
        try:
            subject.pair(number)
        except Exception as error:
            works = ", ".join(done) or "no size before"
            raise _Failed(f"fails at {width}×{height} ({_first_line(error)}); works at {works}") from error
        done.append(f"{width}×{height}")
    return ", ".join(done)


def _parity(subject: _Subject) -> str:
    between = _pair(subject.detector, between_levels(subject.pictures[0]))
    agreements = [
        agreement(pair.selected, pair.detected, EXACT, pair.threshold) for pair in (*subject.pairs(), between)
    ]
    total = sum(agreements, Agreement())
    if total.agreeing < total.compared:
        raise _Failed(f"{total.compared - total.agreeing} of {total.compared} detections differ: {total.example}")
    fewest = min(one.compared for one in agreements)
    if fewest < ENOUGH:
        raise _NotCompared(f"an image has {fewest} detections at any threshold, {ENOUGH} are needed")
    images = f"{len(subject.pictures)} images and one that is not 8-bit"
    return f"{total.compared} detections on {images}, at least {fewest} each; {total.differences()}"


def _gradient(detector: Detector, image: Tensor) -> str:
    seen = image.clone().requires_grad_()
    loss = _soft_best(detector.candidates(seen), seen)
    if not loss.requires_grad:
        raise _Failed("none: the candidates do not depend on the image in a way that can be differentiated")
    (gradient,) = torch.autograd.grad(loss, seen, allow_unused=True)
    if gradient is None:
        raise _Failed("none: the candidates do not depend on the image in a way that can be differentiated")
    norm = float(gradient.norm())
    if not gradient.isfinite().all():
        raise _Failed("not finite")
    if norm == 0:
        raise _Failed("zero everywhere")
    errors = []
    for step in STEPS:
        slope, moving = _slope(detector, image, gradient / gradient.norm(), step)
        if moving and slope >= LEAST_SLOPE * norm:
            return f"norm {norm:.2g}; a finite difference is {slope / norm:.2g} times that, with places that move too"
        errors.append(abs(slope - norm) / norm)
        if errors[-1] <= SLOPE_ERROR:
            return f"norm {norm:.2g}; {errors[-1]:.1%} from a finite difference of length {step:g}"
    raise _Failed(f"norm {norm:.2g}; off by {min(errors):.0%} from a finite difference along it, at best")


@torch.no_grad()
def _slope(detector: Detector, image: Tensor, direction: Tensor, step: float) -> tuple[float, bool]:
    """Finite difference of the loss along a direction, and whether the candidates' places moved."""
    ahead, behind = (detector.candidates(image + sign * step / 2 * direction) for sign in (1, -1))
    slope = float(_soft_best(ahead, image) - _soft_best(behind, image)) / step
    if ahead.anchors is None or behind.anchors is None:
        return slope, False
    return slope, not torch.equal(ahead.anchors, behind.anchors)


def _soft_best(candidates: Candidates, image: Tensor) -> Tensor:
    """A smooth stand-in for the best candidate, its score and its box, that does not depend on their order."""
    logits = candidates.logits.double()
    boxes = candidates.boxes if candidates.boxes.dim() == 4 else candidates.boxes[:, :, None]
    if candidates.valid is not None:
        logits = logits.masked_fill(~candidates.valid[..., None], -torch.inf)
    logits = logits.flatten(1)
    places = (boxes.double() / max(image.shape[-2:])).mean(-1).expand(*candidates.logits.shape).flatten(1)
    return (logits.logsumexp(1) + (logits.softmax(1) * places).sum(1)).sum()


def _id_mapping(subject: _Subject) -> str:
    detector = subject.detector
    categories = detector.categories
    if not all(isinstance(c, Category) for c in categories):
        raise _Failed("categories are not all detattack.types.Category")
    for values in ([c.name for c in categories], [str(c.coco_id) for c in categories]):
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise _Failed(f"{twice[0]!r} stands for two categories")
    if {coco_id(c.name) for c in categories} == set(COCO_IDS.values()):
        wrong = [c for c in categories if c.coco_id != coco_id(c.name)]
        if wrong:
            right = coco_id(wrong[0].name)
            raise _Failed(f"{wrong[0].name!r} has id {wrong[0].coco_id}, COCO's is {right}")
    compared = 0
    for pair in subject.pairs():
        ours, official = pair.selected, pair.detected
        pixels, score = differences(ours, official)
        pairs = (pixels <= EXACT[0]) & (score <= EXACT[1])
        astray = pairs.any(0) & ~(pairs & (ours.labels[:, None] == official.labels[None])).any(0)
        compared += int(pairs.any(0).sum())
        if astray.any():
            column = int(astray.nonzero()[0])
            row = int(pairs[:, column].nonzero()[0])
            names = [categories[int(found.labels[i])].name for found, i in ((ours, row), (official, column))]
            raise _Failed(f"the same detection is {names[0]!r} for select and {names[1]!r} for detect")
    return f"{len(categories)} categories; {compared} detections have one label for select and detect"


@torch.no_grad()
def _determinism(subject: _Subject) -> str:
    image, pair = subject.pictures[0], subject.pair(0)
    first, second = (subject.detector.candidates(image) for _ in range(2))
    if not (torch.equal(first.logits, second.logits) and torch.equal(first.boxes, second.boxes)):
        raise _Failed("candidates differ when the same image comes again")
    again = subject.detector.detect(image, pair.threshold)[0]
    if not (torch.equal(again.scores, pair.detected.scores) and torch.equal(again.boxes, pair.detected.boxes)):
        raise _Failed("detect differs when the same image comes again")
    return "the same bits twice"


@torch.no_grad()
def _batch(subject: _Subject) -> str:
    """A picture between its negative and its mirror image: the same as between copies of itself, where all sums have
    the same order, and nearly the same as alone."""
    detector, image, alone = subject.detector, subject.pictures[0], subject.pair(0)
    among_others, among_copies = torch.cat([1 - image, image, image.flip(-1)]), torch.cat([image] * 3)

    def select(images: Tensor) -> list[Detections]:
        return detector.select(detector.candidates(images), alone.threshold)

    def detect(images: Tensor) -> list[Detections]:
        return detector.detect(images, alone.threshold)

    exact, near = Agreement(), Agreement()
    for find, single in ((select, alone.selected), (detect, alone.detected)):
        found, of_copies = find(among_others), find(among_copies)
        if not len(found) == len(of_copies) == len(among_others):
            raise _Failed(f"{len(found)} results of {find.__name__} for {len(among_others)} images")
        exact += agreement(found[1], of_copies[1], EXACT, alone.threshold)
        near += agreement(found[1], single, ALONE, alone.threshold)
    if exact.agreeing < exact.compared:
        raise _Failed(f"an image depends on its neighbors in a batch of 3: {exact.example}")
    if near.agreeing < ALONE_SHARE * near.compared:
        raise _Failed(f"an image in a batch of 3 is not what it is alone: {near.example}")
    if exact.compared < 2 * ENOUGH:
        raise _NotCompared(f"{exact.compared} detections by select and detect, {2 * ENOUGH} are needed")
    return f"{exact.compared} detections, {exact.differences()}; from alone {near.differences()}"


def _names(subject: _Subject, truth: Sequence[Detections]) -> str:
    """Detections at the place of an annotated object mostly have its class."""
    compared = agreeing = 0
    for image, objects in zip(subject.pictures, truth, strict=True):
        found = subject.detector.detect(image, SURE)[0].cpu()
        if not len(found) or not len(objects):
            continue
        best, which = iou_matrix(found.boxes, objects.boxes).max(1)
        there = best >= MATCH_IOU
        compared += int(there.sum())
        agreeing += int((found.labels[there] == objects.labels[which[there]]).sum())
    if compared < ENOUGH:
        raise _NotCompared(f"{compared} detections lie on annotated objects, {ENOUGH} are needed")
    if agreeing < compared / 2:
        raise _Failed(f"of {compared} detections on annotated objects, {agreeing} have the object's class")
    return f"of {compared} detections on annotated objects, {agreeing} have the object's class"


def _untouched(detector: Detector, before: dict[str, Any]) -> str:
    after = _state(detector)
    for what, value in before.items():
        if after[what] != value:
            raise _Failed(f"{what} changed")
    if after["gradients of parameters"]:
        raise _Failed("parameters have gradients; freeze them with requires_grad_(False)")
    return "weights, training flags, no gradients of parameters"


# What they share


def _state(detector: Detector) -> dict[str, Any]:
    modules = [v for v in (detector, *vars(detector).values()) if isinstance(v, nn.Module)]
    flags = [child.training for module in modules for child in module.modules()]
    grown = any(p.grad is not None or p.requires_grad for module in modules for p in module.parameters())
    return {"weights": fingerprint(detector), "training flags": flags, "gradients of parameters": grown}


def _demand(holds: bool, what: str, expected: str, got: Tensor) -> None:
    if not holds:
        raise _Failed(f"{what}: expected {expected}, got {got.dtype} {list(got.shape)}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
