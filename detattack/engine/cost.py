"""The terms of the cost (Eq. 2), one value per image, so that no image's result depends on its neighbors in the batch.

All take images `[N,3,H,W]` in [0,1] and return `[N]`. The paper states Eq. 5 for values 0-255; here its bounds are 0
and 1. Given `slope`, a tensor like the images, each adds `weight` times its gradient to it in place: in closed form,
since autograd takes several times as long.
"""

from torch import Tensor


def squared_l2(
    images: Tensor, originals: Tensor, scale: Tensor | None = None, slope: Tensor | None = None, weight: float = 1.0
) -> Tensor:
    """Return ‖s·(x(k) − x(0))‖²₂ of each image, the second term of Eq. 2. scale: s, `[N,1,H,W]`; None: 1."""
    change = images - originals
    if scale is not None:
        change = scale * change
    if slope is not None:
        slope.add_(change if scale is None else scale * change, alpha=2 * weight)
    return change.square().flatten(1).sum(1)


def bounded_range(images: Tensor, slope: Tensor | None = None, weight: float = 1.0) -> Tensor:
    """Return Eq. 5: Σ of −p where p ≤ 0 and of p − 1 where p ≥ 1, divided by H·W.

    The bounds themselves belong to the range penalized: at a saturated value the term is 0 and its gradient points
    outwards, so descent moves inwards, also in a loop that clamps after every step.
    """
    pixels, within = images.shape[-2] * images.shape[-1], images.detach().clamp(0, 1)
    outwards = within.floor().add_(within.ceil()).sub_(1)  # 1 from 1 on, −1 up to 0; faster than comparisons
    if slope is not None:
        slope.add_(outwards, alpha=weight / pixels)
    return (outwards * (images - within)).flatten(1).sum(1) / pixels


def total_variation(images: Tensor, slope: Tensor | None = None, weight: float = 1.0) -> Tensor:
    """Return Eq. 6: the sum of squared differences to the right and to the lower neighbor, divided by H·W·C."""
    values = images[0].numel()
    right = images[..., :, 1:] - images[..., :, :-1]
    lower = images[..., 1:, :] - images[..., :-1, :]
    if slope is not None:
        slope[..., :, 1:].add_(right, alpha=2 * weight / values)
        slope[..., :, :-1].sub_(right, alpha=2 * weight / values)
        slope[..., 1:, :].add_(lower, alpha=2 * weight / values)
        slope[..., :-1, :].sub_(lower, alpha=2 * weight / values)
    return (right.square().flatten(1).sum(1) + lower.square().flatten(1).sum(1)) / values
