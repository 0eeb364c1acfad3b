"""What AP50 loses to which kind of error: the split of TIDE (Bolya et al., ECCV 2020).

With the IoU of a detection that is no true positive, and t_f = 0.5, t_b = 0.1 (section 2.2 of the paper):

- wrong_place (Loc): t_b ≤ IoU < t_f with its best object of the same class
- wrong_class (Cls): IoU ≥ t_f with an object of another class
- duplicate (Dupe): IoU ≥ t_f with an object of the same class that a stronger detection has
- background (Bkg): IoU < t_b with every object
- both: what is left, a wrong class in a wrong place
- missed (Miss): an object that is neither found nor what a wrong_class or wrong_place detection is at

The first that holds counts, in this order, as in TIDE's code. What an error costs is the AP50 that is gained if errors
of this kind alone are repaired (section 2.3): the strongest wrong_class or wrong_place detection at an object that is
not found becomes a true positive, and all other wrong detections of the kind are removed; missed objects are taken out
of the count. A class all of whose objects are missed then counts 1, for nothing is left to be found; in TIDE's code it
counts 0, so that an attack that hides everything would lose nothing to missed objects.

True positives and AP are pycocotools': matching within a class, detections in crowds count neither way, and only so
many detections of a class and image count.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detattack.core.types import DEFAULT_MAX_DETECTIONS
from detattack.metrics.coco import ranked_ap
from detattack.metrics.labelled_boxes import LabelledBoxes, in_crowd, overlaps, same_class
from detattack.metrics.matching import NONE, matches

FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.1
"""TIDE's t_f and t_b."""
KINDS = ("right", "wrong_class", "wrong_place", "duplicate", "background", "both")
"""What a detection is."""
RIGHT, WRONG_CLASS, WRONG_PLACE, DUPLICATE, BACKGROUND, BOTH = range(len(KINDS))
ERRORS = ("missed", *KINDS[1:])


@dataclass(frozen=True)
class ErrorSplit:
    """AP50 and what it loses to each kind of error; None where nothing is annotated.

    - objects: how many are found `right`, are at the place of a `wrong_class` or `wrong_place` detection, or `missed`;
      they add up to the annotated objects.
    - detections: how many are of which kind; they add up to the detections that count.
    - lost: AP50 that is gained if this kind of error alone is repaired.
    """

    ap50: float | None
    objects: dict[str, int]
    detections: dict[str, int]
    lost: dict[str, float | None]


@dataclass(frozen=True, eq=False)
class Judged:
    """What the detections of an image are, the strongest first, and what became of its objects.

    - kinds: indices into `KINDS`.
    - repaired: the label that makes a wrong detection right; −1 where it is removed.
    - objects: labels of all objects but crowds, and `fates`: index into `KINDS`, or −1 for missed.
    """

    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    kinds: NDArray[np.int64]
    repaired: NDArray[np.int64]
    objects: NDArray[np.int64]
    fates: NDArray[np.int64]


def judge(objects: LabelledBoxes, found: LabelledBoxes, most: int = DEFAULT_MAX_DETECTIONS) -> Judged:
    """Tell what each detection of an image is. most: only the best so many of a class count."""
    found = _strongest(found, most)
    whole = objects[~objects.crowd]
    overlap, same = overlaps(found, whole), same_class(found, whole)
    own, other = np.where(same, overlap, 0), np.where(same, 0, overlap)
    (matched,) = matches(own, [FOREGROUND_IOU])
    ignored = (matched == NONE) & in_crowd(found, objects, FOREGROUND_IOU)
    kinds = _kinds(matched >= 0, own.max(1, initial=0), other.max(1, initial=0))
    at = _objects_at(kinds, own, other)
    fates = np.full(len(whole), NONE)
    fates[matched[matched >= 0]] = RIGHT
    first = _first_at(np.where(ignored, NONE, at), fates)
    fates[at[first]] = kinds[first]
    repaired = np.full(len(found), NONE)
    repaired[first] = whole.labels[at[first]]
    kept = ~ignored
    return Judged(found.labels[kept], found.scores[kept], kinds[kept], repaired[kept], whole.labels, fates)


class ErrorTally:
    """Adds up the errors of a data set image by image, in the order of the images' ids, which settles ties of scores.

    - classes: the number of labels
    - most: only the best so many detections of a class and image count
    """

    def __init__(self, classes: int, most: int = DEFAULT_MAX_DETECTIONS) -> None:
        self._classes, self._most = classes, most
        self._judged: list[Judged] = []

    def add(self, objects: LabelledBoxes, found: LabelledBoxes) -> None:
        """Count an image."""
        self._judged.append(judge(objects, found, self._most))

    def split(self) -> ErrorSplit:
        """Return what AP50 loses to which error."""
        everything = _joined(self._judged)
        ap50 = self._ap50(everything)
        lost: dict[str, float | None] = dict.fromkeys(ERRORS)
        if ap50 is not None:
            lost = {name: max(0.0, (self._ap50(everything, name) or 0.0) - ap50) for name in ERRORS}
        fates = Counter("missed" if fate == NONE else KINDS[fate] for fate in everything.fates.tolist())
        kinds = Counter(KINDS[kind] for kind in everything.kinds.tolist())
        return ErrorSplit(
            ap50,
            {name: fates[name] for name in ("right", "wrong_class", "wrong_place", "missed")},
            {name: kinds[name] for name in KINDS},
            lost,
        )

    def _ap50(self, judged: Judged, repaired: str = "") -> float | None:
        """Return AP50, the mean over the annotated classes, with one kind of error repaired."""
        wrong = judged.kinds == KINDS.index(repaired) if repaired in KINDS else np.zeros(len(judged.kinds), np.bool_)
        labels = np.where(wrong, judged.repaired, judged.labels)
        kept = labels != NONE
        annotated = np.bincount(judged.objects, minlength=self._classes)
        counted = judged.objects[judged.fates != NONE] if repaired == "missed" else judged.objects
        objects = np.bincount(counted, minlength=self._classes)
        right = (judged.kinds == RIGHT) | wrong
        by_class = ranked_ap(labels[kept], judged.scores[kept], right[kept], objects)
        known = [1.0 if ap is None else ap for ap, there in zip(by_class, annotated, strict=True) if there]
        return float(np.mean(known)) if known else None


def _strongest(found: LabelledBoxes, most: int) -> LabelledBoxes:
    """Return the best so many detections of each class, the strongest first."""
    found = found[np.argsort(-found.scores, kind="stable")]
    if len(found) <= most:
        return found
    kept = np.zeros(len(found), np.bool_)
    for label in np.unique(found.labels):
        kept[np.flatnonzero(found.labels == label)[:most]] = True
    return found[kept]


def _kinds(right: NDArray[np.bool_], own: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.int64]:
    """Tell errors apart by the largest IoU with an object of the same and of another class."""
    questions = [
        right,
        (own >= BACKGROUND_IOU) & (own < FOREGROUND_IOU),
        other >= FOREGROUND_IOU,
        own >= FOREGROUND_IOU,
        other < BACKGROUND_IOU,
    ]
    return np.select(questions, [RIGHT, WRONG_PLACE, WRONG_CLASS, DUPLICATE, BACKGROUND], BOTH)


def _objects_at(kinds: NDArray[np.int64], own: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the object that a wrong_class or wrong_place detection is at; −1 for all others."""
    at = np.full(len(kinds), NONE)
    for kind, overlap in ((WRONG_PLACE, own), (WRONG_CLASS, other)):
        rows = kinds == kind
        if rows.any():
            at[rows] = overlap[rows].argmax(1)
    return at


def _first_at(at: NDArray[np.int64], fates: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of the strongest detection at each object that is not found."""
    places, rows = np.unique(at, return_index=True)
    known = places != NONE
    places, rows = places[known], rows[known]
    return rows[fates[places] == NONE]


def _joined(judged: Sequence[Judged]) -> Judged:
    none = np.zeros(0, np.int64)
    columns: Any = ([none, *(getattr(one, f.name) for one in judged)] for f in fields(Judged))
    return Judged(*map(np.concatenate, columns))
