"""Rendered street scenes in COCO format. The renderer needs NumPy and OpenCV only, no torch.

To read it in order: `types` (what a scene is), `scene` (how one is rendered), `layout` and `backdrop` (what is in it),
`people`, `vehicles` and `solid` (how objects are drawn), `paint`, `camera` and `weather` (how they become pixels),
`coco` (the data set on disk), `free_road` and `seeds`. The embedded detectors (`detectors/demo`) are trained on them.
"""

from detattack.datasets.scenes.coco import write_coco
from detattack.datasets.scenes.free_road import free_road_box
from detattack.datasets.scenes.scene import render
from detattack.datasets.scenes.seeds import scene_seed
from detattack.datasets.scenes.types import CATEGORIES, Scene, SceneCategory

__all__ = ["CATEGORIES", "Scene", "SceneCategory", "free_road_box", "render", "scene_seed", "write_coco"]
