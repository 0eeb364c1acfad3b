"""A finished run in the formats others read: COCO results, a COCO data set, and a summary."""

import statistics
from typing import Any, Literal

from detattack.datasets import Dataset
from detattack.detectors.base import Detector
from detattack.job import Record

STATUSES = ("success", "failure", "nothing", "already", "error")
MEDIANS = ("l1", "l2", "linf", "psnr", "ssim")


def coco_results(
    records: list[Record], detector: Detector, dataset: Dataset, which: Literal["clean", "adversarial"]
) -> list[dict[str, Any]]:
    """Detections in COCO's results format; category ids as in the annotations, matched by name."""
    ids = _category_ids(detector, dataset)
    results = []
    for record in records:
        found = getattr(record, which)
        for box, score, label in zip(*(found.get(k, ()) for k in ("boxes", "scores", "labels")), strict=True):
            x1, y1, x2, y2 = box
            if label in ids:
                bbox = [round(v, 3) for v in (x1, y1, x2 - x1, y2 - y1)]
                results.append({"image_id": record.id, "category_id": ids[label], "bbox": bbox, "score": score})
    return results


def coco_annotations(records: list[Record], detector: Detector, dataset: Dataset) -> dict[str, Any]:
    """The adversarial images as a COCO data set: `file_name` is relative to `images/`."""
    images = [
        {"id": r.id, "file_name": f"{r.stem}.png", "width": r.width, "height": r.height} for r in records if r.digest
    ]
    kept = {image["id"] for image in images}
    return {
        "info": {"description": "adversarial images made by detattack"},
        "images": images,
        "annotations": [a for a in dataset.annotations if a["image_id"] in kept],
        "categories": list(dataset.categories) or [{"id": c.coco_id, "name": c.name} for c in detector.categories],
    }


def summarize(records: list[Record]) -> dict[str, Any]:
    """Counts, success rate, and medians over the successes; None where there is none."""
    counts = {status: sum(r.status == status for r in records) for status in STATUSES}
    attacked = counts["success"] + counts["failure"] + counts["error"]
    wins = [r for r in records if r.status == "success"]
    return {
        "images": len(records),
        **counts,
        "success_rate": counts["success"] / attacked if attacked else None,
        "file_success_rate": sum(r.file_success for r in records) / attacked if attacked else None,
        "median_k": _median([r.k for r in wins]),
        **{f"median_{name}": _median([r.quality.get(name) for r in wins]) for name in MEDIANS},
        "median_asked_iou": _median([r.asked_iou for r in wins]),
        "median_forwards": _median([r.forwards for r in wins]),
        "median_backwards": _median([r.backwards for r in wins]),
        "seconds": sum(r.seconds for r in records),
    }


def _median(values: list[Any]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.median(known) if known else None


def _category_ids(detector: Detector, dataset: Dataset) -> dict[int, int]:
    """From a label to the id in the annotations; a class that the data set does not have is left out."""
    if not dataset.categories:
        return {label: c.coco_id for label, c in enumerate(detector.categories)}
    by_name = {c["name"]: c["id"] for c in dataset.categories}
    return {label: by_name[c.name] for label, c in enumerate(detector.categories) if c.name in by_name}
