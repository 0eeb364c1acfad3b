"""COCO's average precision of a run, of any mixture of clean and attacked images, and from any score on.

pycocotools matches detections with annotations once for the clean and once for the adversarial images. A match
does not depend on lower scores or on other images, so that every point of a curve is only added up again, by
pycocotools' own `accumulate`.
"""

import contextlib
import copy
import io
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

ANY_AREA = [0, 1e10]


class Precision:
    """Precision of a run against its annotations.

    truth: a COCO data set; clean, adversarial: results for its images. images: ids of those that count. names:
    of the classes that the detector knows; others do not count. Raises KeyError, TypeError or ValueError for what
    is not in COCO's formats.
    """

    def __init__(
        self,
        truth: dict[str, Any],
        clean: list[dict[str, Any]],
        adversarial: list[dict[str, Any]],
        images: Collection[int],
        names: Collection[str],
    ):
        classes = {c["id"] for c in truth["categories"] if c["name"] in names}
        kept = [a for a in truth["annotations"] if a["image_id"] in images and a["category_id"] in classes]
        truth = {"images": [{"id": i} for i in images], "categories": truth["categories"], "annotations": kept}
        with contextlib.redirect_stdout(io.StringIO()):
            annotations = _indexed(truth, truth["annotations"])
            self._evaluator, self._clean = _evaluated(annotations, truth, clean)
            _, self._adversarial = _evaluated(annotations, truth, adversarial)
        by_id = {c["id"]: str(c["name"]) for c in truth["categories"]}
        self.names = [by_id[i] for i in self._evaluator.params.catIds]

    def of(self, attacked: Collection[int] | bool, above: float = 0.0) -> NDArray[np.float64]:
        """Precision `[10 IoUs, 101 recalls, classes]` (−1: no annotation), detections with a score above `above`.

        attacked: ids of the images that count as attacked, the others being clean; True: all, False: none.
        """
        clean, adversarial = self._clean, self._adversarial
        if isinstance(attacked, bool):
            chosen = adversarial if attacked else clean
        else:
            # pycocotools' order: class by class, and in each the images by id; None has no id to ask for.
            which = [i in attacked for i in self._evaluator.params.imgIds] * len(self._evaluator.params.catIds)
            chosen = [a if hit else c for hit, c, a in zip(which, clean, adversarial, strict=True)]
        self._evaluator.evalImgs = [_above(one, above) for one in chosen] if above > 0 else chosen
        with contextlib.redirect_stdout(io.StringIO()):
            self._evaluator.accumulate()
        return self._evaluator.eval["precision"][:, :, :, 0, 0]


def mean_ap(precision: NDArray[np.float64]) -> float | None:
    """COCO's AP, the mean over IoU 0.5 to 0.95, recalls and classes; None where nothing is annotated."""
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None


def curve(precision: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Recall and precision at IoU 0.5, the mean over the classes that have annotations."""
    known = precision[0][:, (precision[0] > -1).all(axis=0)]
    return np.linspace(0, 1, 101).tolist(), known.mean(axis=1).tolist() if known.size else [0.0] * 101


def _indexed(truth: dict[str, Any], annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    # Numbered from 1: pycocotools takes a match with the annotation 0 for no match.
    whole = [
        {"iscrowd": 0, "area": a["bbox"][2] * a["bbox"][3], **a, "id": i, "segmentation": []}
        for i, a in enumerate(annotations, 1)
    ]
    coco.dataset = {"images": truth["images"], "categories": truth["categories"], "annotations": whole}
    coco.createIndex()
    return coco


def _evaluated(annotations: COCO, truth: dict[str, Any], results: list[dict[str, Any]]) -> tuple[COCOeval, list]:
    images = {image["id"] for image in truth["images"]}
    # Not `loadRes`, which refuses an empty list: an attack that leaves no detection is a result.
    found = [row for row in results if row["image_id"] in images]
    evaluator = COCOeval(copy.deepcopy(annotations), _indexed(truth, found), "bbox")
    evaluator.params.catIds = sorted({a["category_id"] for a in truth["annotations"]})
    evaluator.params.areaRng, evaluator.params.areaRngLbl = [ANY_AREA], ["all"]
    evaluator.params.maxDets = [100]
    evaluator.evaluate()
    return evaluator, evaluator.evalImgs


def _above(one: dict[str, Any] | None, score: float) -> dict[str, Any] | None:
    """An image's matches of one class, without the detections up to a score; they are sorted by it."""
    if one is None:
        return None
    count = sum(s > score for s in one["dtScores"])
    return {
        **one,
        "dtScores": one["dtScores"][:count],
        "dtMatches": one["dtMatches"][:, :count],
        "dtIgnore": one["dtIgnore"][:, :count],
    }
