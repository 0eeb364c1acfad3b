"""How much of an image's average precision an attack has left: what "worst" means where a budget is spent.

AP is a figure of a data set: precision at a detection depends on what other images hold. What an image does to it is
told here from the image alone, so that images stay independent of each other:

    harm = −mean_t Σ_d √s_d · P_d,  over the true positives d at COCO's ten IoU thresholds t

s is the score, which places a true positive among those of all images. P_d is the precision there: the share of true
positives among the detections from it up, of all classes in one ranking, since other images hold objects of the classes
that are falsely seen in this one. Where no true positive is left at any threshold and score, the image is wholly wrong,
and can only cost the true positives of others their precision: by the false positives above them, whose expected
number, over scores from 0 to 1, is Σ s. So the harm is a constant and Σ s. An image without objects, too, can only add
false positives: −1 / (1 + Σ s) over them.
"""

import torch
from torch import Tensor

from detattack.core.boxes import iou_matrix
from detattack.core.types import WHOLLY_WRONG, Detections
from detattack.metrics.matching import NONE, matches

THRESHOLDS = tuple(0.5 + 0.05 * i for i in range(10))
"""COCO's IoU thresholds."""


def harm(found: Detections, objects: Tensor, labels: Tensor) -> float:
    """Compute the harm. objects, labels: `[O,4]` and `[O]`, what is there; found: detections of any score."""
    if not len(objects):
        return -1 / (1 + float(found.scores.sum()))
    order = found.scores.argsort(descending=True, stable=True)
    boxes, scores, classes = found.boxes[order], found.scores[order], found.labels[order]
    hits = true_positives(boxes, classes, objects, labels)
    if not hits.any():
        return WHOLLY_WRONG + float(scores.sum())
    precision = hits.cumsum(1) / torch.arange(1, len(scores) + 1)
    return -float((hits * scores.sqrt() * precision).sum(1).mean())


def true_positives(boxes: Tensor, classes: Tensor, objects: Tensor, labels: Tensor) -> Tensor:
    """Match detections, the surest first, with objects as COCO does; bool `[10,M]`, at each of its IoU thresholds."""
    overlap = iou_matrix(boxes, objects).masked_fill(classes[:, None] != labels[None], 0.0)
    return torch.from_numpy(matches(overlap.detach().float().numpy(), THRESHOLDS) != NONE)
