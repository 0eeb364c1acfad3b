"""What a model raises while it is looked at, outside of a run."""

from collections.abc import Iterator
from contextlib import contextmanager

from detattack.core.errors import ImageError, InputError
from detattack.core.faults import NoGradient, check_device


@contextmanager
def one_image(source: str) -> Iterator[None]:
    """Suppress what a model raises on one image, as `runs.runner` records it. source: names the image.

    Raises what concerns every image: `InputError`, and `DeviceBroken` where the device is lost.
    """
    try:
        yield
    except Exception as error:  # the model is someone else's code
        if isinstance(error, InputError) and not isinstance(error, NoGradient | ImageError):
            raise
        check_device(error, source)
