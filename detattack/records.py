"""What is known of one image in the end, whatever the task: a row of the ledger, and the files beside it."""

import hashlib
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from detattack.datasets import Picture
from detattack.files import write_bytes_atomic
from detattack.images import png_bytes


@dataclass(frozen=True)
class BaseRecord:
    """What every task knows of an image.

    status: success, failure, nothing, already or error (with `reason`). k: first iteration that succeeded, −1 for
    never. confidence: before and after, of what the goal is about. file_success: whether the 8-bit file succeeds
    (with `--float`, `status` speaks of the floats). quality: measures between the original and what `status` speaks
    of. trace: per iteration. digest: SHA-256 of the PNG.
    """

    task: ClassVar[str]
    long: ClassVar[tuple[str, ...]] = ("trace",)
    """Fields too long for a table or a line of JSON; the ledger has them."""

    id: int
    stem: str
    source: str
    status: str
    reason: str = ""
    width: int = 0
    height: int = 0
    notes: tuple[str, ...] = ()
    k: int = -1
    confidence_before: float = 0.0
    confidence_after: float = 0.0
    file_success: bool = False
    quality: dict[str, float | None] = field(default_factory=dict)
    forwards: int = 0
    backwards: int = 0
    seconds: float = 0.0
    digest: str = ""
    trace: dict[str, list[float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """From `as_json`, after a round trip through JSON."""
        return cls(**{**values, "notes": tuple(values["notes"])})

    def short(self) -> Self:
        """Without the fields that are long."""
        empty: dict[str, Any] = {name: {} for name in self.long}
        return replace(self, **empty)


R = TypeVar("R", bound=BaseRecord)


@dataclass(frozen=True, eq=False)
class Outcome(Generic[R]):
    """A record and what goes with it: the original pixels, the PNG's bytes and pixels, and x(K) as floats.

    An image that could not be read has the record alone.
    """

    record: R
    original: np.ndarray | None = None
    png: bytes = b""
    pixels: np.ndarray | None = None
    floats: np.ndarray | None = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the adversarial image as a PNG: the very bytes that were judged."""
        write_bytes_atomic(Path(path), self.png)


def untouched(record: R, picture: Picture) -> Outcome[R]:
    """The outcome of an image that could not be attacked: its file completes the data set."""
    height, width = picture.pixels.shape[:2]
    png = png_bytes(picture.pixels)
    digest = hashlib.sha256(png).hexdigest()
    record = replace(record, width=width, height=height, notes=picture.notes, digest=digest)
    return Outcome(record, picture.pixels, png, picture.pixels)
