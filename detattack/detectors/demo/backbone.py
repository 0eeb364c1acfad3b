"""The small residual backbone, with a feature pyramid, that all embedded detectors share."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

__all__ = ["CHANNELS", "STRIDES", "Backbone"]

CHANNELS = 64
STRIDES = (8, 16, 32, 64)


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


class Backbone(nn.Module):
    """Normalized images `[N,3,H,W]` to four maps of `out_channels` channels, by their stride: "8", "16", "32", "64"."""

    out_channels = CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, 24, 2), nn.ReLU(), _Residual(24, 48, 2))
        self.stride8 = nn.Sequential(_Residual(48, 96, 2), _Residual(96, 96))
        self.stride16 = nn.Sequential(_Residual(96, 160, 2), _Residual(160, 160))
        self.stride32 = _Residual(160, 192, 2)
        self.fpn = FeaturePyramidNetwork([96, 160, 192], CHANNELS)
        self.stride64 = nn.Conv2d(CHANNELS, CHANNELS, 3, 2, 1)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """Return the maps of images `[N,3,H,W]`, by stride."""
        c8 = self.stride8(self.stem(x))
        c16 = self.stride16(c8)
        maps = self.fpn(OrderedDict([("8", c8), ("16", c16), ("32", self.stride32(c16))]))
        maps["64"] = self.stride64(torch.relu(maps["32"]))
        return maps
