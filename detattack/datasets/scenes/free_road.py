"""Free road: places for objects that an attack makes a detector see."""

from __future__ import annotations

import numpy as np

from detattack.datasets.scenes.types import Scene
from detattack.datasets.scenes.vehicles import CAR

__all__ = ["free_road_box"]


def free_road_box(scene: Scene, rng: np.random.Generator) -> np.ndarray | None:
    """Return a box float32 [4] (xyxy) where a car could stand, touching no object; None if none is found.

    Its width and height are a car's at the depth of its lower edge, which lies on free road; 40 to 120
    pixels wide in a picture 480 pixels wide.
    """
    camera, (height, width) = scene.camera, scene.road.shape
    for _ in range(200):
        wide = rng.uniform(40, 120) * width / 480
        depth = camera.focal * CAR[1] / wide
        bottom = camera.horizon + camera.focal * camera.eye / depth
        top = bottom - wide * rng.uniform(0.78, 0.9)
        left = rng.uniform(0, width - wide)
        box = np.array((left, top, left + wide, bottom), np.float32)
        if top < 0 or bottom > height or not _on_road(scene.road, box):
            continue
        overlap = np.minimum(scene.boxes[:, 2:], box[2:]) - np.maximum(scene.boxes[:, :2], box[:2])
        if not (overlap > 0).all(-1).any():
            return box
    return None


def _on_road(road: np.ndarray, box: np.ndarray) -> bool:
    """Return whether the lowest tenth of the box is nothing but free road."""
    left, top, right, bottom = (int(v) for v in np.rint(box))
    strip = road[bottom - max(2, (bottom - top) // 10) : bottom, left:right]
    return bool(strip.size and strip.all())
