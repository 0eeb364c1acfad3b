"""COCO's figures, against pycocotools called directly on the same detections."""

import contextlib
import io
import signal

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detattack.metrics.coco import GroundTruth, PrecisionTable, evaluate, mean_ap

CATEGORIES = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}, {"id": 90, "name": "toothbrush"}]
IMAGES = list(range(1, 13))


def truth(seed=0):
    """Annotations of persons and cars, of all sizes, some of them crowds; numbered from 1; no toothbrush."""
    rng = np.random.default_rng(seed)
    found = []
    for image in IMAGES[:-1]:  # the last one is empty
        for _ in range(6):
            x, y = rng.uniform(0, 300, 2)
            w, h = rng.uniform(5, 200, 2)
            values = {"bbox": [x, y, w, h], "area": 0.7 * w * h, "iscrowd": int(rng.random() < 0.1)}
            category = int(rng.choice([1, 3]))
            found.append({"id": len(found) + 1, "image_id": image, "category_id": category, **values})
    return found


def detections(annotations, seed=1, spread=10.0):
    """Boxes near those of the truth, and some that are wrong."""
    rng = np.random.default_rng(seed)
    found = []
    for a in annotations:
        box = np.array(a["bbox"]) + rng.normal(0, spread, 4)
        category = a["category_id"] if rng.random() < 0.8 else 3
        box[2:] = box[2:].clip(1)
        score = float(rng.uniform(0.05, 1))
        found.append({"image_id": a["image_id"], "category_id": category, "bbox": box.tolist(), "score": score})
    return found


def directly(annotations, results, images, categories):
    """What pycocotools itself says: its twelve figures, and its precision."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": [{"id": i} for i in IMAGES], "annotations": annotations, "categories": CATEGORIES}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.params.imgIds, evaluation.params.catIds = images, categories
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats, evaluation.eval["precision"]


@pytest.mark.parametrize("images", [IMAGES, IMAGES[3:7]])
def test_the_twelve_figures_are_those_of_pycocotools(images, capsys):
    annotations = truth()
    results = detections(annotations)
    found = evaluate(annotations, CATEGORIES, results, images)
    expected, precision = directly(annotations, results, images, [1, 3, 90])
    assert list(found.figures().values()) == pytest.approx(expected.tolist(), abs=1e-6)
    assert list(found.figures()) == (
        [
            "ap",
            "ap50",
            "ap75",
            "ap_small",
            "ap_medium",
            "ap_large",
            "ar1",
            "ar10",
            "ar100",
            "ar_small",
            "ar_medium",
            "ar_large",
        ]
    )
    assert 0.05 < found.ap < 0.95
    assert found.per_category["car"].ap == pytest.approx(precision[:, :, 1, 0, -1].mean(), abs=1e-6)
    assert found.per_category["car"].ap50 == pytest.approx(precision[0, :, 1, 0, -1].mean(), abs=1e-6)
    assert found.per_category["toothbrush"].ap is None
    assert capsys.readouterr().out == ""


def test_perfect_detections_score_1():
    annotations = [{**a, "iscrowd": 0} for a in truth()]
    results = [{k: a[k] for k in ("image_id", "category_id", "bbox")} | {"score": 0.9} for a in annotations]
    assert evaluate(annotations, CATEGORIES, results, IMAGES).ap == pytest.approx(1)


def test_no_detection_scores_0_and_what_is_not_there_is_not_scored():
    found = evaluate(truth(), CATEGORIES, [], IMAGES)
    assert (found.ap, found.ap50, found.ar100) == (0, 0, 0)
    assert (found.per_category["car"].ap, found.per_category["car"].ap50) == (0, 0)
    assert found.per_category["toothbrush"].ap is None


def test_no_annotation_scores_nothing():
    found = evaluate([], CATEGORIES, detections(truth()), IMAGES)
    assert set(found.figures().values()) == {None}
    assert evaluate(truth(), CATEGORIES, [], []).ap is None
    assert evaluate(truth(), CATEGORIES, [], IMAGES, category_ids=()).ap is None


def test_other_images_and_categories_do_not_count():
    annotations = truth()
    results = detections(annotations)
    found = evaluate(annotations, CATEGORIES, results, IMAGES[:5], category_ids={3})
    only = [a for a in annotations if a["image_id"] in IMAGES[:5] and a["category_id"] == 3]
    expected, _ = directly(only, [r for r in results if r["category_id"] == 3], IMAGES[:5], [3])
    assert list(found.figures().values()) == pytest.approx([None if v < 0 else v for v in expected], abs=1e-6)
    assert list(found.per_category) == ["car"]


def test_an_annotation_numbered_0_counts_like_any_other():
    """pycocotools takes a match with the annotation 0 for no match."""
    annotations = [{**a, "iscrowd": 0} for a in truth()]
    results = [{k: a[k] for k in ("image_id", "category_id", "bbox")} | {"score": 0.9} for a in annotations]
    numbered = [{**a, "id": a["id"] - 1} for a in annotations]
    assert evaluate(numbered, CATEGORIES, results, IMAGES).ap == pytest.approx(1)


def test_mixtures_of_clean_and_attacked_images():
    annotations = truth()
    clean = detections(annotations, spread=3)
    attacked = [r for r in detections(annotations, seed=5, spread=30) if r["score"] > 0.5]
    chosen = [set(), set(IMAGES[:6]), set(IMAGES)]
    precision = PrecisionTable(GroundTruth(annotations, CATEGORIES, IMAGES), clean, attacked)
    found = [mean_ap(precision.of(some)) for some in chosen]
    mixed = [r for r in clean if r["image_id"] not in chosen[1]] + [r for r in attacked if r["image_id"] in chosen[1]]
    expected = [evaluate(annotations, CATEGORIES, results, IMAGES).ap for results in (clean, mixed, attacked)]
    assert found == pytest.approx(expected, abs=1e-6)
    assert found[0] > found[1] > found[2]


def test_ctrl_c_that_pycocotools_swallows_is_not_a_figure(monkeypatch):
    """Its `accumulate` goes on whatever is raised where precision is read off, and leaves zeros."""
    searched, handler = np.searchsorted, signal.signal(signal.SIGINT, signal.default_int_handler)

    class Interrupted(list):
        def __iter__(self):
            signal.raise_signal(signal.SIGINT)
            return super().__iter__()

    monkeypatch.setattr("pycocotools.cocoeval.np.searchsorted", lambda *a, **k: Interrupted(searched(*a, **k).tolist()))
    annotations = truth()
    try:
        with pytest.raises(KeyboardInterrupt):
            evaluate(annotations, CATEGORIES, detections(annotations), IMAGES)
    finally:
        signal.signal(signal.SIGINT, handler)
