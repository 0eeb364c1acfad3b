"""The figure of one attacked image: original and adversarial with their boxes, and where they differ."""

from collections.abc import Sequence
from pathlib import Path

from detattack.core.categories import find_name
from detattack.report.figures import caption_of, side_by_side
from detattack.runs.record import Outcome
from detattack.tasks.detection.goals import parse_goal
from detattack.tasks.detection.record import from_lists


def write_attack_figure(path: Path, outcome: Outcome, names: Sequence[str], score_threshold: float) -> None:
    """Writes the figure. names: of the detector's classes. The boxes are those above the threshold."""
    if outcome.original is None or outcome.pixels is None:
        return
    record = outcome.record
    goal = parse_goal(record.goal) if record.goal else None
    about = [find_name(name, names) for name in goal.classes()] if goal else []
    adversarial = outcome.pixels if outcome.floats is None else outcome.floats.transpose(1, 2, 0)
    side_by_side(
        path,
        outcome.original,
        from_lists(record.clean),
        adversarial,
        from_lists(record.adversarial),
        names,
        caption=caption_of(record.goal, record.status, record.k, record.quality.get("l2"), record.quality.get("psnr")),
        goal_box=record.box,
        score_threshold=score_threshold,
        highlight=[label for label in about if label is not None] or None,
    )
