"""Images with nothing to attack: what the detector sees there instead, and which goals would have work to do."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from shlex import quote
from typing import Any

from detattack.core.types import Category, Detections, DetectorCard
from detattack.core.wording import counted
from detattack.runs.folder import RunFolder
from detattack.tasks.detection.goals import Goal, Inject, Target, parse_goal
from detattack.tasks.detection.goals.text import ALL
from detattack.tasks.detection.record import DetectionRecord, from_lists, target_of

SKIPPED = ("nothing", "already")
"""The statuses of images that are left as they are."""
MOST_NAMED = 3
"""So many classes are named where more are seen."""


def is_skipped(record: DetectionRecord) -> bool:
    """Whether an image is left as it is. A run that spends a budget attacks also those that need no attack."""
    return record.status in SKIPPED and not record.quality


def skip_reason(target: Target, clean: Detections, categories: Sequence[Category], score_threshold: float) -> str:
    """Tell what an image shows where `initial_status` leaves nothing to do, e.g. "no car above 0.5; seen: train 0.56".

    clean: all detections of the untouched image, down to the detector's own threshold.
    """
    if target.goal.initial_status(target, clean.above(score_threshold)) == "already":
        return target.goal.already(target.goal.confidence(target, clean))
    there = target.goal.looked_at(target, clean.above(score_threshold)).of(target.first_class)
    if target.goal.of_objects and len(there):  # so the objects are not those that are detected
        return f"no {(*target.goal.classes(), 'object')[0]} that counts is annotated"
    what = lacking(target.goal)
    faint = faint_score(target, clean)
    where = "" if target.box is None else " at the box"
    least = f" ({faint:.2f} at most)" if faint else ""
    seen = seen_instead(target, clean, categories, score_threshold)
    named = [f"{name} {score:.2f}" for name, score in seen.items()]
    if len(named) > MOST_NAMED:
        named[MOST_NAMED:] = ["..."]
    other = f"; seen: {', '.join(named)}" if named else "" if target.label is None else "; nothing else either"
    return f"{what} above {score_threshold:g}{where}{least}{other}"


def seen_instead(
    target: Target, clean: Detections, categories: Sequence[Category], score_threshold: float
) -> dict[str, float]:
    """Return the best score by name of each class above the threshold where the goal looks, the surest first."""
    found = target.goal.looked_at(target, clean.above(score_threshold))
    best: dict[str, float] = {}
    for score, label in sorted(zip(found.scores.tolist(), found.labels.tolist(), strict=True), reverse=True):
        best.setdefault(categories[label].name, score)
    return best


def faint_score(target: Target, clean: Detections) -> float:
    """Return the highest score of what the goal is to attack, which is below the threshold; 0 where there is none."""
    scores = target.goal.looked_at(target, clean).of(target.first_class).scores
    return float(scores.max()) if len(scores) else 0.0


def threshold_below(score: float) -> float | None:
    """Return a round threshold that a score is above; None for a score so low that it would be noise."""
    threshold = (math.ceil(score * 20) - 1) / 20 if score > 0.1 else (math.ceil(score * 100) - 1) / 100
    return threshold if threshold > 0 else None


def lacking(goal: Goal) -> str:
    """Name what an image without anything to attack lacks: "no car", or "nothing" is there."""
    return f"no {goal.classes()[0]}" if goal.classes() else "nothing"


def skipped_lines(records: Sequence[DetectionRecord], detector: DetectorCard, score_threshold: float) -> Iterator[str]:
    """For each image with nothing to attack: its name, what it shows, and options of this command that attack it."""
    for record in records:
        if is_skipped(record):
            target, clean = target_of(record, detector), from_lists(record.clean)
            seen = seen_instead(target, clean, detector.categories, score_threshold)
            faint = None if record.status == "already" else faint_score(target, clean)
            options = _options(target.goal, list(seen), faint, _own_option)
            reason = record.reason or skip_reason(target, clean, detector.categories, score_threshold)
            yield f"{record.stem}: {reason}{options}"


def skipped_line(folder: RunFolder[DetectionRecord], detector: DetectorCard, summary: Mapping[str, Any]) -> str:
    """Say the same of a run over a data set in one line, with how many images show what; empty: all were attacked."""
    if not any(summary[status] for status in SKIPPED):
        return ""
    score_threshold = summary["score_threshold"]
    goal, seen, faint = parse_goal(folder.manifest["config"]["goal"]), Counter[str](), [0.0]
    for record in filter(is_skipped, folder.iterate()):
        target, clean = target_of(record, detector), from_lists(record.clean)
        seen.update(seen_instead(target, clean, detector.categories, score_threshold).keys())
        faint.append(faint_score(target, clean))
    images = len(faint) - 1
    if not images:
        return ""
    already = bool(summary["already"])
    if already:
        what = goal.already()
    else:
        fainter = sum(score > 0 for score in faint)
        what = f"{lacking(goal)} above {score_threshold:g}" + (f" (fainter in {fainter})" if fainter else "")
        named = ", ".join(f"{name} in {count}" for name, count in seen.most_common(MOST_NAMED))
        what += f"; seen: {named}" if named else ""
    names = [name for name, _ in seen.most_common()]
    options = _options(goal, names, None if already else max(faint), lambda other: f"--goal {quote(str(other))}")
    return f"{counted(images, 'image')} skipped: {what}{options}"


def _options(goal: Goal, seen: Sequence[str], faint: float | None, spelled: Callable[[Goal], str]) -> str:
    """Tell what to ask for instead, as the command at hand spells it.

    faint: as of `faint_score`; None: the goal holds untouched.
    """
    threshold = None if faint is None else threshold_below(faint)
    options = [spelled(other) for other in goal.alternatives([] if faint is None else seen[:MOST_NAMED])]
    options += [] if threshold is None else [f"--score-threshold {threshold:g}"]
    return f": {', '.join(options)}" if options else ""


def _own_option(goal: Goal) -> str:
    """As `untargeted` and `targeted` spell what differs."""
    return (
        f"--box {goal.place}" if isinstance(goal, Inject) else f"--suppress {quote(', '.join(goal.classes()) or ALL)}"
    )
