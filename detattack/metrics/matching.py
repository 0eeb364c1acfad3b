"""Which detection has which object, as pycocotools gives them out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

NONE = -1
"""Where a detection has no object."""


def matches(overlap: NDArray[np.floating[Any]], thresholds: Sequence[float]) -> NDArray[np.int64]:
    """Return the object that each of M detections has at each of T IoU thresholds, or −1, `[T,M]`.

    The strongest detection comes first and takes the object that it overlaps most, of equal ones the last.

    - overlap: IoU `[M,O]` with the objects of its class, 0 with others; the strongest first
    - thresholds: above 0; an object is taken from them on
    """
    count, least = overlap.shape[1], np.array(thresholds, overlap.dtype)
    free = np.ones((len(least), count), np.bool_)
    matched = np.full((len(least), len(overlap)), NONE)
    for row in np.flatnonzero((overlap >= least.min()).any(1)):
        left = np.where(free, overlap[row], 0)
        column = count - 1 - left[:, ::-1].argmax(1)
        taken = np.flatnonzero(left.max(1) >= least)
        matched[taken, row] = column[taken]
        free[taken, column[taken]] = False
    return matched
