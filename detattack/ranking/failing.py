"""What a model raises while it is looked at, outside of a run."""

from collections.abc import Iterator
from contextlib import contextmanager

from detattack.core.faults import check_one_image


@contextmanager
def one_image(source: str) -> Iterator[None]:
    """Suppress what a model raises on one image, as `runs.runner` records it. source: names the image.

    Raises what concerns every image: `InputError`, and `DeviceBroken` where the device is lost.
    """
    try:
        yield
    except Exception as error:  # the model is someone else's code
        check_one_image(error, source)
