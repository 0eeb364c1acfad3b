"""Checks of the inference: `select` against `detect`, scores, columns, determinism, batches."""

import torch
from torch import Tensor

from detattack.core.types import Detections
from detattack.core.wording import counted
from detattack.detectors.check.candidates import check_columns
from detattack.detectors.check.findings import Failed, NotCompared
from detattack.detectors.check.matching import MatchResult, match_detections
from detattack.detectors.check.pictures import between_levels
from detattack.detectors.check.subject import ENOUGH, Subject, run_both

EXACT = (0.01, 1e-5)
"""Pixels and score by which `select` may differ from `detect`, and an image among others from one among its copies."""
ALONE, ALONE_SHARE = (1.0, 0.01), 0.9
"""The same for an image in a batch against the image alone, and the share of its detections that must agree: there
sums run in another order, which moves an untrained network's boxes by tenths of a pixel and tips comparisons between
two that nearly tie; a fault moves them all."""


def check_parity(subject: Subject) -> str:
    """Check that `select` and `detect` find the same. Raises `Failed`, `NotCompared` for too few detections."""
    between = run_both(subject.detector, between_levels(subject.pictures[0]))
    matches = [
        match_detections(result.selected, result.detected, EXACT, result.threshold)
        for result in (*subject.results(), between)
    ]
    total = sum(matches, MatchResult())
    if total.matched < total.compared:
        differing = f"{total.compared - total.matched} of {counted(total.compared, 'detection')}"
        raise Failed(f"{differing} differ: {total.example}")
    fewest = min(one.compared for one in matches)
    if fewest < ENOUGH:
        raise NotCompared(f"an image has {counted(fewest, 'detection')} at any threshold, {ENOUGH} are needed")
    images = f"{counted(len(subject.pictures), 'image')} and one that is not 8-bit"
    return f"{counted(total.compared, 'detection')} on {images}, at least {fewest} each; {total.differences()}"


def check_scores(subject: Subject) -> str:
    """Check that each reported score is the sigmoid of a logit. Raises `Failed`."""
    results = list(subject.results())
    for result in results:
        if result.score_fault:
            raise Failed(result.score_fault)
    compared = sum(len(result.selected) + len(result.detected) for result in results)
    return f"{counted(compared, 'reported score is a sigmoid', 'reported scores are sigmoids')} of logits"


def check_reported_columns(subject: Subject) -> str:
    """Check that each column of the logits is reported as its category. Raises `Failed` or `NotCompared`."""
    results = list(subject.results())
    if any(result.score_fault for result in results):
        raise NotCompared("what is reported does not come from the logits")
    said = check_columns(subject.detector, subject.pictures[0])
    for result in results:
        if result.column_fault:
            raise Failed(result.column_fault)
    return said


@torch.no_grad()
def check_determinism(subject: Subject) -> str:
    """Check that the same image gives the same bits twice. Raises `Failed`."""
    image, result = subject.pictures[0], subject.result(0)
    first, second = (subject.detector.candidates(image) for _ in range(2))
    if not (torch.equal(first.logits, second.logits) and torch.equal(first.boxes, second.boxes)):
        raise Failed("candidates differ when the same image comes again")
    again = subject.detector.detect(image, result.threshold)[0]
    if not (torch.equal(again.scores, result.detected.scores) and torch.equal(again.boxes, result.detected.boxes)):
        raise Failed("detect differs when the same image comes again")
    return "the same bits twice"


@torch.no_grad()
def check_batch(subject: Subject) -> str:
    """Check that an image does not depend on its neighbors in a batch. Raises `Failed` or `NotCompared`.

    A picture between its negative and its mirror image must give the same as between copies of itself, where all sums
    have the same order, and nearly the same as alone.
    """
    detector, image, alone = subject.detector, subject.pictures[0], subject.result(0)
    among_others, among_copies = torch.cat([1 - image, image, image.flip(-1)]), torch.cat([image] * 3)

    def select(images: Tensor) -> list[Detections]:
        return detector.select(detector.candidates(images), alone.threshold)

    def detect(images: Tensor) -> list[Detections]:
        return detector.detect(images, alone.threshold)

    exact, near = MatchResult(), MatchResult()
    for find, single in ((select, alone.selected), (detect, alone.detected)):
        found, of_copies = find(among_others), find(among_copies)
        if not len(found) == len(of_copies) == len(among_others):
            raise Failed(f"{counted(len(found), 'result')} of {find.__name__} for {len(among_others)} images")
        exact += match_detections(found[1], of_copies[1], EXACT, alone.threshold)
        near += match_detections(found[1], single, ALONE, alone.threshold)
    if exact.matched < exact.compared:
        raise Failed(f"an image depends on its neighbors in a batch of 3: {exact.example}")
    if near.matched < ALONE_SHARE * near.compared:
        raise Failed(f"an image in a batch of 3 is not what it is alone: {near.example}")
    if exact.compared < 2 * ENOUGH:
        raise NotCompared(f"{counted(exact.compared, 'detection')} by select and detect, {2 * ENOUGH} are needed")
    return f"{counted(exact.compared, 'detection')}, {exact.differences()}; from alone {near.differences()}"
