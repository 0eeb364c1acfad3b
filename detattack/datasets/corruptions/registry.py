"""The registry of image corruptions: each registers itself, with its name, strengths and what its gradient is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detattack.core.registry import Registry

if TYPE_CHECKING:
    from detattack.core.boxes import Box  # whose module imports torch

Pixels = NDArray[np.uint8]
Function = Callable[..., Pixels]
"""Of an image uint8 `[H,W,3]` and a strength, and of a seed where it is random; keeps the size."""
Decorator = Callable[[Function], Function]


@dataclass(frozen=True)
class Kind:
    """A registered corruption.

    - function: computes it
    - what: what its strength is, for messages
    - low, high: the smallest and the largest strength
    - whole: whether the strength is a whole number
    - random: whether the function takes a seed, too
    - matrix: of a side and a strength, the matrix `[side,side]` along an axis that it is, up to rounding; None: none
    - slope: of a strength, the derivative `[256]` at each gray level; None: none
    - pull: of an image, a strength and a gradient `[H,W,3]`, the gradient that leads through it; None: the same one
    - move: of a box, a strength and a size (width, height), where what was in the box is then; None: where it was

    With none of matrix, slope and pull gradients pass it unchanged (straight through).
    """

    function: Function
    what: str
    low: float
    high: float
    whole: bool = False
    random: bool = False
    matrix: Callable[[int, float], NDArray[np.float32]] | None = None
    slope: Callable[[float], NDArray[np.float32]] | None = None
    pull: Callable[[Pixels, float, NDArray[np.float32]], NDArray[np.float32]] | None = None
    move: "Callable[[Box, float, tuple[int, int]], Box] | None" = None


CORRUPTIONS: Registry[Kind] = Registry("corruption")
"""All corruptions by name, as in `--robust-to` and `--survive`."""


def register_corruption(name: str, *, what: str, low: float, high: float, **more: Any) -> Decorator:
    """Decorate a function of an image uint8 `[H,W,3]` and a strength, to register it as a corruption.

    - what: what the strength is; low, high: the smallest and the largest
    - more: other fields of `Kind`

    Raises `InputError` if the name is taken.
    """

    def registered(function: Function) -> Function:
        CORRUPTIONS.register(name, Kind(function, what, low, high, **more))
        return function

    return registered
