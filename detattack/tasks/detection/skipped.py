"""Images with nothing to attack: what the detector sees there instead, and which goals would have work to do."""

import math
from collections.abc import Sequence

from detattack.core.types import Category, Detections
from detattack.tasks.detection.goals import Goal, Target

MOST_NAMED = 3
"""So many classes are named where more are seen."""


def skip_reason(target: Target, clean: Detections, categories: Sequence[Category], score_threshold: float) -> str:
    """What an image shows where `initial_status` leaves nothing to do, e.g. "no car above 0.5; seen: train 0.56".

    clean: all detections of the untouched image, down to the detector's own threshold.
    """
    if target.goal.initial_status(target, clean.above(score_threshold)) == "already":
        return target.goal.already(target.goal.confidence(target, clean))
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
    """The best score by name of each class above the threshold where the goal looks, the surest first."""
    found = target.goal.looked_at(target, clean.above(score_threshold))
    best: dict[str, float] = {}
    for score, label in sorted(zip(found.scores.tolist(), found.labels.tolist(), strict=True), reverse=True):
        best.setdefault(categories[label].name, score)
    return best


def faint_score(target: Target, clean: Detections) -> float:
    """The highest score of what the goal is to attack, which is below the threshold; 0 where there is none."""
    scores = target.goal.looked_at(target, clean).of(target.label).scores
    return float(scores.max()) if len(scores) else 0.0


def threshold_below(score: float) -> float | None:
    """A round threshold that a score is above; None for a score so low that it would be noise."""
    threshold = (math.ceil(score * 20) - 1) / 20 if score > 0.1 else (math.ceil(score * 100) - 1) / 100
    return threshold if threshold > 0 else None


def lacking(goal: Goal) -> str:
    """Name what an image without anything to attack lacks: "no car", or "nothing" is there."""
    return f"no {goal.classes()[0]}" if goal.classes() else "nothing"
