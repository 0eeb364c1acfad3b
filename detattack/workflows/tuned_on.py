"""Which images a config was tuned on, as the config says it, and how many of a data set are among them.

An image is known by a hash of its file, wherever it lies, or else of what names it (`scene 3 of seed 1000`).
"""

import hashlib
from pathlib import Path

from detattack.core.errors import InputError
from detattack.core.wording import counted, worded
from detattack.datasets.base import Dataset, Sample
from detattack.engine.config import TUNED_ON, read_options

DIGITS = 12


def tuned_on(dataset: Dataset) -> str:
    """Return what a config says of the images that it was tuned on: their hashes with blanks between."""
    return " ".join(map(_hash, dataset.samples))


def overlap_note(config: Path, dataset: Dataset) -> str | None:
    """Tell what people should know of figures of a data set under a config tuned on some of it; None: nothing.

    Raises `InputError` where the config says no such thing as `tuned_on`.
    """
    said = read_options(config).get(TUNED_ON, "")
    if not isinstance(said, str):
        raise InputError(f"config {config}: {TUNED_ON} is not what a search writes")
    known = set(said.split())
    shared = sum(_hash(sample) in known for sample in dataset.samples) if known else 0
    if not shared:
        return None
    images = counted(len(dataset.samples), "image")
    what = f"{shared} of these {images} {worded(shared, 'is', 'are')} among those that config {config} was tuned on"
    return f"{what}: figures of it are better here than elsewhere"


def _hash(sample: Sample) -> str:
    path = Path(sample.source)
    try:
        content = path.read_bytes()
    except (OSError, ValueError):  # no file, or none that can be read
        content = sample.source.encode("utf-8", "surrogateescape")
    return hashlib.sha256(content).hexdigest()[:DIGITS]
