"""The columns of a comparison of methods on a classifier, and what is said of images that are not in it."""

from collections.abc import Mapping
from typing import Any

from detattack.metrics.image_quality import MEASURES
from detattack.workflows.compare import Columns, measure_columns

COLUMNS: Columns = (
    ("method", "method", ""),
    ("success_rate", "success", ".1%"),
    ("file_success_rate", "still fools after saving", ".1%"),
    ("attacked", "attacked", "d"),
    ("mean_k", "K", ".1f"),
    *measure_columns("mean", "l1", "l2"),
    ("median_l2", f"median {MEASURES['l2'].label}", MEASURES["l2"].format),
    *measure_columns("mean", "linf", "psnr", "ssim", "uqi", "scc", "vifp"),
    ("mean_forwards", "forwards", ".1f"),
    ("mean_backwards", "backwards", ".1f"),
    ("seconds_per_image", "s/image", ".3f"),
)
"""Means over the successes of a method, as the paper has them."""


def skipped_line(summary: Mapping[str, Any], targeted: bool) -> str:
    """How many images no method attacks, and why, in one line; empty where all are attacked."""
    count = summary["already"]
    if not count:
        return ""
    images, verb = ("image", "is") if count == 1 else ("images", "are")
    if targeted:
        return f"{count} {images} skipped: {verb} of the target class, or taken for it untouched"
    them = "it" if count == 1 else "them"
    return f"{count} {images} skipped: the model is wrong on {them} untouched (--only-right takes others)"
