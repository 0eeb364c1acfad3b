"""VGG16 for CIFAR-10, the classifier of the paper: 13 convolutions with batch norm, here at any width.

The embedded one has half the channels (3.7 million parameters, 7.4 MB in float16). As usual for 32x32 images,
the three fully connected layers of the ImageNet version shrink to one.
"""

from pathlib import Path

from torch import Tensor, nn

__all__ = ["CLASSES", "MEAN", "NAMES", "SIDE", "STD", "VGG16", "WEIGHTS", "width_of"]

WEIGHTS = Path(__file__).parent / "weights" / "vgg16_cifar10.safetensors"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
# Channels of each convolution at full width; 0: max pooling.
LAYERS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
SIDE = 32
NAMES = ("features.0.weight", "head.weight")
"""Two of the names of its weights, which it is known by at any width."""


class VGG16(nn.Module):
    """Normalized images `[N,3,32,32]` to logits `[N,classes]`.

    width: factor on the channels; 1 is the paper's network, 0.5 the embedded one.
    """

    def __init__(self, width: float = 0.5, classes: int = len(CLASSES)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for full in LAYERS:
            if not full:
                layers.append(nn.MaxPool2d(2))
                continue
            out = round(full * width)
            layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            channels = out
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits `[N,classes]` of normalized images `[N,3,32,32]`."""
        return self.head(self.features(images).flatten(1))


def width_of(weights: dict[str, Tensor]) -> float:
    """Find the factor on the channels of the network that these weights are of."""
    first = weights.get("features.0.weight")
    return 0.5 if first is None else len(first) / LAYERS[0]
