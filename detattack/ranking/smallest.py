"""The smallest change of an image that reaches a goal, over all files of all attacks: Eq. 1 of the paper, measured."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from detattack.datasets.image_io import read_image
from detattack.engine.budget import GRAY_LEVELS
from detattack.metrics.image_quality import ciede2000_share
from detattack.ranking.phases import records_of
from detattack.runs.originals import Originals
from detattack.tasks.detection.goals import parse_goal
from detattack.tasks.detection.record import DetectionRecord

NORMS = ("l2", "rms", "linf")
UNTOUCHED = "untouched"
"""In place of a file, where the goal holds without a change."""


@dataclass(frozen=True)
class Smallest:
    """The smallest changes of an image that reach a goal, each norm over all files.

    - l2: in [0,1] units; rms, linf: in gray levels; infinite: no file reaches it; 0: it holds untouched
    - file: the one with the smallest L2, in the model's folder; `untouched`; None
    - noticed: share of the pixels of that file whose color differs by ΔE > 1 (CIEDE2000)
    """

    l2: float = math.inf
    rms: float = math.inf
    linf: float = math.inf
    file: str | None = None
    noticed: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the values by name; None where no file reaches the goal."""
        return {name: None if value == math.inf else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Make it from `as_json`."""
        changes = {norm: math.inf if values[norm] is None else values[norm] for norm in NORMS}
        return cls(**changes, file=values["file"], noticed=values["noticed"])


def smallest_changes(folders: Sequence[Path], root: Path, originals: Originals) -> dict[int, Smallest]:
    """Find the smallest changes as `least_changes` does, and what a person may notice of each."""
    found = least_changes(folders, root)
    records = {record.id: record for folder in folders for record in records_of(folder)}
    for number, one in found.items():
        if one.file is not None and one.file != UNTOUCHED:
            found[number] = replace(one, noticed=round(noticed(root / one.file, records[number], originals), 6))
    return found


def least_changes(folders: Sequence[Path], root: Path) -> dict[int, Smallest]:
    """Find the smallest changes over runs of one goal and τ, by image id. root: what `file` is relative to.

    Images that show nothing that the goal could be about are left out, and those that ended in an error.
    """
    found: dict[int, Smallest] = {}
    left_out: set[int] = set()
    for folder in folders:
        for record in records_of(folder):
            one = _of(record, (folder / "images" / f"{record.stem}.png").relative_to(root))
            if one is None:
                left_out.add(record.id)
            else:
                found[record.id] = _least(found.get(record.id, Smallest()), one)
    return {number: found[number] for number in sorted(found.keys() - left_out)}


def noticed(file: Path, record: DetectionRecord, originals: Originals) -> float:
    """Measure the share of pixels whose color differs by ΔE > 1 (CIEDE2000): what a person may notice."""
    return ciede2000_share(originals(record), read_image(file).pixels)


def _of(record: DetectionRecord, file: Path) -> Smallest | None:
    """Tell what a record says; None: there is nothing to be reached, or to be said."""
    if record.status == "error" or (record.status == "nothing" and parse_goal(record.goal).of_objects):
        return None
    if record.status in ("nothing", "already"):
        return Smallest(0.0, 0.0, 0.0, UNTOUCHED, 0.0)
    if record.status != "success":
        return Smallest()
    l2, rms, linf = (float(record.quality.get(norm) or 0.0) for norm in NORMS)
    return Smallest(l2, rms, linf * GRAY_LEVELS, file.as_posix())


def _least(first: Smallest, second: Smallest) -> Smallest:
    """Take the smaller of two in each norm."""
    nearest = first if first.l2 <= second.l2 else second
    return replace(nearest, rms=min(first.rms, second.rms), linf=min(first.linf, second.linf))
