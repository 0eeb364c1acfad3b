"""How well a detector finds the objects of new scenes, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from detattack.scenes.scene import render
from detattack.scenes.seeds import scene_seed
from detattack.scenes.types import CATEGORIES, Scene

__all__ = ["Quality", "evaluate_network"]

SMALL = 32**2  # pixels of box area
HIDDEN = 0.9  # visibility below this counts as partly hidden


@dataclass(frozen=True)
class Quality:
    """COCO metrics in [0,1]. `ap50_clear` ignores objects below 32^2 px and those less than half visible."""

    scenes: int
    objects: int
    ap: float
    ap50: float
    ap50_clear: float
    small_share: float
    hidden_share: float
    ap_by_class: dict[str, float]


def evaluate_network(
    network: nn.Module,
    n: int = 500,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
    first_label: int = 0,
) -> Quality:
    """Render scenes 1..n of the data set `seed` and score the detections of `network` (put in eval mode).

    first_label: of category 0 in what it returns.
    """
    network.eval()
    images: list[dict] = []
    truths: list[dict] = []
    found: list[dict] = []
    visible: list[float] = []
    for i in range(1, n + 1):
        scene = render(scene_seed(seed, i))
        images.append({"id": i, "width": scene.image.shape[1], "height": scene.image.shape[0]})
        truths += _truths(scene, i, len(truths))
        visible += scene.visibility.tolist()
        found += _detections(network, scene, i, first_label)
        if progress:
            progress(i, n)
    areas = np.array([t["area"] for t in truths])
    shown = np.array(visible)
    ap, ap50, by_class = _score(images, truths, found, 0.0)
    for truth, share in zip(truths, visible, strict=True):
        truth["area"] *= share >= 0.5  # pycocotools ignores what lies outside of the range of areas
    return Quality(
        scenes=n,
        objects=len(truths),
        ap=ap,
        ap50=ap50,
        ap50_clear=_score(images, truths, found, SMALL)[1],
        small_share=float((areas < SMALL).mean()) if len(areas) else 0.0,
        hidden_share=float((shown < HIDDEN).mean()) if len(shown) else 0.0,
        ap_by_class=by_class,
    )


def _corner_box(box: np.ndarray) -> list[float]:
    return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]


def _truths(scene: Scene, image: int, first: int) -> list[dict]:
    records = []
    for k, (box, label) in enumerate(zip(scene.boxes, scene.labels, strict=True)):
        x, y, w, h = _corner_box(box)
        category = CATEGORIES[label].coco_id
        records.append(
            {
                "id": first + k + 1,
                "image_id": image,
                "category_id": category,
                "bbox": [x, y, w, h],
                "area": w * h,
                "iscrowd": 0,
            }
        )
    return records


@torch.no_grad()
def _detections(network: nn.Module, scene: Scene, image: int, first_label: int) -> list[dict]:
    dtype = next(network.parameters()).dtype
    picture = torch.from_numpy(scene.image).permute(2, 0, 1).to(dtype) / 255
    result = network([picture])[0]
    return [
        {
            "image_id": image,
            "category_id": CATEGORIES[label - first_label].coco_id,
            "bbox": _corner_box(box),
            "score": float(score),
        }
        for box, label, score in zip(result["boxes"].numpy(), result["labels"].tolist(), result["scores"], strict=True)
    ]


def _score(
    images: list[dict], truths: list[dict], found: list[dict], smallest: float
) -> tuple[float, float, dict[str, float]]:
    """AP, AP50 and AP by class over objects of at least `smallest` px; 0 where nothing was detected."""
    names = [category.name for category in CATEGORIES]
    if not found or not truths:  # pycocotools cannot load an empty result
        return 0.0, 0.0, dict.fromkeys(names, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        categories = [{"id": c.coco_id, "name": c.name} for c in CATEGORIES]
        coco.dataset = {"info": {}, "images": images, "annotations": truths, "categories": categories}
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes([dict(d) for d in found]), "bbox")
        judge.params.areaRng, judge.params.areaRngLbl = [[smallest, 1e10]], ["all"]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, -1]  # [IoU, recall, class]; -1 where a class has no object
    classes = {name: _mean(precision[:, :, k]) for k, name in enumerate(names)}
    return _mean(precision), _mean(precision[0]), classes


def _mean(precision: np.ndarray) -> float:
    valid = precision[precision > -1]
    return float(valid.mean()) if valid.size else 0.0
