"""The compact RetinaNet that ships with the package: a small residual backbone under torchvision's detector.

Everything around the backbone (resizing, anchors, matching, losses, decoding, NMS) is torchvision's, so an
adapter written for its RetinaNet also drives this one. Logits have one column per entry of `CATEGORIES`, in
that order, labels 0..7; there is no background column and no offset.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import FeaturePyramidNetwork

from detattack.scenes.types import CATEGORIES

__all__ = ["WEIGHTS", "build_network", "load_network"]

WEIGHTS = Path(__file__).parent / "weights" / "demo.safetensors"
MEAN, STD = (0.45, 0.46, 0.47), (0.25, 0.25, 0.26)
# Side of a square anchor in pixels, by stride: from 10 px, since a third of the objects are below 32 px.
ANCHORS = {8: (10, 13, 16), 16: (20, 25, 32), 32: (40, 50, 64), 64: (80, 113, 160)}
RATIOS = (0.5, 1.0, 2.2)  # height over width: a bus from the side, a car from behind, a person
FPN_CHANNELS = 64
HEAD_CONVS = 3


def _conv(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class _Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut; the first carries the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(inputs, outputs, stride), nn.ReLU(), _conv(outputs, outputs))
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else _conv(inputs, outputs, stride, size=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class _Backbone(nn.Module):
    """Images to four maps of `out_channels` channels, at strides 8, 16, 32 and 64."""

    out_channels = FPN_CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, 24, 2), nn.ReLU(), _Residual(24, 48, 2))
        self.stride8 = nn.Sequential(_Residual(48, 96, 2), _Residual(96, 96))
        self.stride16 = nn.Sequential(_Residual(96, 160, 2), _Residual(160, 160))
        self.stride32 = _Residual(160, 192, 2)
        self.fpn = FeaturePyramidNetwork([96, 160, 192], FPN_CHANNELS)
        self.stride64 = nn.Conv2d(FPN_CHANNELS, FPN_CHANNELS, 3, 2, 1)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        c8 = self.stride8(self.stem(x))
        c16 = self.stride16(c8)
        maps = self.fpn(OrderedDict([("8", c8), ("16", c16), ("32", self.stride32(c16))]))
        maps["64"] = self.stride64(torch.relu(maps["32"]))
        return maps


def _tower() -> nn.Sequential:
    """The convolutions of one branch of the head; torchvision's own has four.

    Nested like torchvision's: it renames flat keys as those of an old version when a state dict is loaded.
    """
    layers = []
    for _ in range(HEAD_CONVS):
        conv = nn.Conv2d(FPN_CHANNELS, FPN_CHANNELS, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight)
        layers.append(nn.Sequential(conv, nn.GroupNorm(8, FPN_CHANNELS), nn.ReLU()))
    return nn.Sequential(*layers)


def build_network() -> RetinaNet:
    """A freshly initialized network (torch's global generator) for float images [3,H,W] in [0,1] of any size.

    Scenes of 480x320 pixels pass at their own size; others are resized so that the short side is 320 and the
    long one at most 480. It keeps the dtype it is cast to, float64 included.
    """
    sizes = tuple(ANCHORS.values())
    anchors = AnchorGenerator(sizes, (RATIOS,) * len(sizes))
    norm = partial(nn.GroupNorm, 8)
    head = RetinaNetHead(FPN_CHANNELS, anchors.num_anchors_per_location()[0], len(CATEGORIES), norm)
    head.classification_head.conv, head.regression_head.conv = _tower(), _tower()
    return RetinaNet(
        _Backbone(),
        num_classes=len(CATEGORIES),
        min_size=320,
        max_size=480,
        image_mean=list(MEAN),
        image_std=list(STD),
        anchor_generator=anchors,
        head=head,
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=100,
    )


def load_network(path: Path = WEIGHTS) -> RetinaNet:
    """The network with the weights in `path` (float16 safetensors), as float32, in eval mode."""
    network = build_network()
    network.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    return network.eval()
