"""Seeds of scenes: scenes to train on and scenes to test on never share one."""

from __future__ import annotations

import numpy as np

__all__ = ["scene_seed", "training_seed"]

_BITS = 51  # with the flag below a seed stays exact in JSON readers that only know doubles


def _derive(seed: int, index: int) -> int:
    return int(np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)[0]) >> (64 - _BITS)


def scene_seed(seed: int, index: int) -> int:
    """Return the seed of scene number `index` >= 0 of the data set `seed` >= 0: below 2**51."""
    return _derive(seed, index)


def training_seed(seed: int, index: int) -> int:
    """Return the seed of the `index`-th scene of a training run: 2**51 or more, so no data set contains it."""
    return _derive(seed, index) | (1 << _BITS)
