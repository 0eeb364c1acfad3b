"""The figure of one attacked image: original and adversarial with their boxes, and where they differ."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from detattack.engine.budget import Budget
from detattack.metrics.difference import difference_map
from detattack.report.sheet import Sheet, budget_caption, caption_of
from detattack.runs.record import Outcome
from detattack.tasks.detection.box_marks import Shown
from detattack.tasks.detection.goals import labels_about
from detattack.tasks.detection.photo_panel import count_text, draw_photo
from detattack.tasks.detection.record import DetectionRecord, from_lists


def write_attack_figure(
    path: Path,
    outcome: Outcome[DetectionRecord],
    names: Sequence[str],
    score_threshold: float,
    budget: Budget | None = None,
) -> None:
    """Write the figure, PNG or PDF by extension, atomically. Nothing for an image that could not be read.

    Panels have equal height, in a row (in a column for panoramas).

    - names: of the detector's classes.
    - score_threshold: the boxes above it are drawn; those of classes that the goal is not about are thin.
    - budget: that was spent on the image, if one was.

    Raises `InputError` for another extension.
    """
    if outcome.original is None or outcome.pixels is None:
        return
    record, original = outcome.record, outcome.original
    adversarial = outcome.pixels if outcome.floats is None else outcome.floats.transpose(1, 2, 0)
    quality = record.quality
    caption = (
        budget_caption(f"{record.goal} at τ {score_threshold:g}", record, budget)
        if budget
        else caption_of(record.goal, record.status, record.k, quality.get("l2"), quality.get("psnr"))
    )
    difference = difference_map(original, adversarial)
    sheet = Sheet(original.shape[1], original.shape[0], panels=3, caption=caption)
    about = labels_about(record.goal, names) or None
    clean = Shown(from_lists(record.clean), names, score_threshold, about, record.box)
    attacked = replace(clean, detections=from_lists(record.adversarial))
    for title, pixels, shown in (("Original", original, clean), ("Adversarial", adversarial, attacked)):
        draw_photo(sheet, title, count_text(shown), pixels, shown)
    sheet.difference(difference)
    sheet.save(path)
