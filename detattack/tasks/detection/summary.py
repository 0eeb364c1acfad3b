"""What a run amounts to: success with its interval, collateral damage, distances, cost, AP clean and attacked.

Everything is computed from the ledger's records in one pass that holds no record, so that it can be made again
at any time and for any number of images.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from detattack.core.boxes import iou_matrix
from detattack.core.types import DEFAULT_MAX_DETECTIONS, DEFAULT_SCORE_THRESHOLD, Detections, DetectorCard
from detattack.core.wording import counted
from detattack.datasets.base import Dataset
from detattack.datasets.coco import category_ids, classes_not_counted
from detattack.detectors.base import Detector
from detattack.metrics.coco import CocoScores, evaluate
from detattack.metrics.image_quality import MEASURES
from detattack.metrics.rates import mean_interval, rate, wilson_interval
from detattack.runs.record import ATTACKED
from detattack.tasks.columns import number
from detattack.tasks.detection.breakdown import lost_ap_line
from detattack.tasks.detection.goals import Target
from detattack.tasks.detection.matching import MATCH_IOU
from detattack.tasks.detection.record import DetectionRecord, from_lists, target_of
from detattack.tasks.summary import (
    COSTS,
    Tally,
    change_line,
    cost_line,
    counts_line,
    medians_line,
    question_line,
    share_line,
)

VAL2017_IMAGES, VAL2017_ANNOTATIONS = 5000, 36781
"""What the whole of COCO val2017 is known by; annotations with crowds."""
FOUND = 0.001
"""An AP50 below this, untouched, is that of other classes or of no weights."""
PARITY = 0.003
"""By how much a measured clean AP may differ from the stated one."""


@dataclass
class _Goal:
    """Of one goal: images attacked, and those that succeeded, by the status and by the file."""

    trials: int = 0
    successes: int = 0
    on_file: int = 0


@dataclass
class _Class:
    """Of the clean detections of one class that the goal is about."""

    objects: int = 0
    vanished: int = 0
    relabeled: int = 0


@dataclass
class _Collateral:
    """Of the attacked images: clean detections that the goal is not about, and detections that are new."""

    images: int = 0
    others: int = 0
    kept: int = 0
    new: int = 0
    kept_shares: list[float] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)


class Summary:
    """Takes the records of a run one by one and keeps numbers only. Parameters as of `summarize`."""

    def __init__(
        self,
        detector: Detector | DetectorCard | None = None,
        score_threshold: float = DEFAULT_SCORE_THRESHOLD,
        goal: str = "",
    ) -> None:
        self._detector, self._threshold, self._goal = detector, score_threshold, goal
        self._tally = Tally()
        self._goals: dict[str, _Goal] = defaultdict(_Goal)
        self._classes: dict[str, _Class] = defaultdict(_Class)
        self._collateral = _Collateral()

    def add(self, record: DetectionRecord) -> None:
        """Count one image."""
        self._tally.add(record, asked_iou=record.asked_iou)
        if record.status in ATTACKED:
            goal = self._goals[record.goal or self._goal]
            goal.trials += 1
            goal.successes += record.status == "success"
            goal.on_file += record.file_success
        if self._detector is not None and record.status in ("success", "failure"):
            self._compare(record, target_of(record, self._detector))

    def as_json(self) -> dict[str, Any]:
        """Tell the whole summary, without AP. Medians and means are over the successes."""
        names = (*COSTS, *MEASURES, "asked_iou")
        return {
            **self._tally.as_json(),
            "score_threshold": self._threshold,
            **self._tally.averages("median", statistics.median, names),
            **self._tally.averages("mean", statistics.fmean, names),
            "per_goal": {name: self._goal_json(goal) for name, goal in sorted(self._goals.items())},
            "per_class": {name: _class_json(one) for name, one in sorted(self._classes.items())},
            "collateral": self._collateral_json(),
            **self._tally.over_attacked(),
            "timing": self._tally.timing(),
        }

    @staticmethod
    def _goal_json(goal: _Goal) -> dict[str, Any]:
        return {**rate(goal.successes, goal.trials), "file_rate": goal.on_file / goal.trials}

    def _compare(self, record: DetectionRecord, target: Target) -> None:
        """Clean detections above τ against those of the file; labels of one name are one class."""
        assert self._detector is not None
        clean, found = (from_lists(side).above(self._threshold) for side in (record.clean, record.adversarial))
        clean, found = (replace(side, labels=target.firsts(side.labels)) for side in (clean, found))
        partner = match(clean, found)
        aimed = target.goal.aimed_at(target, clean).tolist()
        self._count_classes(target, clean, found, partner, aimed)
        others = [row for row in range(len(clean)) if not aimed[row]]
        kept = sum(partner[row] >= 0 for row in others)
        new = _new(target, found, partner)
        one = self._collateral
        one.images += 1
        one.others += len(others)
        one.kept += kept
        one.new += new
        one.differences.append(kept + new - len(others))
        if others:
            one.kept_shares.append(kept / len(others))

    def _count_classes(
        self, target: Target, clean: Detections, found: Detections, partner: list[int], aimed: list[bool]
    ) -> None:
        assert self._detector is not None
        overlap = iou_matrix(clean.boxes, found.boxes)
        for row in range(len(clean)):
            if not aimed[row]:
                continue
            one = self._classes[self._detector.categories[int(clean.labels[row])].name]
            one.objects += 1
            if partner[row] < 0:
                one.vanished += 1
                one.relabeled += bool((overlap[row] >= MATCH_IOU).any())

    def _collateral_json(self) -> dict[str, Any]:
        one = self._collateral
        return {
            "images": one.images,
            "others": one.others,
            "kept": one.kept,
            "kept_share": one.kept / one.others if one.others else None,
            "kept_share_per_image": mean_interval(one.kept_shares, 0.0, 1.0),
            "new": one.new,
            "new_per_image": one.new / one.images if one.images else None,
            "difference_per_image": mean_interval(one.differences),
        }


def summarize(
    records: Iterable[DetectionRecord],
    detector: Detector | DetectorCard | None = None,
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
    goal: str = "",
) -> dict[str, Any]:
    """Sum up counts, success with intervals, distances and cost over the successes.

    With a detector also the classes that vanished and the collateral damage. What there is none of is None. goal: what
    was asked of images that could not be read.
    """
    summary = Summary(detector, score_threshold, goal)
    for record in records:
        summary.add(record)
    return summary.as_json()


def match(clean: Detections, found: Detections) -> list[int]:
    """For each clean detection the row of the one of the same class and place (IoU ≥ 0.5), or −1.

    One to one: pairs are made from the largest overlap on.
    """
    partner = [-1] * len(clean)
    overlap = iou_matrix(clean.boxes, found.boxes)
    overlap = overlap.masked_fill(clean.labels[:, None] != found.labels[None], 0.0)
    pairs = (overlap >= MATCH_IOU).nonzero().tolist()
    taken: set[int] = set()
    for row, column in sorted(pairs, key=lambda pair: -float(overlap[pair[0], pair[1]])):
        if partner[row] < 0 and column not in taken:
            partner[row] = column
            taken.add(column)
    return partner


def average_precision(
    dataset: Dataset,
    detector: Detector | DetectorCard,
    image_ids: Sequence[int],
    clean: Callable[[], Iterable[dict[str, Any]]],
    adversarial: Callable[[], Iterable[dict[str, Any]]],
    max_detections: int = DEFAULT_MAX_DETECTIONS,
) -> dict[str, Any] | None:
    """COCO's figures clean and under attack, of detections in COCO's results format; None without annotations.

    Over the given images, and the classes that detector and data share by name. max_detections: as of `evaluate`.
    What there is a word to say of has a key of its own: `not_counted`, annotated classes and why they are not counted;
    `max_detections`, where it is not COCO's; `cut_images`, how many images have more detections of one class.
    """
    if not dataset.categories:
        return None
    shared = set(category_ids(detector.categories, dataset.categories).values())
    scored = [
        evaluate(dataset.annotations, dataset.categories, results(), image_ids, shared, max_detections)
        for results in (clean, adversarial)
    ]
    images = set(image_ids)
    annotations = (a for a in dataset.annotations if a["image_id"] in images)
    said: dict[str, Any] = {
        "not_counted": classes_not_counted(detector.categories, dataset.categories, annotations),
        "max_detections": max_detections if max_detections != DEFAULT_MAX_DETECTIONS else None,
        "cut_images": {"clean": scored[0].cut_images, "adversarial": scored[1].cut_images},
    }
    if not any(said["cut_images"].values()):
        del said["cut_images"]
    return {
        "images": len(image_ids),
        "categories": len(shared),
        "eval_threshold": detector.eval_threshold,
        "expected_clean": _expected_ap(dataset, detector, image_ids),
        "clean": scored[0].figures(),
        "adversarial": scored[1].figures(),
        "per_category": _per_category(*scored),
        **{key: value for key, value in said.items() if value},
    }


def _expected_ap(dataset: Dataset, detector: Detector | DetectorCard, image_ids: Sequence[int]) -> float | None:
    """Return the clean AP that the model's card states, where it speaks of these data: the whole of COCO val2017."""
    whole = (len(image_ids), len(dataset.annotations)) == (VAL2017_IMAGES, VAL2017_ANNOTATIONS)
    return getattr(detector, "expected_ap", None) if whole else None


def clean_ap_problem(ap: Mapping[str, Any] | None) -> str | None:
    """Tell what is wrong with the clean AP of a summary's `ap`: it is nothing, or not what the model's card states."""
    found = ap["clean"]["ap50"] if ap else None
    if found is not None and found < FOUND:
        return (
            f"untouched, the model finds next to none of the annotated objects (AP50 {found:.4f}): are these its "
            "trained weights, and are its classes named in the order of its labels (--categories)?"
        )
    if not ap or ap.get("expected_clean") is None:
        return None
    measured, expected = ap["clean"]["ap"], ap["expected_clean"]
    if measured is not None and round(abs(measured - expected), 6) <= PARITY:
        return None
    shown = "nothing" if measured is None else f"{measured:.3f}"
    return (
        f"the clean AP on COCO val2017 is {shown}, the model's card states {expected:.3f}: other weights, another "
        "preprocessing or other images than the card's; no figure of this run speaks of that model"
    )


def not_counted_line(not_counted: Mapping[str, str]) -> str | None:
    """Which annotated classes AP does not count, and why, in a line; None where it counts all."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, reason in not_counted.items():
        by_reason[reason].append(name)
    said = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in by_reason.items())
    return f"classes not counted: {said}" if said else None


def ap_notes(ap: Mapping[str, Any] | None) -> list[str]:
    """List what is to be said of a summary's `ap`, a line each: classes and detections that it does not count."""
    notes = [not_counted_line((ap or {}).get("not_counted") or {})]
    cut = (ap or {}).get("cut_images")
    if ap and cut:
        most = ap.get("max_detections") or DEFAULT_MAX_DETECTIONS
        notes.append(
            f"detections not counted: more than {most} of one class are on {counted(cut['clean'], 'image')} clean "
            f"and {cut['adversarial']} attacked; AP counts the best {most} (--max-detections)"
        )
    return [note for note in notes if note]


def questions(
    score_threshold: float, eval_threshold: float, max_detections: int = DEFAULT_MAX_DETECTIONS
) -> dict[str, str]:
    """Tell what the two thresholds ask, in words, and which τ would make them one question."""
    return {
        "success": f"does the goal hold for what is shown, the detections above τ = {score_threshold:g}?",
        "ap": f"how good are all detections, ranked, down to {eval_threshold:g}, at most {max_detections} of a class "
        "in an image?",
        "empty_ap": emptying_threshold(score_threshold, eval_threshold),
    }


def emptying_threshold(score_threshold: float, eval_threshold: float) -> str:
    """At which τ an attack that is to leave nothing for AP to count runs, in words."""
    if eval_threshold <= 0:
        return "this detector's inference keeps detections of any score: no τ empties AP"
    if score_threshold <= eval_threshold:
        return f"at τ = {score_threshold:g} nothing that AP counts is left where everything vanished"
    return f"an attack that is to empty AP runs at τ = {eval_threshold:g}, the lowest score that this detector reports"


def _per_category(clean: CocoScores, adversarial: CocoScores) -> dict[str, Any]:
    return {
        name: {
            "clean_ap": one.ap,
            "clean_ap50": one.ap50,
            "adversarial_ap": adversarial.per_category[name].ap,
            "adversarial_ap50": adversarial.per_category[name].ap50,
        }
        for name, one in clean.per_category.items()
    }


def _class_json(one: _Class) -> dict[str, Any]:
    return {
        "objects": one.objects,
        "vanished": one.vanished,
        "relabeled": one.relabeled,
        "rate": one.vanished / one.objects,
        "interval": wilson_interval(one.vanished, one.objects),
    }


def _new(target: Target, found: Detections, partner: list[int]) -> int:
    """Count the detections that match no clean one; those that the goal asks for are not counted."""
    asked = target.goal.asked_for(target, found).tolist()
    return sum(not asked[row] for row in range(len(found)) if row not in partner)


def summary_lines(s: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Tell a detector's run in lines: each question by its name, and what came out."""
    spends = s.get("kind") == "budget"
    yield "question", question_line(s)
    yield "images", counts_line(s)
    if s["attacked"]:
        what = "broken" if spends else "success"
        yield f"{what} at τ {s['score_threshold']:g}", share_line(s["success_rate"], s["success_interval"])
        yield "by the files", share_line(s["file_success_rate"], s["file_success_interval"])
    if s["ap"]:
        yield from _ap_lines(s)
    above = s.get("above_threshold")
    if above and spends:
        yield f"recall at τ {s['score_threshold']:g}", _change(above, "recall", ".3f")
        yield "false positives", f"{_change(above, 'false_positives_per_image', '.2f')} an image"
    collateral = s["collateral"]
    if collateral["others"]:
        yield "others kept", f"{collateral['kept_share']:.1%} of {collateral['others']}"
    if collateral["images"] and not spends:
        yield "new detections", f"{collateral['new_per_image']:.2f} an image"
    if spends:
        yield "all images", change_line(s)
        return
    yield "medians", medians_line(s, [("asked_iou", "IoU asked", ".2f")])
    if s["median_forwards"] is not None:
        yield "cost", cost_line(s)


def _change(sides: Mapping[str, Any], key: str, form: str) -> str:
    return f"{number(sides['clean'][key], form)} → {number(sides['adversarial'][key], form)}"


def _ap_lines(s: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    ap = s["ap"]
    for key, name in (("ap", "AP"), ("ap50", "AP50")):
        yield f"{name} down to {ap['eval_threshold']:g}", _change(ap, key, ".3f")
    if ap["expected_clean"] is not None:
        yield "clean AP", f"{number(ap['clean']['ap'], '.3f')}, the model's card states {ap['expected_clean']:.3f}"
    lost = lost_ap_line(s.get("lost_ap"))
    if lost:
        yield "AP50 lost, attacked", lost
    for what, _, which in (note.partition(": ") for note in ap_notes(ap)):
        yield what, which
    if s.get("kind") != "budget" and any(goal.startswith("suppress:") for goal in s["per_goal"]):
        yield "AP and τ", s["questions"]["empty_ap"]
