"""AP of a sample of images: the same as of a data set in which these images are there as often."""

import numpy as np
import pytest

from detattack.metrics.coco import GroundTruth, ResampledAP, evaluate

CATEGORIES = [{"id": 1, "name": "car"}, {"id": 4, "name": "dog"}]


def data(images: int = 6):
    """Objects and detections of images: some right, some of another class, some off their place."""
    rng = np.random.default_rng(0)
    annotations, results = [], []
    for image in range(1, images + 1):
        for _ in range(int(rng.integers(0, 4))):
            x, y = rng.uniform(0, 100, 2).tolist()
            category = int(rng.choice([1, 4]))
            annotations.append({"image_id": image, "category_id": category, "bbox": [x, y, 30, 30]})
            off, said = rng.uniform(0, 12), category if rng.random() < 0.8 else 1
            score = float(rng.random())
            results.append({"image_id": image, "category_id": said, "bbox": [x + off, y, 30, 30], "score": score})
    return annotations, results


@pytest.mark.parametrize("sample", [(0, 1, 2, 3, 4, 5), (0, 0, 2, 5, 5, 5), (3, 3, 3, 3, 3, 1)])
def test_equals_the_ap_of_images_that_are_there_several_times(sample):
    annotations, results = data()
    table = ResampledAP(GroundTruth(annotations, CATEGORIES, range(1, 7)), results)
    assert table.images == [1, 2, 3, 4, 5, 6]
    copied = [
        [
            {**one, "image_id": 100 + number}
            for number, place in enumerate(sample)
            for one in some
            if one["image_id"] == table.images[place]
        ]
        for some in (annotations, results)
    ]
    expected = evaluate(copied[0], CATEGORIES, copied[1], [100 + number for number in range(6)])
    assert table.of(np.array(sample)) == pytest.approx(expected.ap, abs=1e-12)
