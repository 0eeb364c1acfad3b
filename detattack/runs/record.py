"""What is known of one image in the end, whatever the task: a row of the ledger, and the files beside it."""

import hashlib
import os
from collections.abc import Hashable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar, cast

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter

from detattack.core.errors import InputError
from detattack.core.files import is_plain, write_bytes_atomic
from detattack.datasets.base import Picture
from detattack.datasets.image_io import png_bytes

STATUSES = ("success", "failure", "nothing", "already", "error")
ATTACKED = ("success", "failure", "error")
"""The statuses that a success rate is over."""
BROKEN = {"success": "broken", "failure": "not broken", "nothing": "nothing to break", "already": "broken untouched"}
"""What statuses are called in a run that spends a budget, which may attack all images."""
ADDED = ("survives", "outside_digest")
MOST_CLASSES = 100_000
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_COLUMNS: dict[str, TypeAdapter[Any]] = {
    "boxes": TypeAdapter(list[tuple[_Finite, _Finite, _Finite, _Finite]]),
    "scores": TypeAdapter(list[_Finite]),
    "labels": TypeAdapter(list[Annotated[int, Field(ge=0, lt=MOST_CLASSES)]]),
}


def _checked(found: dict[str, list[Any]]) -> dict[str, list[Any]]:
    for name, values in found.items():
        if name not in _COLUMNS:
            raise ValueError(f"{name!r} is no column of what was found")
        _COLUMNS[name].validate_python(values)
    if len({len(values) for values in found.values()}) > 1:
        raise ValueError("the columns of what was found are not of one length")
    return found


Found = Annotated[dict[str, list[Any]], AfterValidator(_checked)]
"""What a model reports of an image: columns `boxes`, `scores` and `labels`, or some of them."""
LARGEST = 2**63 - 1
"""Of whole numbers in a ledger and in tables."""


@dataclass(frozen=True, repr=False)
class BaseRecord:
    """What every task knows of an image.

    status: success, failure, nothing, already or error (with `reason`). k: first iteration that succeeded, −1 for
    never. confidence: before and after, of what the goal is about. file_success: whether the 8-bit file succeeds
    (with `--float`, `status` speaks of the floats). quality: measures between the original and what `status` speaks
    of. survives: for each corruption that the goal has to hold after, whether it does. trace: per iteration.
    digest: SHA-256 of the PNG; floats_digest: of the .npy, where there is one; outside_digest: of the original's pixels
    that an attack with `within` must not change, row by row.
    """

    task: ClassVar[str]
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)
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
    survives: dict[str, bool] = field(default_factory=dict)
    forwards: int = 0
    backwards: int = 0
    seconds: float = 0.0
    digest: str = ""
    floats_digest: str = ""
    outside_digest: str = ""
    trace: dict[str, list[float]] = field(default_factory=dict)

    def __repr__(self) -> str:
        measured = [f"{name} {value:.3g}" for name in ("l2", "psnr") if (value := self.quality.get(name)) is not None]
        parts = [repr(self.stem), repr(self.status), *([repr(self.reason)] if self.reason else [])]
        parts += [f"k {self.k}"] if self.k >= 0 else []
        return f"{type(self).__name__}({self.id}, {', '.join(parts + measured)})"

    def outcome(self, spends: bool) -> str:
        """Say what came of an image, in the words of its run. spends: whether that spends a budget."""
        attacked = self.status in ATTACKED or self.quality
        return BROKEN.get(self.status, self.status) if spends and attacked else self.status

    def as_json(self) -> dict[str, Any]:
        """As JSON holds it; what is younger than folders that are still continued only where it says something."""
        return {key: value for key, value in asdict(self).items() if value or key not in ADDED}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Make a record from `as_json`, after a round trip through JSON.

        Raises ValueError for what is not of the types above, and for a stem that names no file of its own: a ledger may
        come from anybody.
        """
        record: Self = _reader(cast(Hashable, cls)).validate_python(values)
        if not is_plain(record.stem) or record.status not in STATUSES:
            raise ValueError(f"stem {record.stem!r}, status {record.status!r}")
        large = [name for name, value in values.items() if isinstance(value, int) and abs(value) > LARGEST]
        if large:
            raise ValueError(f"{large[0]} {values[large[0]]} is too large")
        return record

    def short(self) -> Self:
        """Without the fields that are long."""
        empty: dict[str, Any] = {name: {} for name in self.long}
        return replace(self, **empty)


@cache
def _reader(record_type: Any) -> TypeAdapter[Any]:
    return TypeAdapter(record_type)


R = TypeVar("R", bound=BaseRecord)


@dataclass(frozen=True, eq=False, repr=False)
class Outcome(Generic[R]):
    """A record and what goes with it: the original pixels, the PNG's bytes and pixels, and the same image as floats.

    An image that could not be read has the record alone. heatmap: a PNG, once it is drawn (`packed`).
    """

    record: R
    original: np.ndarray | None = None
    png: bytes = b""
    pixels: np.ndarray | None = None
    floats: np.ndarray | None = None
    heatmap: bytes = b""

    def __repr__(self) -> str:
        size = "" if self.original is None else f", image {self.original.shape[1]}×{self.original.shape[0]}"
        return f"Outcome({self.record!r}{size})"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the adversarial image as a PNG: the very bytes that were judged.

        Raises `InputError` for a name that does not end in `.png`, and where the file cannot be written.
        """
        path = png_path(path)
        if not self.png:
            raise InputError(f"{path}: there is no image to save ({self.record.reason or self.record.status})")
        try:
            write_bytes_atomic(path, self.png)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def png_path(path: str | os.PathLike[str]) -> Path:
    """Check the path of a PNG file that is to be written. Raises `InputError` for any other name, and for no path."""
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"path: expected the name of a file, got {type(path).__name__}")
    found = Path(os.fsdecode(path))
    if found.suffix.lower() != ".png":
        lossy = found.suffix.lower() in (".jpg", ".jpeg", ".webp")
        why = f"{found.suffix} is lossy, the attack would not survive it" if lossy else "only PNG files are written"
        remedy = found.with_suffix(".png").name if found.name else "a .png"
        raise InputError(f"{path}: {why}; save it as {remedy}")
    return found


def untouched(record: R, picture: Picture) -> Outcome[R]:
    """Make the outcome of an image that could not be attacked: its file completes the data set."""
    height, width = picture.pixels.shape[:2]
    png = png_bytes(picture.pixels)
    digest = hashlib.sha256(png).hexdigest()
    record = replace(record, width=width, height=height, notes=picture.notes, digest=digest)
    return Outcome(record, picture.pixels, png, picture.pixels)


def packed(outcome: Outcome[R]) -> Outcome[R]:
    """Pack an outcome: with its heatmap, and without the pixels that this was drawn from.

    It is what a run folder takes, and a third of the bytes where it has to travel there.
    """
    from detattack.metrics.difference import difference_map, heatmap

    if outcome.original is None or outcome.pixels is None:
        return outcome
    shown = outcome.pixels if outcome.floats is None else outcome.floats.transpose(1, 2, 0)
    drawn = png_bytes(heatmap(difference_map(outcome.original, shown)))
    return replace(outcome, heatmap=drawn, original=None, pixels=None)
