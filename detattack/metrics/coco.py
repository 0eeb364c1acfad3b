"""COCO's average precision by pycocotools: the one evaluation for summaries, pages, comparisons and training.

pycocotools' `loadRes([])` raises, its undefined figures are −1, and `summarize` supports no other number of detections
than 100. Here a detector without detections scores 0 wherever there are objects, undefined figures are None, never NaN
or −1, and all figures are read from pycocotools' own tables of precision and recall.
"""

import contextlib
import io
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detattack.core.interrupts import interrupts
from detattack.core.types import DEFAULT_MAX_DETECTIONS

Items = Iterable[Mapping[str, Any]]
ANY_AREA = (0.0, 1e10)
"""In square pixels: pycocotools' own range of all areas."""


@dataclass(frozen=True)
class CategoryScores:
    """AP and AP50 of one category; None where the data has no object of it."""

    ap: float | None
    ap50: float | None


@dataclass(frozen=True)
class CocoScores:
    """The twelve figures of COCO's table, in its order, and the scores of each category; None: nothing to score.

    - ap .. ar_large: in [0,1]; ar100 and the figures by size are at the maximum number of detections that count
    - per_category: AP and AP50 by category name
    - cut_images: how many images have more detections of one category than count
    """

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
    cut_images: int = 0

    def figures(self) -> dict[str, float | None]:
        """Return the twelve figures by name."""
        return {name: getattr(self, name) for name in FIGURES}


FIGURES = tuple(f.name for f in fields(CocoScores))[:12]


class GroundTruth:
    """The annotations that detections are scored against.

    - annotations, categories: as in a COCO file; a missing `iscrowd` is 0, a missing `area` that of the box
    - image_ids: the images that count
    - category_ids: the categories that count, those that detector and data share; None: all
    - max_detections: only the best so many of an image and category count
    """

    def __init__(
        self,
        annotations: Items,
        categories: Iterable[Mapping[str, Any]],
        image_ids: Collection[int],
        category_ids: Collection[int] | None = None,
        max_detections: int = DEFAULT_MAX_DETECTIONS,
    ) -> None:
        counted = {c["id"]: c for c in categories if category_ids is None or c["id"] in category_ids}
        self.categories = [counted[i] for i in sorted(counted)]
        self.names = [str(c["name"]) for c in self.categories]
        self.max_detections = max_detections
        self._images, self._classes = sorted(set(image_ids)), sorted(counted)
        self._annotations = self._index(map(_truth, self.of(annotations)))

    def of(self, items: Items) -> Iterator[Mapping[str, Any]]:
        """Yield the annotations or results of the images and categories that count."""
        images, classes = set(self._images), set(self._classes)
        return (i for i in items if i["image_id"] in images and i["category_id"] in classes)

    def matched(self, results: Items, areas: Mapping[str, tuple[float, float]] | None = None) -> COCOeval:
        """Match results with the annotations and return pycocotools' evaluation.

        areas: ranges in square pixels, by name; None: COCO's.
        """
        with _silent():
            evaluation = COCOeval(self._annotations, self._index(map(_found, self.of(results))), "bbox")
            params = evaluation.params
            params.imgIds, params.catIds = self._images, self._classes
            params.maxDets = [min(most, self.max_detections) for most in (1, 10)] + [self.max_detections]
            if areas is not None:
                params.areaRng, params.areaRngLbl = [list(area) for area in areas.values()], list(areas)
            evaluation.evaluate()
        return evaluation

    def precision(self, results: Items, area: tuple[float, float] = ANY_AREA) -> NDArray[np.float64]:
        """Return precision `[10 IoUs, 101 recalls, categories]` (−1: no annotation) for objects in a range of areas."""
        return _accumulated(self.matched(results, {"all": area}))["precision"][..., 0, -1]

    def _index(self, items: Iterable[dict[str, Any]]) -> COCO:
        """Index items, numbered from 1: pycocotools takes a match with the annotation 0 for no match."""
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i} for i in self._images],
            "categories": self.categories,
            "annotations": [{**item, "id": number} for number, item in enumerate(items, 1)],
        }
        with _silent():
            coco.createIndex()
        return coco


def evaluate(
    annotations: Items,
    categories: Iterable[Mapping[str, Any]],
    results: Items,
    image_ids: Collection[int],
    category_ids: Collection[int] | None = None,
    max_detections: int = DEFAULT_MAX_DETECTIONS,
) -> CocoScores:
    """Score detections against annotations.

    - results: detections in COCO's format (`image_id, category_id, bbox [x,y,w,h], score`), any number of them
    - annotations, categories, image_ids, category_ids, max_detections: see `GroundTruth`
    """
    truth = GroundTruth(annotations, categories, image_ids, category_ids, max_detections)
    found = list(truth.of(results))
    scored = _accumulated(truth.matched(found))
    precision, recall = scored["precision"], scored["recall"]
    whole = precision[..., 0, -1]  # [IoU, recall, category]: all areas, all detections that count
    by_size = [table[..., area, -1] for table in (precision, recall) for area in (1, 2, 3)]
    by_count = [recall[..., 0, most] for most in (0, 1, 2)]
    tables = (whole, whole[0], whole[5], *by_size[:3], *by_count, *by_size[3:])
    per_category = {
        name: CategoryScores(mean_ap(whole[..., k]), mean_ap(whole[0, :, k])) for k, name in enumerate(truth.names)
    }
    counts = Counter((row["image_id"], row["category_id"]) for row in found)
    cut = {image for (image, _), count in counts.items() if count > max_detections}
    figures = dict(zip(FIGURES, map(mean_ap, tables), strict=True))
    return CocoScores(**figures, per_category=per_category, cut_images=len(cut))


class PrecisionTable:
    """Precision for any mixture of clean and attacked images, and above any score.

    pycocotools matches detections with annotations once for the clean and once for the adversarial images. A match does
    not depend on lower scores or on other images, so every point of a curve only needs pycocotools' own `accumulate`.

    - truth: the annotations
    - clean, adversarial: results of the clean and of the attacked images
    """

    def __init__(self, truth: GroundTruth, clean: Items, adversarial: Items) -> None:
        self.names = truth.names
        self._evaluation = truth.matched(clean, {"all": ANY_AREA})
        self._clean = self._evaluation.evalImgs
        self._adversarial = truth.matched(adversarial, {"all": ANY_AREA}).evalImgs

    def of(self, attacked: Collection[int] | bool, above: float | None = None) -> NDArray[np.float64]:
        """Return precision `[10 IoUs, 101 recalls, categories]` (−1: no annotation).

        - attacked: ids of the images that count as attacked, the others being clean; True: all, False: none
        - above: only detections with a score above this count; None: all, one with a score of 0 included
        """
        clean, adversarial = self._clean, self._adversarial
        if isinstance(attacked, bool):
            chosen = adversarial if attacked else clean
        else:
            # pycocotools' order: class by class, and in each the images by id; None has no id to ask for.
            which = [i in attacked for i in self._evaluation.params.imgIds] * len(self._evaluation.params.catIds)
            chosen = [a if hit else c for hit, c, a in zip(which, clean, adversarial, strict=True)]
        self._evaluation.evalImgs = chosen if above is None else [_above(one, above) for one in chosen]
        return _accumulated(self._evaluation)["precision"][..., 0, -1]


class ResampledAP:
    """AP over any sample of the images, the same image more than once among them: what a bootstrap of AP needs.

    Detections are matched with annotations once; each sample only needs pycocotools' own `accumulate`.

    - truth: the annotations
    - results: the detections
    """

    def __init__(self, truth: GroundTruth, results: Items) -> None:
        self._evaluation = truth.matched(results, {"all": ANY_AREA})
        self._matches = self._evaluation.evalImgs
        self.images: list[int] = list(self._evaluation.params.imgIds)
        """The ids of the images, in the order that `of` speaks of."""

    def of(self, sample: NDArray[np.intp]) -> float | None:
        """Return the AP of a sample, `[images]`, of places in `images`."""
        count = len(self.images)
        starts = range(0, len(self._matches), count)  # pycocotools' order: class by class, in each the images
        self._evaluation.evalImgs = [self._matches[start + place] for start in starts for place in sample.tolist()]
        return mean_ap(_accumulated(self._evaluation)["precision"][..., 0, -1])


def ranked_ap(
    labels: NDArray[np.int64], scores: NDArray[np.float64], right: NDArray[np.bool_], objects: NDArray[np.int64]
) -> list[float | None]:
    """Return the AP of each class from detections that are known to be right or wrong; None for a class of no object.

    - labels, scores, right: of the detections, those of equal score in the order of their images
    - objects: how many each class has
    """
    evaluation = COCOeval(iouType="bbox")
    params = evaluation._paramsEval = evaluation.params
    params.imgIds, params.catIds, params.iouThrs = [0], list(range(len(objects))), np.array([0.5])
    params.areaRng, params.areaRngLbl, params.maxDets = [list(ANY_AREA)], ["all"], [len(labels)]
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(len(objects) + 1))
    rows = (order[start:end] for start, end in pairwise(bounds))
    evaluation.evalImgs = [_as_one_image(scores[r], right[r], int(n)) for r, n in zip(rows, objects, strict=True)]
    precision = _accumulated(evaluation)["precision"][0, :, :, 0, 0]
    return [mean_ap(precision[:, k]) for k in range(len(objects))]


def mean_ap(precision: NDArray[np.float64]) -> float | None:
    """Return COCO's AP, the mean over IoU 0.5 to 0.95, recalls and classes; None where nothing is annotated."""
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None


def curve(precision: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Return recall and precision at IoU 0.5, the mean over the annotated classes."""
    known = precision[0][:, (precision[0] > -1).all(axis=0)]
    return np.linspace(0, 1, 101).tolist(), known.mean(axis=1).tolist() if known.size else [0.0] * 101


def _accumulated(evaluation: COCOeval) -> dict[str, Any]:
    """Return pycocotools' tables, whose last two axes are areas and numbers of detections."""
    with _silent(), interrupts() as check:
        evaluation.accumulate()
        check()  # it may have swallowed one, and left zeros where precision was to be
    return evaluation.eval


def _as_one_image(scores: NDArray[np.float64], right: NDArray[np.bool_], objects: int) -> dict[str, Any]:
    """Return detections of one class as pycocotools' matches of one image and IoU."""
    return {
        "dtScores": scores,
        "dtMatches": right[None],
        "dtIgnore": np.zeros((1, len(right)), np.bool_),
        "gtIgnore": np.zeros(objects),
    }


def _silent() -> contextlib.redirect_stdout[io.StringIO]:
    """Suppress pycocotools' prints."""
    return contextlib.redirect_stdout(io.StringIO())


def _truth(annotation: Mapping[str, Any]) -> dict[str, Any]:
    x, y, w, h = annotation["bbox"]
    kept = {key: annotation[key] for key in ("image_id", "category_id", "area", "iscrowd") if key in annotation}
    return {"area": w * h, "iscrowd": 0, "bbox": [x, y, w, h], **kept}


def _found(result: Mapping[str, Any]) -> dict[str, Any]:
    x, y, w, h = result["bbox"]
    kept = {key: result[key] for key in ("image_id", "category_id", "score")}
    return {"area": w * h, "iscrowd": 0, "bbox": [x, y, w, h], **kept}


def _above(one: dict[str, Any] | None, score: float) -> dict[str, Any] | None:
    """Return an image's matches of one class without the detections up to a score, by which they are sorted."""
    if one is None:
        return None
    count = sum(s > score for s in one["dtScores"])
    return {
        **one,
        "dtScores": one["dtScores"][:count],
        "dtMatches": one["dtMatches"][:, :count],
        "dtIgnore": one["dtIgnore"][:, :count],
    }
