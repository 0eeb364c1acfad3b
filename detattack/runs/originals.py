"""The originals of a run's images, where the data set that was attacked is at hand."""

from collections.abc import Callable

from detattack.core.errors import InputError
from detattack.datasets.base import Dataset
from detattack.datasets.corruptions.registry import Pixels
from detattack.runs.record import BaseRecord

Originals = Callable[[BaseRecord], Pixels]
"""Reads the original of a record, uint8 `[H,W,3]`. Raises `InputError` where it is gone."""


def originals_in(dataset: Dataset) -> Originals:
    """Make what reads the original of a record from a data set, by the record's id."""
    samples = {sample.id: sample for sample in dataset.samples}

    def read(record: BaseRecord) -> Pixels:
        if record.id not in samples:
            raise InputError(f"{record.source}: is not in the data set")
        return samples[record.id].load().pixels

    return read
