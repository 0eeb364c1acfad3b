"""Images that a search goes on without: those that cannot be read, and those that the model fails on."""

from detattack.core.errors import ImageError, InputError
from detattack.core.faults import check_one_image
from detattack.datasets.base import Picture, Sample

LeftOut = dict[str, str]
"""The reason why an image is left out, by its source."""


def read(sample: Sample) -> Picture:
    """Read an image. Raises `ImageError` for one that cannot be read."""
    try:
        return sample.load()
    except InputError as error:
        raise ImageError(str(error)) from error


def reason_of(error: Exception, sample: Sample) -> str:
    """Say why an image is left out, of the error that was raised over it; the source is not repeated.

    Raises the error itself where it concerns every image, and `DeviceBroken`.
    """
    check_one_image(error, sample.source)
    who = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
    return who + " ".join(str(error).removeprefix(f"{sample.source}: ").split())[:300]


def notes_of_left_out(left_out: LeftOut) -> list[str]:
    """List for people what is left out, and why."""
    return [f"{source}: left out: {reason}" for source, reason in left_out.items()]


def check_left(name: str, left: int, left_out: LeftOut) -> None:
    """Raise `InputError` where no image is left. name: of what images, e.g. `training images`."""
    if not left and left_out:
        source, reason = next(iter(left_out.items()))
        raise InputError(f"universal: none of the {name} can be used; {source}: {reason}")
