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

from detattack.core.boxes import iou_matrix
from detattack.core.categories import COCO_IDS, coco_id
from detattack.core.types import Category, Detections
from detattack.detectors.agreement import Agreement, agreement, differences
from detattack.detectors.base import Detector
from detattack.detectors.check_candidates import (
    check_boxes,
    check_columns,
    check_shortcut,
    hidden_column,
    score_fault,
)
from detattack.detectors.check_gradient import check_gradient
from detattack.detectors.parts.random_weights import noise
from detattack.detectors.registry import fingerprint
from detattack.detectors.verdicts import Failed, Finding, NotCompared

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
FEW = 8
"""Detections on annotated objects that are enough to tell that their classes are wrong."""
LEAST_ON_OBJECTS = 0.25
"""Share of the detections of annotated classes that lie on an object, at least."""
MATCH_IOU, SURE = 0.5, 0.3
"""A detection lies on an annotated object from this IoU on, and counts above this score."""


def check_detector(
    detector: Detector,
    count: int = 6,
    images: Sequence[Tensor] = (),
    truth: Sequence[Detections] = (),
    seed: int = 0,
) -> Iterator[Finding]:
    """The findings on a detector, one by one. It is left as it was found, or `left untouched` says so.

    count: pictures to make and compare on. images: `[3,H,W]` each, to compare `select` and `detect` on instead.
    truth: of each of these, the true boxes and labels, which tell whether categories have their right names; without
    them that is not checked. seed: of the steps along which the gradient is followed.
    """
    before = _state(detector)
    subject = _Subject(detector, check_pictures(len(SIZES) if images else count, detector.device))
    compared = _Subject(detector, [image[None].to(detector.device) for image in images]) if images else subject
    files, floats = check_pictures(2, detector.device)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("contract", lambda: _contract(subject)),
        ("sizes", lambda: _sizes(subject)),
        ("parity", lambda: _parity(compared)),
        ("scores", lambda: _scores(compared)),
        ("columns", lambda: _columns(compared)),
        ("boxes", lambda: _boxes(compared, truth)),
        ("gradient", lambda: check_gradient(detector, files, floats, seed)),
        ("id mapping", lambda: _id_mapping(compared)),
        ("determinism", lambda: _determinism(subject)),
        ("batch", lambda: _batch(subject)),
    ]
    if callable(getattr(detector, "logits", None)):
        checks.append(("logits", lambda: check_shortcut(detector, subject.pictures[0])))
    if truth:
        checks.append(("names", lambda: _names(compared, truth)))
    for name, check in checks:
        yield _finding(name, check)
    yield _finding("left untouched", lambda: _untouched(detector, before))


@dataclass(frozen=True, eq=False)
class _Pair:
    """What `select` and `detect` find in an image above a threshold that lets enough through, and what is wrong with
    the candidates that they come from, if anything."""

    selected: Detections
    detected: Detections
    threshold: float
    score_fault: str
    column_fault: str


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
    detected = detector.detect(image, threshold)[0]
    wrong_score = score_fault(candidates, selected, "select") or score_fault(candidates, detected, "detect")
    hidden = "" if wrong_score else hidden_column(detector, candidates, selected, (image.shape[-2], image.shape[-1]))
    return _Pair(selected, detected, threshold, wrong_score, hidden)


def check_pictures(count: int, device: torch.device) -> list[Tensor]:
    """`[1,3,H,W]`, 8-bit values: crops of rendered scenes, and noise smooth at several scales, in turn."""
    return [_picture(number).to(device) for number in range(count)]


def between_levels(image: Tensor) -> Tensor:
    """The image with values that no 8-bit file holds: an adapter may resize those in another way."""
    return image * 0.99 + 0.3 / 255


def _smooth(device: torch.device) -> Tensor:
    """A square picture that looks the same at any size."""
    coarse = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    return (F.interpolate(coarse, (192, 192), mode="bicubic").clamp(0, 1) * 255).round().to(device) / 255


def _picture(number: int) -> Tensor:
    from detattack.datasets.scenes import render, scene_seed

    height, width = SIZES[number % len(SIZES)]
    if number % 2 == 0:
        pixels = torch.from_numpy(render(scene_seed(0, number + 1)).image).permute(2, 0, 1)[None]
        y, x = (pixels.shape[-2] - height) // 2, (pixels.shape[-1] - width) // 2
        return pixels[..., y : y + height, x : x + width].float() / 255
    return (F.interpolate(noise(1, 64, number), (height, width), mode="bilinear") * 255).round() / 255


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "passed", check())
    except Failed as failure:
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
        raise Failed(f"{who}: a score is not in ({threshold}, 1]")
    if not bool(((found.labels >= 0) & (found.labels < classes)).all()):
        raise Failed(f"{who}: a label is not an index into the {classes} categories")
    if not found.boxes.isfinite().all():
        raise Failed(f"{who}: a box is not finite")
    if bool((found.boxes[:, 2:] < found.boxes[:, :2]).any()):
        raise Failed(f"{who}: a box is not x1,y1,x2,y2, since x2 < x1 or y2 < y1")


def _sizes(subject: _Subject) -> str:
    done: list[str] = []
    for number in range(min(len(SIZES), len(subject.pictures))):
        height, width = subject.pictures[number].shape[-2:]
        try:
            subject.pair(number)
        except Exception as error:
            works = ", ".join(done) or "no size before"
            raise Failed(f"fails at {width}×{height} ({_first_line(error)}); works at {works}") from error
        done.append(f"{width}×{height}")
    return ", ".join(done)


def _parity(subject: _Subject) -> str:
    between = _pair(subject.detector, between_levels(subject.pictures[0]))
    agreements = [
        agreement(pair.selected, pair.detected, EXACT, pair.threshold) for pair in (*subject.pairs(), between)
    ]
    total = sum(agreements, Agreement())
    if total.agreeing < total.compared:
        raise Failed(f"{total.compared - total.agreeing} of {total.compared} detections differ: {total.example}")
    fewest = min(one.compared for one in agreements)
    if fewest < ENOUGH:
        raise NotCompared(f"an image has {fewest} detections at any threshold, {ENOUGH} are needed")
    images = f"{len(subject.pictures)} images and one that is not 8-bit"
    return f"{total.compared} detections on {images}, at least {fewest} each; {total.differences()}"


def _scores(subject: _Subject) -> str:
    pairs = list(subject.pairs())
    for pair in pairs:
        if pair.score_fault:
            raise Failed(pair.score_fault)
    compared = sum(len(pair.selected) + len(pair.detected) for pair in pairs)
    return f"{compared} reported scores are sigmoids of logits"


def _columns(subject: _Subject) -> str:
    pairs = list(subject.pairs())
    if any(pair.score_fault for pair in pairs):
        raise NotCompared("what is reported does not come from the logits")
    said = check_columns(subject.detector, subject.pictures[0])
    for pair in pairs:
        if pair.column_fault:
            raise Failed(pair.column_fault)
    return said


def _id_mapping(subject: _Subject) -> str:
    detector = subject.detector
    categories = detector.categories
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
            raise Failed(f"the same detection is {names[0]!r} for select and {names[1]!r} for detect")
    return f"{len(categories)} categories; {compared} detections have one label for select and detect"


@torch.no_grad()
def _determinism(subject: _Subject) -> str:
    image, pair = subject.pictures[0], subject.pair(0)
    first, second = (subject.detector.candidates(image) for _ in range(2))
    if not (torch.equal(first.logits, second.logits) and torch.equal(first.boxes, second.boxes)):
        raise Failed("candidates differ when the same image comes again")
    again = subject.detector.detect(image, pair.threshold)[0]
    if not (torch.equal(again.scores, pair.detected.scores) and torch.equal(again.boxes, pair.detected.boxes)):
        raise Failed("detect differs when the same image comes again")
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
            raise Failed(f"{len(found)} results of {find.__name__} for {len(among_others)} images")
        exact += agreement(found[1], of_copies[1], EXACT, alone.threshold)
        near += agreement(found[1], single, ALONE, alone.threshold)
    if exact.agreeing < exact.compared:
        raise Failed(f"an image depends on its neighbors in a batch of 3: {exact.example}")
    if near.agreeing < ALONE_SHARE * near.compared:
        raise Failed(f"an image in a batch of 3 is not what it is alone: {near.example}")
    if exact.compared < 2 * ENOUGH:
        raise NotCompared(f"{exact.compared} detections by select and detect, {2 * ENOUGH} are needed")
    return f"{exact.compared} detections, {exact.differences()}; from alone {near.differences()}"


def _boxes(subject: _Subject, truth: Sequence[Detections]) -> str:
    """Boxes are in pixels of the given image, and where objects are annotated they are about where these are."""
    said = check_boxes(subject.detector, _smooth(subject.detector.device))
    annotated = torch.cat([objects.labels for objects in truth]).unique() if truth else torch.empty(0)
    there = [
        iou_matrix(found.boxes, objects.boxes).amax(1)[torch.isin(found.labels, annotated)] >= MATCH_IOU
        for found, objects in _on_annotated(subject, truth)
    ]
    count = sum(map(len, there))
    if count < ENOUGH:
        return said
    share = float(torch.cat(there).double().mean())
    if share < LEAST_ON_OBJECTS:
        raise Failed(f"{share:.0%} of {count} detections lie on annotated objects: they are in pixels of another image")
    return f"{said}; {share:.0%} of {count} detections lie on annotated objects"


def _names(subject: _Subject, truth: Sequence[Detections]) -> str:
    """Detections at the place of an annotated object mostly have its class."""
    compared = agreeing = 0
    for found, objects in _on_annotated(subject, truth):
        best, which = iou_matrix(found.boxes, objects.boxes).max(1)
        there = best >= MATCH_IOU
        compared += int(there.sum())
        agreeing += int((found.labels[there] == objects.labels[which[there]]).sum())
    said = f"of {compared} detections on annotated objects, {agreeing} have the object's class"
    if compared >= FEW and agreeing < compared / 2:
        raise Failed(said)
    if compared < ENOUGH:
        raise NotCompared(f"{compared} detections lie on annotated objects, {ENOUGH} are needed")
    return said


def _on_annotated(subject: _Subject, truth: Sequence[Detections]) -> Iterator[tuple[Detections, Detections]]:
    """What is detected in the images that have annotated objects, and these objects."""
    for image, objects in zip(subject.pictures, truth, strict=False):
        found = subject.detector.detect(image, SURE)[0].cpu()
        if len(found) and len(objects):
            yield found, objects


def _untouched(detector: Detector, before: dict[str, Any]) -> str:
    after = _state(detector)
    for what, value in before.items():
        if after[what] != value:
            raise Failed(f"{what} changed")
    if after["gradients of parameters"]:
        raise Failed("parameters have gradients; freeze them with requires_grad_(False)")
    return "weights, training flags, no gradients of parameters"


# What they share


def _state(detector: Detector) -> dict[str, Any]:
    modules = [v for v in (detector, *_attributes(detector)) if isinstance(v, nn.Module)]
    flags = [child.training for module in modules for child in module.modules()]
    grown = any(p.grad is not None or p.requires_grad for module in modules for p in module.parameters())
    return {"weights": fingerprint(detector), "training flags": flags, "gradients of parameters": grown}


def _attributes(detector: object) -> list[Any]:
    """What it holds, be it in `__dict__` or in `__slots__`."""
    state = object.__getstate__(detector)
    parts = state if isinstance(state, tuple) else (state,)
    return [value for part in parts if part for value in part.values()]


def _demand(holds: bool, what: str, expected: str, got: Tensor) -> None:
    if not holds:
        raise Failed(f"{what}: expected {expected}, got {got.dtype} {list(got.shape)}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
