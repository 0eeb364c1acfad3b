"""Perceptual weights of the distance (`perceptual`): changes count for less where local contrast is high.

Both the eye and SSIM tolerate more where an image is busy than where it is flat.
"""

import torch.nn.functional as F
from torch import Tensor

SIDE = 7
"""Side of the window, in pixels."""
FLOOR = 0.02
"""Added to the standard deviation, on [0,1], so that the weights of flat regions stay finite."""
POWER = 0.25
"""Exponent of the contrast. A larger one lowers 1 − SSIM further, but the plain L2 and CIEDE2000 rise fast."""


def contrast_weights(images: Tensor) -> Tensor:
    """Return weights `[N,1,H,W]` with mean 1 in each image: (local standard deviation of gray + FLOOR)^−POWER.

    Every side of `images` `[N,3,H,W]` must have more than SIDE // 2 pixels.
    """
    gray = F.pad(images.mean(1, keepdim=True), [SIDE // 2] * 4, mode="reflect")
    mean, square = (F.avg_pool2d(values, SIDE, stride=1) for values in (gray, gray.square()))
    weights = ((square - mean.square()).clamp_min(0).sqrt() + FLOOR) ** -POWER
    return weights / weights.mean((1, 2, 3), keepdim=True)
