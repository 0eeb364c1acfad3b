"""COCO's own evaluation (pycocotools) as plain figures: the twelve of its table, and AP per category.

pycocotools' `loadRes([])` raises and its unscored figures are −1; here a detector that sees nothing scores 0
wherever there was something to see, and what cannot be scored is None, never NaN or −1.
"""

import contextlib
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

MAX_DETECTIONS = 100
"""Detections that count, an image."""


@dataclass(frozen=True)
class CategoryScores:
    """AP and AP50 of one category; None where the data has no object of it."""

    ap: float | None
    ap50: float | None


@dataclass(frozen=True)
class CocoScores:
    """The twelve figures of COCO's table, in its order, and each category by name; None: nothing to score."""

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar1: float | None
    ar10: float | None
    ar100: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None
    per_category: dict[str, CategoryScores]

    def figures(self) -> dict[str, float | None]:
        """The twelve figures by name."""
        return {name: value for name, value in asdict(self).items() if name != "per_category"}


def evaluate(
    annotations: Iterable[Mapping[str, Any]],
    categories: Sequence[Mapping[str, Any]],
    results: Iterable[Mapping[str, Any]],
    image_ids: Collection[int],
    category_ids: Collection[int] | None = None,
) -> CocoScores:
    """Scores detections in COCO's results format against annotations, over the given images and categories.

    results: `image_id, category_id, bbox [x,y,w,h], score`; only the best `MAX_DETECTIONS` of an image and
    category count. category_ids: those that detector and data share; None: all.
    """
    evaluation = _evaluation(annotations, categories, results, image_ids, category_ids)
    if evaluation is None:
        return _scores([None] * 12, {})
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    names = {c["id"]: c["name"] for c in categories}
    precision = evaluation.eval["precision"][..., 0, -1]  # [IoU, recall, category], all areas, 100 detections
    per_category = {
        names[i]: CategoryScores(_mean(precision[:, :, k]), _mean(precision[0, :, k]))
        for k, i in enumerate(evaluation.params.catIds)
    }
    return _scores([_known(value) for value in evaluation.stats], per_category)


def mixed_ap(
    annotations: Sequence[Mapping[str, Any]],
    categories: Sequence[Mapping[str, Any]],
    clean: Iterable[Mapping[str, Any]],
    adversarial: Iterable[Mapping[str, Any]],
    image_ids: Collection[int],
    category_ids: Collection[int] | None,
    attacked: Iterable[Collection[int]],
) -> list[float | None]:
    """AP for each choice of images that are shown attacked, the others clean. Images are matched once."""
    matched = []
    evaluation: Any = None
    for results in (clean, adversarial):
        evaluation = _evaluation(annotations, categories, results, image_ids, category_ids)
        if evaluation is None:
            return [None for _ in attacked]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [MAX_DETECTIONS]
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.evaluate()
        matched.append(evaluation.evalImgs)  # categories × images
    order = evaluation.params.imgIds
    found = []
    for chosen in attacked:
        rows = range(len(matched[0]))
        evaluation.evalImgs = [matched[order[row % len(order)] in chosen][row] for row in rows]
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.accumulate()
        found.append(_mean(evaluation.eval["precision"]))
    return found


def _scores(figures: Sequence[float | None], per_category: dict[str, CategoryScores]) -> CocoScores:
    names = [f.name for f in fields(CocoScores)]
    values: dict[str, Any] = dict(zip(names, [*figures, per_category], strict=True))
    return CocoScores(**values)


def _evaluation(
    annotations: Iterable[Mapping[str, Any]],
    categories: Iterable[Mapping[str, Any]],
    results: Iterable[Mapping[str, Any]],
    image_ids: Collection[int],
    category_ids: Collection[int] | None,
) -> COCOeval | None:
    """COCOeval over these images and categories; None where there is none."""
    shared = [c for c in categories if category_ids is None or c["id"] in category_ids]
    images, classes = set(image_ids), {c["id"] for c in shared}
    if not images or not classes:
        return None
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _index(map(_truth, _of(annotations, images, classes)), images, shared)
        found = _index(map(_found, _of(results, images, classes)), images, shared)
    evaluation = COCOeval(truth, found, "bbox")
    evaluation.params.imgIds, evaluation.params.catIds = sorted(images), sorted(classes)
    return evaluation


def _of(items: Iterable[Mapping[str, Any]], images: set[int], classes: set[int]) -> Iterable[Mapping[str, Any]]:
    return (i for i in items if i["image_id"] in images and i["category_id"] in classes)


def _truth(annotation: Mapping[str, Any]) -> dict[str, Any]:
    return {key: annotation[key] for key in ("image_id", "category_id", "bbox", "area", "iscrowd")}


def _found(result: Mapping[str, Any]) -> dict[str, Any]:
    box = result["bbox"]
    kept = {key: result[key] for key in ("image_id", "category_id", "bbox", "score")}
    return {**kept, "area": box[2] * box[3], "iscrowd": 0}


def _index(items: Iterable[dict[str, Any]], images: set[int], categories: list[Mapping[str, Any]]) -> COCO:
    """Items numbered from 1: pycocotools takes a match with the annotation 0 for no match."""
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in sorted(images)],
        "categories": categories,
        "annotations": [{**item, "id": number} for number, item in enumerate(items, 1)],
    }
    coco.createIndex()
    return coco


def _mean(precision: np.ndarray) -> float | None:
    scored = precision[precision > -1]
    return float(scored.mean()) if scored.size else None


def _known(value: float) -> float | None:
    return None if value < 0 else float(value)
