"""Checks against annotated objects: boxes in the right place, classes with the right names."""

from collections.abc import Iterator, Sequence

import torch

from detattack.core.boxes import iou_matrix
from detattack.core.types import Detections
from detattack.core.wording import counted
from detattack.detectors.check.candidates import check_boxes
from detattack.detectors.check.findings import Failed, NotCompared
from detattack.detectors.check.pictures import smooth_picture
from detattack.detectors.check.subject import ENOUGH, Subject

FEW = 8
"""Detections on annotated objects that are enough to tell that their classes are wrong."""
LEAST_ON_OBJECTS = 0.25
"""Share of the detections of annotated classes that lie on an object, at least."""
MATCH_IOU, SURE = 0.5, 0.3
"""A detection lies on an annotated object from this IoU on, and counts above this score."""


def check_box_places(subject: Subject, truth: Sequence[Detections]) -> str:
    """Check that boxes are in pixels of the given image, and about where annotated objects are. Raises `Failed`.

    truth: the annotated boxes and labels of each picture; may be empty.
    """
    said = check_boxes(subject.detector, smooth_picture(subject.detector.device))
    annotated = torch.cat([objects.labels for objects in truth]).unique() if truth else torch.empty(0)
    on_object = [
        iou_matrix(found.boxes, objects.boxes).amax(1)[torch.isin(found.labels, annotated)] >= MATCH_IOU
        for found, objects in _on_annotated(subject, truth)
    ]
    count = sum(map(len, on_object))
    if count < ENOUGH:
        return said
    share = float(torch.cat(on_object).cpu().double().mean())
    on_objects = f"{share:.0%} of {counted(count, 'detection')} on annotated objects"
    if share < LEAST_ON_OBJECTS:
        raise Failed(f"{on_objects}: they are in pixels of another image")
    return f"{said}; {on_objects}"


def check_names(subject: Subject, truth: Sequence[Detections]) -> str:
    """Check that detections on annotated objects mostly have the object's class. Raises `Failed` or `NotCompared`.

    truth: the annotated boxes and labels of each picture.
    """
    compared = right = 0
    for found, objects in _on_annotated(subject, truth):
        best, which = iou_matrix(found.boxes, objects.boxes).max(1)
        on_object = best >= MATCH_IOU
        compared += int(on_object.sum())
        right += int((found.labels[on_object] == objects.labels[which[on_object]]).sum())
    said = f"of {counted(compared, 'detection')} on annotated objects, {right} have the object's class"
    if compared >= FEW and right < compared / 2:
        raise Failed(said)
    if compared < ENOUGH:
        raise NotCompared(
            f"{counted(compared, 'detection lies', 'detections lie')} on annotated objects, {ENOUGH} are needed"
        )
    return said


def _on_annotated(subject: Subject, truth: Sequence[Detections]) -> Iterator[tuple[Detections, Detections]]:
    """Yield detections and annotated objects of each image that has both."""
    for image, objects in zip(subject.pictures, truth, strict=False):
        found = subject.detector.detect(image, SURE)[0].cpu()
        if len(found) and len(objects):
            yield found, objects
