"""torchvision's detectors by name: with its own weights, a file's, or random ones; for COCO's classes or a user's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detattack.core.errors import InputError
from detattack.core.types import Category
from detattack.core.wording import counted
from detattack.detectors.parts.head_columns import UNNAMED
from detattack.detectors.parts.random_weights import calibrate, noise
from detattack.detectors.torchvision.base import TorchvisionDetector
from detattack.detectors.torchvision.one_stage import TorchvisionFCOS, TorchvisionRetinaNet, TorchvisionSSD
from detattack.detectors.torchvision.two_stage import TorchvisionFasterRCNN
from detattack.detectors.weights import (
    COUNTER,
    NO_WEIGHTS,
    check_own_weights,
    downloaded,
    fit_weights,
    read_weights,
    seeded,
)

PREFIX = "torchvision/"
HEADS = ("cls_logits", "cls_score", "bbox_reg", "bbox_pred", "bbox_ctrness")
"""What torchvision calls the last layers of its heads."""


@dataclass(frozen=True)
class Architecture:
    """One of torchvision's detectors.

    - weights: Name of its weights in torchvision.
    - adapter: Our adapter.
    - key: Tensor of a state dict whose first axis has `rows` times the number of head columns.
    - rows: See `key`.
    """

    weights: str
    adapter: type[TorchvisionDetector]
    key: str
    rows: int = 1


_RETINANET = "head.classification_head.cls_logits.weight"
_TWO_STAGE = "roi_heads.box_predictor.cls_score.weight"
_SSD = "head.classification_head.module_list.0"

ARCHITECTURES = {
    "retinanet_resnet50_fpn": Architecture("RetinaNet_ResNet50_FPN_Weights", TorchvisionRetinaNet, _RETINANET, rows=9),
    "retinanet_resnet50_fpn_v2": Architecture(
        "RetinaNet_ResNet50_FPN_V2_Weights", TorchvisionRetinaNet, _RETINANET, rows=9
    ),
    "fasterrcnn_resnet50_fpn": Architecture("FasterRCNN_ResNet50_FPN_Weights", TorchvisionFasterRCNN, _TWO_STAGE),
    "fasterrcnn_resnet50_fpn_v2": Architecture("FasterRCNN_ResNet50_FPN_V2_Weights", TorchvisionFasterRCNN, _TWO_STAGE),
    "fasterrcnn_mobilenet_v3_large_fpn": Architecture(
        "FasterRCNN_MobileNet_V3_Large_FPN_Weights", TorchvisionFasterRCNN, _TWO_STAGE
    ),
    "fasterrcnn_mobilenet_v3_large_320_fpn": Architecture(
        "FasterRCNN_MobileNet_V3_Large_320_FPN_Weights", TorchvisionFasterRCNN, _TWO_STAGE
    ),
    "fcos_resnet50_fpn": Architecture("FCOS_ResNet50_FPN_Weights", TorchvisionFCOS, _RETINANET),
    "ssd300_vgg16": Architecture("SSD300_VGG16_Weights", TorchvisionSSD, f"{_SSD}.weight", rows=4),
    "ssdlite320_mobilenet_v3_large": Architecture(
        "SSDLite320_MobileNet_V3_Large_Weights", TorchvisionSSD, f"{_SSD}.1.weight", rows=6
    ),
}


def official_weights(name: str) -> Any:
    """Return torchvision's best COCO weights of an architecture, with their card."""
    from torchvision.models import detection

    return getattr(detection, ARCHITECTURES[name].weights).DEFAULT


def expected_ap(name: str) -> float:
    """Return the COCO val2017 AP in [0,1] that torchvision states for its own weights."""
    return official_weights(name).meta["_metrics"]["COCO-val2017"]["box_map"] / 100


def coco_columns(official: Any) -> list[Category | None]:
    """Return the category of each column of torchvision's own heads; official: weights of one of them."""
    return [None if n in UNNAMED else Category(n, i) for i, n in enumerate(official.meta["categories"])]


def load_torchvision(
    name: str, device: torch.device, weights: str | None, categories: Sequence[Category] | None
) -> TorchvisionDetector:
    """Load the detector `name` of `ARCHITECTURES`. Raises `InputError`.

    - name: An architecture.
    - device: Where the detector is to live.
    - weights: A file; `none` for random ones; None for torchvision's own.
    - categories: Those of a model that was trained on others than COCO's, in the order of its head's columns.
    """
    from torchvision.models import detection

    architecture, build = ARCHITECTURES[name], getattr(detection, name)
    official = official_weights(name)
    coco = coco_columns(official)
    check_own_weights(f"model {PREFIX}{name}", weights, categories)
    if weights is None:
        network = downloaded(f"model {PREFIX}{name}", lambda: build(weights=official))
        return architecture.adapter(PREFIX + name, network, coco, device, expected_ap(name))
    tensors = {} if weights == NO_WEIGHTS else read_weights(weights, [architecture.key])
    columns = _head(architecture, tensors, weights, categories, coco)
    network = seeded(lambda: build(weights=None, weights_backbone=None, num_classes=len(columns)))
    if tensors:
        fit_weights(network, tensors, weights)
        if name.endswith("resnet50_fpn") and not name.startswith("fcos") and _has_frozen_norms(tensors):
            _run_without_epsilon(network)
    else:
        classes = network.get_submodule(architecture.key.rpartition(".")[0])
        calibrate(network.eval(), lambda: _run_on_noise(network), [classes], HEADS)
    return architecture.adapter(PREFIX + name, network, columns, device)


def _head(
    architecture: Architecture,
    tensors: dict[str, Tensor],
    path: str | Path,
    categories: Sequence[Category] | None,
    coco: list[Category | None],
) -> list[Category | None]:
    """Return the category of each column of the head, as many as the weights have."""
    background = architecture.adapter.BACKGROUND
    count = len(tensors[architecture.key]) // architecture.rows if architecture.key in tensors else None
    if categories is None:
        if count is not None and count != len(coco):
            raise InputError(
                f"weights {path}: their head has {counted(count, 'column')}, not COCO's {len(coco)}; name them by "
                "--categories"
            )
        return coco
    if count is None:
        return list(categories) if background is None else [None, *categories]
    return named_columns(count, categories, background, f"weights {path}: their")


def named_columns(
    count: int, categories: Sequence[Category], background: int | None, whose: str
) -> list[Category | None]:
    """Return the category of each column of a head.

    - count: of the columns
    - categories: in the order of labels, without the background
    - background: the column that is never a detection, if the head has one
    - whose: the head is, for messages

    Raises `InputError` for more or fewer names than columns.
    """
    if count == len(categories) + 1:
        return [None, *categories]
    if count == len(categories) and background is None:
        return list(categories)
    raise InputError(
        f"{whose} head has {counted(count, 'column')}, --categories names {counted(len(categories), 'class')}"
        + ("" if background is None else " (column 0 is the background)")
    )


def _run_on_noise(network: Any) -> None:
    """Run the network on small images, which is quick."""
    transform = network.transform
    before = transform.min_size, transform.max_size
    transform.min_size, transform.max_size = (256,), 256
    network(list(noise(4, 256)))
    transform.min_size, transform.max_size = before


def _has_frozen_norms(tensors: dict[str, Tensor]) -> bool:
    return not any(key.endswith(COUNTER) for key in tensors)


def _run_without_epsilon(network: nn.Module) -> None:
    """Set ε of batch norms to 0, as torchvision does for its first COCO checkpoints, whose norms are frozen."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
