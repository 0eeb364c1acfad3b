"""What every task shares when it attacks a batch."""

import math
from dataclasses import replace

import numpy as np

from detattack.engine import AttackResult
from detattack.runs.record import R


def image_seeds(seed: int, image_id: int) -> tuple[int, int]:
    """The seeds of an image's own randomness, of its goal and of its noise: from (seed, image id) alone."""
    goal, noise = np.random.SeedSequence((seed, image_id)).generate_state(2)
    return int(goal), int(noise)


def with_books(record: R, result: AttackResult, row: int) -> R:
    """The record with what an attack found for image `row` of its batch; without status, which is for the judge, or
    with `error` where the model gave no numbers."""
    finite = bool(result.finite[row])
    trace = {
        name: [round(v, 6) for v in values[:, row].tolist() if math.isfinite(v)]
        for name, values in vars(result.trace).items()
    }
    return replace(
        record,
        status="" if finite else "error",
        reason="" if finite else "the model gave a loss or gradient that is not finite",
        k=int(result.first_iteration[row]),
        forwards=int(result.forwards[row]),
        backwards=int(result.backwards[row]),
        trace=trace,
    )
