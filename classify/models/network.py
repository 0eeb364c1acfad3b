"""Any image network as a classifier: what is done to an image before it, as tensor operations."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from detattack.core.errors import InputError, unknown
from detattack.core.wording import counted

SIZES = ("resize", "crop")
COLORS = ("mean", "std")


@dataclass(frozen=True)
class Preprocessing:
    """From `[N,3,H,W]` in [0,1] at native size to a network's input, differentiably.

    resize: the shorter side becomes this, in pixels (0: left as it is); height and width: stretched to that. crop: a
    square from the middle (0: none).
    mean, std: of each channel, on [0,1].
    """

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    resize: int | tuple[int, int] = 0
    crop: int = 0
    interpolation: str = "bilinear"

    def __call__(self, images: Tensor) -> Tensor:
        """Preprocess images in [0,1], `[N,3,H,W]`."""
        if self.resize:
            size = [self.resize] if isinstance(self.resize, int) else list(self.resize)
            images = TF.resize(images, size, InterpolationMode(self.interpolation), antialias=True)
        if self.crop:
            images = TF.center_crop(images, [self.crop])
        return TF.normalize(images, list(self.mean), list(self.std))

    @classmethod
    def parse(cls, text: str) -> "Preprocessing":
        """From `resize=256,crop=224,mean=123.7:116.3:103.5,std=58.4:57.1:57.4`: pixels, and colors on 0-255.

        Raises `InputError`.
        """
        values: dict[str, Any] = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            key, _, value = item.partition("=")
            if key not in (*SIZES, *COLORS, "interpolation"):
                raise unknown("key of --preprocess", key, (*SIZES, *COLORS, "interpolation"))
            values[key] = _parsed(key, value)
        return cls(**values)


def _parsed(key: str, value: str) -> Any:
    if key == "interpolation":
        known = [mode.value for mode in InterpolationMode]
        if value not in known:
            raise unknown("interpolation of --preprocess", value, known)
        return value
    try:
        if key in SIZES:
            return _positive(int(value))
        numbers = [float(Fraction(part)) / 255 for part in value.split(":")]
        if key == "std":
            numbers = [_positive(number) for number in numbers]
        return tuple(numbers * 3 if len(numbers) == 1 else _three(numbers))
    except (ValueError, ZeroDivisionError):
        what = "a number of pixels" if key in SIZES else "one number or three with colons between, on 0-255"
        raise InputError(f"--preprocess {key}={value}: not {what}") from None


def _positive(number: Any) -> Any:
    if number <= 0:
        raise ValueError
    return number


def _three(numbers: list[float]) -> list[float]:
    if len(numbers) != 3:
        raise ValueError
    return numbers


class NetworkClassifier:
    """A `Classifier` that is an `nn.Module`: `[N,3,h,w]` after `preprocessing` to `[N,K]`."""

    def __init__(
        self,
        name: str,
        network: nn.Module,
        classes: tuple[str, ...],
        device: torch.device,
        preprocessing: Preprocessing,
        smallest: int = 1,
    ) -> None:
        self.name, self.classes, self.device, self.smallest = name, classes, device, smallest
        self.preprocessing = preprocessing
        self.network = network.eval().requires_grad_(False).to(device)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {counted(len(self.classes), 'class')}, {self.device})"

    def logits(self, images: Tensor) -> Tensor:
        """As the contract says. In another dtype than float32 the network's weights are cast for the call."""
        inputs = self.preprocessing(images)
        if images.dtype == torch.float32:
            return self.network(inputs)
        tensors = {key: _cast(value, images.dtype) for key, value in self.network.state_dict().items()}
        return torch.func.functional_call(self.network, tensors, inputs)


def _cast(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.to(dtype) if value.is_floating_point() else value
