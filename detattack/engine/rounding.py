"""8-bit images inside the loop: what the model is shown is what a file can hold."""

from torch import Tensor


def as_file(images: Tensor, levels: int | None) -> Tensor:
    """Images in [0,1] rounded to the nearest of `levels` gray levels a channel; untouched where None."""
    if levels is None:
        return images
    return (images * (levels - 1)).round() / (levels - 1)
