"""All measures of quality of a finished run, from its files.

The slow ones take about a second an image, so they are kept out of the attack and spread over the processor's cores.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from detattack.core.errors import ImageError, InputError
from detattack.core.processes import parallel_map
from detattack.datasets.base import Dataset, Sample
from detattack.datasets.image_io import read_floats, read_image
from detattack.metrics.image_quality import measure
from detattack.runs.folder import RunFolder
from detattack.runs.record import BaseRecord

Measures = dict[str, float | None]


def measure_all(folder: RunFolder[Any], dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> None:
    """Measures what is not measured yet, and commits it image by image: can be interrupted and resumed.

    An original that can no longer be read is left with what the attack measured. Raises `InputError` for a measure that
    fails.
    """
    samples = {sample.id: sample for sample in dataset.samples}
    todo = [(samples[r.id], r) for r in folder.unmeasured() if r.id in samples]
    for number, (image_id, measures) in enumerate(parallel_map(partial(_measure_one, folder.path), todo), 1):
        if measures is not None:
            folder.add_quality(image_id, measures)
        if progress:
            progress(number, len(todo))


def _measure_one(path: Path, item: tuple[Sample, BaseRecord]) -> tuple[int, Measures | None]:
    sample, record = item
    try:
        original = sample.load().pixels
        adversarial: Any = path / "floats" / f"{record.stem}.npy"
        if adversarial.is_file():
            seen: Any = read_floats(adversarial, *original.shape[:2]).transpose(1, 2, 0)
        else:
            seen = read_image(path / "images" / f"{record.stem}.png").pixels
        return record.id, measure(original, seen).as_json()
    except ImageError as error:  # of the measure, as none other raises it
        raise InputError(f"{record.source}: {error}") from error
    except (InputError, OSError, ValueError):
        return record.id, None
