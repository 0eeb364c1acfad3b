"""Rendered street scenes in COCO format, and the compact detector that is trained on them.

The renderer needs numpy and OpenCV only; torch is imported by `network`, `train` and `evaluate` alone.
"""

from detattack.datasets.scenes.coco import write_coco
from detattack.datasets.scenes.free_road import free_road_box
from detattack.datasets.scenes.scene import render
from detattack.datasets.scenes.seeds import scene_seed
from detattack.datasets.scenes.types import CATEGORIES, Scene, SceneCategory

__all__ = ["CATEGORIES", "Scene", "SceneCategory", "free_road_box", "render", "scene_seed", "write_coco"]
