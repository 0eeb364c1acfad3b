"""The terms of the cost (Eq. 2), one value per image, so that no image's result depends on its neighbors in the batch.

All take images `[N,3,H,W]` in [0,1] and return `[N]`. The paper states Eq. 5 for values 0-255; here its bounds are 0
and 1.
"""

from torch import Tensor


def squared_l2(images: Tensor, originals: Tensor) -> Tensor:
    """Return ‖x(k) − x(0)‖²₂ of each image, the second term of Eq. 2."""
    return (images - originals).square().flatten(1).sum(1)


def bounded_range(images: Tensor) -> Tensor:
    """Return Eq. 5: Σ of −p where p ≤ 0 and of p − 1 where p ≥ 1, divided by H·W.

    The bounds themselves belong to the range penalized: at a saturated value the term is 0 and its gradient points
    outwards, so descent moves inwards, also in a loop that clamps after every step.
    """
    height, width = images.shape[-2:]
    below = (-images).where(images <= 0, 0.0)
    above = (images - 1).where(images >= 1, 0.0)
    return (below + above).flatten(1).sum(1) / (height * width)


def total_variation(images: Tensor) -> Tensor:
    """Return Eq. 6: the sum of squared differences to the right and to the lower neighbor, divided by H·W·C."""
    right = (images[..., :, 1:] - images[..., :, :-1]).square().flatten(1).sum(1)
    lower = (images[..., 1:, :] - images[..., :-1, :]).square().flatten(1).sum(1)
    return (right + lower) / images[0].numel()
