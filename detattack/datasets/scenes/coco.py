"""Scenes as a COCO data set: a folder of PNG files and `instances.json`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as rle

from detattack.core.files import write_bytes_atomic, write_text_atomic
from detattack.datasets.scenes.scene import render
from detattack.datasets.scenes.seeds import scene_seed
from detattack.datasets.scenes.types import CATEGORIES, Scene

__all__ = ["write_coco"]


def write_coco(
    out: Path,
    n: int,
    seed: int = 0,
    width: int = 480,
    height: int = 320,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render scenes 1..n of a data set and return the path of the annotations.

    - out: the folder; gets `images/%06d.png` (the image id) and then `instances.json`
    - n: how many scenes
    - seed: of the data set; image i has the seed `scene_seed(seed, i)`
    - width, height: in pixels
    - progress: called with (done, n) after each picture

    The same arguments give the same bytes. Segmentations are run lengths of the visible pixels; each annotation also
    has a `visibility` (see `Scene`). Raises ValueError for n < 1.
    """
    if n < 1:
        raise ValueError(f"a data set needs at least one scene, not {n}")
    out = Path(out)
    (out / "images").mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i in range(1, n + 1):
        scene = render(scene_seed(seed, i), width, height)
        name = f"{i:06d}.png"
        write_bytes_atomic(out / "images" / name, _png(scene.image))
        size = {"width": width, "height": height}
        facts = {"license": 1, "seed": scene_seed(seed, i), "weather": scene.weather}
        images.append({"id": i, "file_name": name, **size, **facts})
        annotations += annotate(scene, i, len(annotations) + 1)
        if progress:
            progress(i, n)
    path = out / "instances.json"
    write_text_atomic(path, json.dumps(_data_set(images, annotations, seed), indent=1))
    return path


def annotate(scene: Scene, image_id: int, first_id: int = 1) -> list[dict[str, Any]]:
    """Return COCO annotations of a scene, numbered from `first_id`; `area` is the number of visible pixels."""
    records = []
    for k, mask in enumerate(scene.masks):
        x0, y0, x1, y1 = scene.boxes[k].tolist()
        encoded = rle.encode(np.asfortranarray(mask, np.uint8))
        records.append(
            {
                "id": first_id + k,
                "image_id": image_id,
                "category_id": CATEGORIES[scene.labels[k]].coco_id,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": int(mask.sum()),
                "segmentation": {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")},
                "iscrowd": 0,
                "visibility": round(float(scene.visibility[k]), 4),
            }
        )
    return records


def _png(image: np.ndarray) -> bytes:
    done, data = cv2.imencode(".png", image[..., ::-1])
    if not done:
        raise RuntimeError("OpenCV could not encode a PNG")
    return data.tobytes()


def _data_set(images: list[dict[str, Any]], annotations: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    return {
        "info": {"description": "detattack rendered street scenes", "version": "1.0", "seed": seed},
        "licenses": [{"id": 1, "name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": c.coco_id, "name": c.name, "supercategory": c.supercategory} for c in CATEGORIES],
    }
