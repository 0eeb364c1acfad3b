"""Score a network on newly rendered scenes by pycocotools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from detattack.datasets.scenes.scene import render
from detattack.datasets.scenes.seeds import scene_seed
from detattack.datasets.scenes.types import CATEGORIES, Scene
from detattack.metrics.coco import ANY_AREA, GroundTruth, evaluate, mean_ap

__all__ = ["Quality", "evaluate_network"]

SMALL = 32**2  # pixels of box area
HIDDEN = 0.9  # visibility below this counts as partly hidden


@dataclass(frozen=True)
class Quality:
    """COCO metrics in [0,1], 0 where there is nothing to score.

    `ap50_clear` ignores objects below 32^2 px and those less than half visible.
    """

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
    truths: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    visible: list[float] = []
    for i in range(1, n + 1):
        scene = render(scene_seed(seed, i))
        truths += _truths(scene, i, len(truths))
        visible += scene.visibility.tolist()
        found += _detections(network, scene, i, first_label)
        if progress:
            progress(i, n)
    areas = np.array([t["area"] for t in truths])
    shown = np.array(visible)
    categories, image_ids = [{"id": c.coco_id, "name": c.name} for c in CATEGORIES], range(1, n + 1)
    whole = evaluate(truths, categories, found, image_ids)
    for truth, share in zip(truths, visible, strict=True):
        truth["area"] *= share >= 0.5  # pycocotools ignores what lies outside of the range of areas
    clear = GroundTruth(truths, categories, image_ids).precision(found, (SMALL, ANY_AREA[1]))
    return Quality(
        scenes=n,
        objects=len(truths),
        ap=whole.ap or 0.0,
        ap50=whole.ap50 or 0.0,
        ap50_clear=mean_ap(clear[0]) or 0.0,
        small_share=float((areas < SMALL).mean()) if len(areas) else 0.0,
        hidden_share=float((shown < HIDDEN).mean()) if len(shown) else 0.0,
        ap_by_class={name: one.ap or 0.0 for name, one in whole.per_category.items()},
    )


def _corner_box(box: np.ndarray) -> list[float]:
    return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]


def _truths(scene: Scene, image: int, first: int) -> list[dict[str, Any]]:
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
def _detections(network: nn.Module, scene: Scene, image: int, first_label: int) -> list[dict[str, Any]]:
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
