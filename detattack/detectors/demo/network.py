"""The compact detectors that ship with the package: one small backbone under torchvision's heads, and a small DETR.

Everything around the backbone (resizing, anchors, matching, losses, decoding, NMS) is torchvision's, so an adapter
written for its detectors also drives these. Columns stand for `CATEGORIES` in that order, after a background column
where the head has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.ssd import SSD, SSDHead
from torchvision.ops import MultiScaleRoIAlign

from detattack.datasets.scenes.types import CATEGORIES
from detattack.detectors.demo.backbone import CHANNELS, STRIDES, Backbone
from detattack.detectors.demo.detr import SmallDETR

__all__ = ["HEADS", "build_network", "load_network", "weights_file"]

MEAN, STD = (0.45, 0.46, 0.47), (0.25, 0.25, 0.26)
SHORT_SIDE, LONG_SIDE = 320, 480
# Side of a square anchor in pixels, by stride: from 10 px, since a third of the objects are below 32 px.
ANCHORS = {8: (10, 13, 16), 16: (20, 25, 32), 32: (40, 50, 64), 64: (80, 113, 160)}
RATIOS = (0.5, 1.0, 2.2)  # height over width: a bus from the side, a car from behind, a person
HEAD_CONVS = 3
SSD_SCALES = (0.035, 0.08, 0.16, 0.35, 0.7)  # of the image's width and height, by level; the last one only bounds
ROI_FEATURES = 256


def _tower() -> nn.Sequential:
    """Make the convolutions of one branch of a dense head; torchvision's own have four.

    Nested like torchvision's: it renames flat keys as those of an old version when a state dict is loaded.
    """
    layers = []
    for _ in range(HEAD_CONVS):
        conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight)
        layers.append(nn.Sequential(conv, nn.GroupNorm(8, CHANNELS), nn.ReLU()))
    return nn.Sequential(*layers)


def _around(labels_from: int) -> dict[str, Any]:
    """Return what torchvision's detectors all take: the columns of the head and how images are prepared."""
    return {
        "num_classes": len(CATEGORIES) + labels_from,
        "image_mean": list(MEAN),
        "image_std": list(STD),
    }


def _retinanet() -> RetinaNet:
    sizes = tuple(ANCHORS.values())
    anchors = AnchorGenerator(sizes, (RATIOS,) * len(sizes))
    norm = partial(nn.GroupNorm, 8)
    head = RetinaNetHead(CHANNELS, anchors.num_anchors_per_location()[0], len(CATEGORIES), norm)
    head.classification_head.conv, head.regression_head.conv = _tower(), _tower()
    return RetinaNet(
        Backbone(),
        **_around(0),
        min_size=SHORT_SIDE,
        max_size=LONG_SIDE,
        anchor_generator=anchors,
        head=head,
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=100,
    )


def _fcos() -> FCOS:
    places = AnchorGenerator(tuple((stride,) for stride in STRIDES), ((1.0,),) * len(STRIDES))
    head = FCOSHead(CHANNELS, 1, len(CATEGORIES))
    head.classification_head.conv, head.regression_head.conv = _tower(), _tower()
    return FCOS(
        Backbone(),
        **_around(0),
        min_size=SHORT_SIDE,
        max_size=LONG_SIDE,
        anchor_generator=places,
        head=head,
        score_thresh=0.05,
        nms_thresh=0.5,
    )


def _ssd() -> SSD:
    boxes = DefaultBoxGenerator([[2, 3]] * len(STRIDES), scales=list(SSD_SCALES), steps=list(STRIDES))
    head = SSDHead([CHANNELS] * len(STRIDES), boxes.num_anchors_per_location(), len(CATEGORIES) + 1)
    size = (LONG_SIDE, SHORT_SIDE)
    return SSD(Backbone(), boxes, size, **_around(1), head=head, score_thresh=0.05, nms_thresh=0.5)


def _faster_rcnn() -> FasterRCNN:
    names = [str(stride) for stride in STRIDES]
    sizes = tuple(ANCHORS.values())
    pool = MultiScaleRoIAlign(names, output_size=5, sampling_ratio=2, canonical_scale=64, canonical_level=4)
    return FasterRCNN(
        Backbone(),
        **(_around(1) | {"num_classes": None}),
        min_size=SHORT_SIDE,
        max_size=LONG_SIDE,
        rpn_anchor_generator=AnchorGenerator(sizes, (RATIOS,) * len(sizes)),
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_train=500,
        rpn_post_nms_top_n_test=300,
        box_roi_pool=pool,
        box_head=TwoMLPHead(CHANNELS * 5 * 5, ROI_FEATURES),
        box_predictor=FastRCNNPredictor(ROI_FEATURES, len(CATEGORIES) + 1),
        box_batch_size_per_image=128,
    )


def _detr() -> SmallDETR:
    return SmallDETR(Backbone(), CHANNELS, len(CATEGORIES), SHORT_SIDE, LONG_SIDE, MEAN, STD)


@dataclass(frozen=True)
class Head:
    """A kind of detector. first_label: of category 0 in its outputs, 1 where column 0 is the background."""

    build: Callable[[], nn.Module]
    first_label: int = 0


HEADS = {
    "retinanet": Head(_retinanet),
    "fcos": Head(_fcos),
    "ssd": Head(_ssd, first_label=1),
    "fasterrcnn": Head(_faster_rcnn, first_label=1),
    "detr": Head(_detr),
}


def build_network(head: str = "retinanet") -> nn.Module:
    """Build a freshly initialized detector (torch's global generator) for float images [3,H,W] in [0,1] of any size.

    head: one of `HEADS`. Scenes of 480x320 pixels pass at their own size; others are resized so that the short side
    is 320 and the long one at most 480 (SSD: to 480x320). It keeps the dtype it is cast to, float64 included.
    """
    return HEADS[head].build()


def weights_file(name: str = "demo") -> Path:
    """Return the path of the float16 weights that ship with the package, by the embedded detector's name."""
    return Path(__file__).parent / "weights" / f"{name}.safetensors"


def load_network(path: Path | None = None, head: str = "retinanet") -> nn.Module:
    """Load the network with the weights in `path` (float16 safetensors; None: `demo`'s), as float32, in eval mode."""
    network = build_network(head)
    network.load_state_dict({key: value.float() for key, value in load_file(path or weights_file()).items()})
    return network.eval()
