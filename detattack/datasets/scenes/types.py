"""The types of a rendered scene, and the eight classes of object in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detattack.core.wording import counted
from detattack.datasets.scenes.camera import Camera

__all__ = ["CATEGORIES", "Scene", "SceneCategory"]


@dataclass(frozen=True)
class SceneCategory:
    """A class of object: its COCO name, its COCO id (sparse, 1..90) and its supercategory."""

    name: str
    coco_id: int
    supercategory: str


CATEGORIES: tuple[SceneCategory, ...] = (
    SceneCategory("person", 1, "person"),
    SceneCategory("bicycle", 2, "vehicle"),
    SceneCategory("car", 3, "vehicle"),
    SceneCategory("motorcycle", 4, "vehicle"),
    SceneCategory("bus", 6, "vehicle"),
    SceneCategory("truck", 8, "vehicle"),
    SceneCategory("traffic light", 10, "outdoor"),
    SceneCategory("stop sign", 13, "outdoor"),
)


@dataclass(frozen=True, repr=False)
class Scene:
    """A picture and its ground truth: M >= 0 objects, from the nearest to the farthest.

    - image: uint8 [H,W,3], RGB
    - boxes: float32 [M,4], xyxy in pixels, around the visible pixels and tight to a pixel
    - labels: int64 [M], indices into `CATEGORIES`
    - visibility: float32 [M], the visible share of the object's whole silhouette, inside and outside of the frame
    - masks: bool [M,H,W], the visible pixels; no pixel belongs to two objects
    - road: bool [H,W], road surface with nothing in front of it
    - camera: how the street projects onto the image
    - weather: "day", "dusk", "night" or "fog"
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    visibility: np.ndarray
    masks: np.ndarray
    road: np.ndarray
    camera: Camera
    weather: str

    def __repr__(self) -> str:
        return (
            f"Scene({self.image.shape[1]}×{self.image.shape[0]}, {counted(len(self.labels), 'object')}, {self.weather})"
        )
