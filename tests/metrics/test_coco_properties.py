"""AP of any annotations and detections, against pycocotools called plainly on the same."""

import contextlib
import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detattack.metrics.coco import GroundTruth, PrecisionTable, evaluate, mean_ap

IMAGES = (0, 7, 139, 2**40)
"""Sparse ids, also 0."""
CATEGORIES = [{"id": 90, "name": "toothbrush"}, {"id": 0, "name": "person"}, {"id": 18, "name": "dog"}]
CLASSES = sorted(c["id"] for c in CATEGORIES)


@st.composite
def cases(draw, most=130):
    """Annotations and detections: many of one class, many over all, crowds, images and classes without any."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    images = draw(st.lists(st.sampled_from(IMAGES), min_size=1, unique=True))
    annotated = draw(st.lists(st.sampled_from(images), unique=True))
    classes = draw(st.lists(st.sampled_from(CLASSES), min_size=1, unique=True))
    crowds = draw(st.sampled_from((0.0, 0.3)))
    annotations = []
    for image in annotated:
        for _ in range(draw(st.integers(1, 12))):
            x, y, w, h = (*rng.uniform(0, 300, 2), *rng.uniform(4, 150, 2))
            crowd = int(rng.random() < crowds)
            row = {"bbox": [x, y, w, h], "area": rng.uniform(0.4, 1) * w * h, "iscrowd": crowd}
            annotations.append({"image_id": image, "category_id": int(rng.choice(classes)), **row})
    annotations = [{"id": 3 * i + 1, **one} for i, one in enumerate(annotations)]
    results = []
    for image in images:
        own = [a for a in annotations if a["image_id"] == image]
        for _ in range(draw(st.sampled_from((0, 3, most)))):
            if own and rng.random() < 0.5:
                near = own[rng.integers(len(own))]
                box, category = np.array(near["bbox"]) + rng.normal(0, 3, 4), near["category_id"]
            else:
                box, category = rng.uniform(1, 150, 4), int(rng.choice(classes))
            score = float(round(rng.uniform(0.01, 1), draw(st.sampled_from((1, 6)))))  # ties
            results.append({"image_id": image, "category_id": category, "bbox": box.clip(1).tolist(), "score": score})
    return images, annotations, results


def directly(images, annotations, results, most):
    """pycocotools' tables of precision and recall, which know no more than it was told."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": [{"id": i} for i in images], "annotations": annotations, "categories": CATEGORIES}
        coco.createIndex()
        found = coco.loadRes(results) if results else COCO()
        evaluation = COCOeval(coco, found, "bbox")
        evaluation.params.imgIds, evaluation.params.catIds = sorted(images), CLASSES
        evaluation.params.maxDets = [1, 10, most]
        evaluation.evaluate()
        evaluation.accumulate()
        if most == 100:
            evaluation.summarize()  # which knows no other number
    return evaluation.eval["precision"], evaluation.eval["recall"], evaluation.stats


def mean(table):
    known = table[table > -1]
    return known.mean() if known.size else None


@settings(max_examples=40, deadline=None)
@given(cases(), st.sampled_from((100, 100, 20, 300)))
@example(([7], [], []), 100)
@example(([7], [{"id": 1, "image_id": 7, "category_id": 0, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}], []), 100)
def test_every_figure_is_that_of_pycocotools(case, most):
    images, annotations, results = case
    found = evaluate(annotations, CATEGORIES, results, images, max_detections=most)
    precision, recall, stats = directly(images, annotations, results, most)
    tables = [precision[..., 0, -1], precision[0, ..., 0, -1], precision[5, ..., 0, -1]]
    tables += [precision[..., area, -1] for area in (1, 2, 3)]
    tables += [recall[..., 0, count] for count in (0, 1, 2)] + [recall[..., area, -1] for area in (1, 2, 3)]
    assert list(found.figures().values()) == pytest.approx([mean(table) for table in tables], abs=1e-12)
    if most == 100:
        known = [None if value < 0 else value for value in stats]
        assert list(found.figures().values()) == pytest.approx(known, abs=1e-12)
    for row, category in enumerate(CLASSES):
        name = next(c["name"] for c in CATEGORIES if c["id"] == category)
        one = found.per_category[name]
        ours = [one.ap, one.ap50]
        assert ours == pytest.approx([mean(precision[:, :, row, 0, -1]), mean(precision[0, :, row, 0, -1])], abs=1e-12)
    assert found.cut_images == sum(
        any(sum(r["image_id"] == i and r["category_id"] == c for r in results) > most for c in CLASSES) for i in images
    )


@settings(max_examples=15, deadline=None)
@given(cases(), cases(), st.sets(st.sampled_from(IMAGES)), st.sampled_from((None, 0.0, 0.3, 0.7)))
def test_every_mixture_is_that_of_pycocotools(case, other, attacked, above):
    images, annotations, clean = case
    adversarial = [row for row in other[2] if row["image_id"] in images]
    precision = PrecisionTable(GroundTruth(annotations, CATEGORIES, images), clean, adversarial)
    for chosen in (attacked, False, True):
        hit = set(images) if chosen is True else chosen or set()
        mixed = [r for r in clean if r["image_id"] not in hit] + [r for r in adversarial if r["image_id"] in hit]
        mixed = [r for r in mixed if above is None or r["score"] > above]
        expected = directly(images, annotations, mixed, 100)[0][..., 0, -1]
        np.testing.assert_allclose(precision.of(chosen, above), expected, atol=1e-12)
        assert mean_ap(precision.of(chosen, above)) == pytest.approx(mean(expected), abs=1e-12)


@pytest.mark.parametrize(("above", "precision"), [(None, 1.0), (0.0, 0.0)])
def test_a_score_of_zero_counts_unless_one_above_is_asked_for(above, precision):
    row = {"image_id": 7, "category_id": 18, "bbox": [0, 0, 9, 9]}
    table = PrecisionTable(GroundTruth([{"id": 1, **row, "area": 81}], CATEGORIES, [7]), [], [{**row, "score": 0.0}])
    assert mean_ap(table.of(True, above)) == pytest.approx(precision)


def test_150_perfect_detections_of_a_class():
    boxes = [[20 * (i % 15), 20 * (i // 15), 16, 16] for i in range(150)]
    common = {"image_id": 7, "category_id": 18}
    annotations = [{"id": i + 1, **common, "bbox": b, "area": 256, "iscrowd": 0} for i, b in enumerate(boxes)]
    results = [{**common, "bbox": b, "score": 0.9} for b in boxes]
    counted = [evaluate(annotations, CATEGORIES, results, [7], max_detections=most) for most in (10, 100, 149, 150)]
    assert counted[1].ap == pytest.approx(67 / 101)  # recall goes up to 100/150
    assert [one.cut_images for one in counted] == [1, 1, 1, 0]
    assert counted[3].ap == pytest.approx(1)
    assert all(one.ap < other.ap for one, other in pairwise(counted))


def test_150_detections_over_all_classes_are_all_counted():
    boxes = [[20 * (i % 15), 20 * (i // 15), 16, 16] for i in range(150)]
    rows = [{"image_id": 7, "category_id": CLASSES[i % 3], "bbox": b} for i, b in enumerate(boxes)]
    annotations = [{"id": i + 1, **row, "area": 256, "iscrowd": 0} for i, row in enumerate(rows)]
    found = evaluate(annotations, CATEGORIES, [{**row, "score": 0.9} for row in rows], [7])
    assert (found.ap, found.cut_images) == (pytest.approx(1), 0)
