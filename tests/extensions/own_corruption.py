"""An own corruption: fog, gray over the image, `--robust-to fog:0.2` and `--survive fog:0.2`."""

import numpy as np

from detattack.datasets.corruptions import register_corruption


def kept(share):
    """The derivative at each gray level."""
    return np.full(256, 1 - share, np.float32)


@register_corruption("fog", what="a share of gray", low=0, high=1, slope=kept)
def fog(pixels, share):
    return ((1 - share) * pixels + share * 200).round().astype(np.uint8)
