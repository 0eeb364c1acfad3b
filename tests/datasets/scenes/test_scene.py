"""The renderer: the same bytes each time, and a truth that fits the picture."""

import hashlib
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from detattack.datasets.scenes import CATEGORIES, Scene, render
from detattack.datasets.scenes.scene import MIN_HEIGHT, MIN_VISIBILITY

NAMES = [category.name for category in CATEGORIES]


def digest(scene: Scene) -> str:
    parts = (scene.image, scene.boxes, scene.labels, scene.visibility, scene.masks, scene.road)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def test_a_scene_is_the_same_each_time_whatever_the_global_state():
    np.random.seed(1)
    first = digest(render(42))
    np.random.seed(2)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        assert digest(render(42)) == first
    finally:
        cv2.setNumThreads(threads)
    assert digest(render(43)) != first


def test_another_process_draws_the_same_and_needs_no_torch():
    code = (
        "import sys, hashlib; from detattack.datasets.scenes import render; s = render(42, 200, 150);"
        "assert 'torch' not in sys.modules; print(hashlib.sha256(s.image.tobytes()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "5"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == hashlib.sha256(render(42, 200, 150).image.tobytes()).hexdigest()


@pytest.mark.parametrize(("width", "height"), [(128, 128), (131, 257), (640, 130), (333, 500)])
def test_any_size_from_128_pixels_up(width: int, height: int):
    for seed in range(3):
        scene = render(seed, width, height)
        assert scene.image.shape == (height, width, 3)
        assert scene.image.dtype == np.uint8
        assert scene.road.shape == (height, width)
        assert scene.masks.shape == (len(scene.labels), height, width)
        assert scene.image.std() > 5


@pytest.mark.parametrize(("width", "height"), [(127, 320), (480, 0)])
def test_smaller_sizes_are_refused(width: int, height: int):
    with pytest.raises(ValueError, match="at least 128"):
        render(0, width, height)


def test_dtypes_and_ranges(scenes: list[Scene]):
    for scene in scenes:
        assert (scene.boxes.dtype, scene.labels.dtype) == (np.float32, np.int64)
        assert (scene.visibility.dtype, scene.masks.dtype, scene.road.dtype) == (np.float32, bool, bool)
        assert len(scene.boxes) == len(scene.labels) == len(scene.visibility) == len(scene.masks)
        assert ((scene.labels >= 0) & (scene.labels < len(CATEGORIES))).all()
        assert ((scene.visibility >= MIN_VISIBILITY) & (scene.visibility <= 1)).all()


def test_boxes_are_tight_around_the_visible_pixels(scenes: list[Scene]):
    for scene in scenes:
        for box, mask in zip(scene.boxes, scene.masks, strict=True):
            ys, xs = np.nonzero(mask)
            assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            assert box[3] - box[1] >= MIN_HEIGHT


def test_no_pixel_has_two_owners_and_road_has_none(scenes: list[Scene]):
    for scene in scenes:
        owners = scene.masks.sum(0)
        assert owners.max(initial=0) <= 1
        assert not (scene.road & (owners > 0)).any()


def test_masks_lie_on_the_painted_objects(scenes: list[Scene]):
    """Stop signs are red inside their masks and not around them; traffic lights are dark or yellow."""
    found = 0
    for scene in scenes:
        for k in np.flatnonzero(scene.labels == NAMES.index("stop sign")):
            if scene.weather == "day" and scene.masks[k].sum() > 200:
                around = cv2.dilate(scene.masks[k].astype(np.uint8), np.ones((13, 13))) > scene.masks[k]
                red = scene.image[..., 0].astype(float) - scene.image[..., 1]
                assert red[scene.masks[k]].mean() > red[around].mean() + 40
                found += 1
    assert found >= 5


def test_visibility_sees_what_the_frame_cuts_off(scenes: list[Scene]):
    cut, whole = [], []
    for scene in scenes:
        height, width = scene.road.shape
        touches = (scene.boxes[:, :2] <= 0).any(-1) | (scene.boxes[:, 2:] >= (width, height)).any(-1)
        cut += scene.visibility[touches].tolist()
        whole += scene.visibility[~touches].tolist()
    assert np.mean(cut) < 0.85 < np.mean(whole)
    assert max(cut) > 0.9
    assert max(whole) == 1


def test_what_the_data_hold(scenes: list[Scene]):
    counts = np.array([len(scene.labels) for scene in scenes])
    boxes = np.concatenate([scene.boxes for scene in scenes])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    assert 4 <= counts.mean() <= 8
    assert (counts <= 2).any()
    assert (areas < 32**2).mean() >= 0.3
    assert (np.concatenate([scene.visibility for scene in scenes]) < 0.9).mean() >= 0.2
    assert np.mean([NAMES.index("car") in scene.labels for scene in scenes]) >= 0.6
    share = np.bincount(np.concatenate([scene.labels for scene in scenes]), minlength=8) / counts.sum()
    assert (share >= 0.02).all()
    assert {scene.weather for scene in scenes} == {"day", "dusk", "night", "fog"}


def test_nights_are_dark(scenes: list[Scene]):
    light = {name: [s.image.mean() for s in scenes if s.weather == name] for name in ("day", "night")}
    assert np.mean(light["night"]) < 0.6 * np.mean(light["day"])


def test_categories_are_cocos():
    assert {c.name: c.coco_id for c in CATEGORIES} == {
        "person": 1,
        "bicycle": 2,
        "car": 3,
        "motorcycle": 4,
        "bus": 6,
        "truck": 8,
        "traffic light": 10,
        "stop sign": 13,
    }
