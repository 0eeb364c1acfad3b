"""Boxes on free road."""

import numpy as np

from detattack.datasets.scenes import Scene, free_road_box, render


def iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = sides.clip(0).prod(-1)
    return shared / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(-1) - shared)


def test_free_road_boxes_are_where_a_car_could_stand(scenes: list[Scene]):
    found = 0
    for number, scene in enumerate(scenes):
        box = free_road_box(scene, np.random.default_rng(number))
        if box is None:
            continue
        found += 1
        again = free_road_box(scene, np.random.default_rng(number))
        assert box.dtype == np.float32
        assert np.array_equal(box, again)
        x0, y0, x1, y1 = box
        assert 0 <= x0 < x1 <= 480
        assert 0 <= y0 < y1 <= 320
        assert 39.9 <= x1 - x0 <= 120.1
        assert 0.7 <= (y1 - y0) / (x1 - x0) <= 0.95
        assert (iou(box, scene.boxes) < 0.1).all()
        assert scene.road[round(float(y1)) - 2, round(float(x0)) : round(float(x1))].all()
        # A car 1.8 m wide at the depth of the lower edge is as wide as the box.
        depth = scene.camera.ground_depth(float(y1))
        assert abs(scene.camera.focal * 1.8 / depth - (x1 - x0)) < 0.01 * (x1 - x0)
    assert found >= 0.5 * len(scenes)


def test_there_is_no_box_without_road():
    scene = render(0)
    blocked = Scene(**{**vars(scene), "road": np.zeros_like(scene.road)})
    assert free_road_box(blocked, np.random.default_rng(0)) is None
