"""Images as a program has them: arrays, tensors, Pillow images and paths, taken in and given back in kind.

An array or a tensor is uint8, or float in [0,1], which is rounded to 8 bits; its layout is `[H,W,3]` or `[3,H,W]`.
Where both would do, a tensor is taken for `[3,H,W]` and an array for `[H,W,3]`, and that is noted.
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from detattack.core.errors import InputError
from detattack.datasets.base import Picture
from detattack.datasets.image_io import check_kind, conversions, read_image, to_pixels, to_tensor

GiveBack = Callable[[NDArray[np.uint8], NDArray[np.float32] | None], Any]
"""Makes an image in the kind of another, of pixels uint8 `[H,W,3]`, and of floats `[3,H,W]` where those were judged."""
EXPECTED = "an image, an array or a tensor uint8 [H,W,3] or [3,H,W] or float in [0,1], a Pillow image or a path"


@dataclass(frozen=True, eq=False)
class GivenImage:
    """An image that was given: its picture, and what makes others of its kind."""

    picture: Picture
    back: GiveBack


def is_image(value: object) -> bool:
    """Return whether a value is given as one image, whatever is wrong with it."""
    if isinstance(value, Tensor | np.ndarray):
        return value.ndim == 3
    return isinstance(value, Image.Image | str | os.PathLike)


def given_image(image: Any, what: str = "image") -> GivenImage:
    """Take in an image. what: names it in messages. Raises `InputError` for what is none, or is normalized.

    A Pillow image of more than 8 bits a channel is refused, as in a file.
    """
    if isinstance(image, Image.Image):
        check_kind(image, what)
        picture = Picture(np.array(image.convert("RGB")), conversions(image))
        return GivenImage(picture, lambda pixels, floats: Image.fromarray(pixels))
    if isinstance(image, str | os.PathLike):
        loaded = read_image(os.fsdecode(image))
        return GivenImage(Picture(loaded.pixels, loaded.notes), as_array)
    if not isinstance(image, Tensor | np.ndarray):
        raise InputError(f"{what}: expected {EXPECTED}, got {type(image).__name__}")
    tensor = torch.from_numpy(np.ascontiguousarray(image)) if _is_numeric(image) else image
    if not isinstance(tensor, Tensor) or not _is_right(tensor):
        raise InputError(f"{what}: expected {EXPECTED}, got {image.dtype} {list(image.shape)}")
    first, last = tensor.shape[0] == 3, tensor.shape[2] == 3
    channels_first = first and (not last or isinstance(image, Tensor))
    notes: tuple[str, ...] = ()
    if first and last:
        layout = "[3,H,W]" if channels_first else "[H,W,3]"
        notes = (f"{list(tensor.shape)} may be [3,H,W] or [H,W,3]; taken for {layout}",)
        warnings.warn(f"{what}: {notes[0]}", stacklevel=2)
    picture = Picture(_pixels(tensor if channels_first else tensor.permute(2, 0, 1), what), notes)
    return GivenImage(picture, partial(_in_kind, image, channels_first))


def as_array(pixels: NDArray[np.uint8], floats: NDArray[np.float32] | None) -> NDArray[np.uint8]:
    """Give back pixels as they are."""
    return pixels


def _is_numeric(image: Tensor | NDArray[Any]) -> bool:
    return isinstance(image, np.ndarray) and image.dtype in (np.uint8, np.float16, np.float32, np.float64)


def _is_right(tensor: Tensor) -> bool:
    levels = tensor.dtype == torch.uint8 or (tensor.is_floating_point() and torch.finfo(tensor.dtype).eps < 1 / 512)
    return levels and tensor.ndim == 3 and 3 in (tensor.shape[0], tensor.shape[2]) and tensor.numel() > 0


def _pixels(tensor: Tensor, what: str) -> NDArray[np.uint8]:
    """Return the pixels `[H,W,3]` of `[3,H,W]`."""
    if tensor.dtype == torch.uint8:
        return tensor.permute(1, 2, 0).contiguous().cpu().numpy().copy()
    try:
        return to_pixels(tensor)
    except ValueError as error:
        remedy = "; what a model does to images belongs into the model"
        if not tensor.isfinite().all():
            remedy = ""
        elif float(tensor.min()) >= 0 and 1 < float(tensor.max()) <= 255:
            remedy = "; divide by 255, or pass uint8"
        raise InputError(f"{what}: {error}{remedy}") from error


def _in_kind(
    kind: Tensor | NDArray[Any], channels_first: bool, pixels: NDArray[np.uint8], floats: NDArray[np.float32] | None
) -> Tensor | NDArray[Any]:
    """Make an image of the type, dtype, layout and device of another."""
    is_float = kind.is_floating_point() if isinstance(kind, Tensor) else kind.dtype != np.uint8
    if not is_float:
        made = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    else:
        made = to_tensor(pixels) if floats is None else torch.from_numpy(floats.copy())
    made = (made if channels_first else made.permute(1, 2, 0)).contiguous()
    return made.to(kind) if isinstance(kind, Tensor) else made.numpy().astype(kind.dtype)
