"""The entry of one model in a ranking: the smallest changes, AP by budget, and verdicts.

It is read from the model's run folders alone, and holds nothing of the clock: the same bytes whenever it is made.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from detattack import __version__
from detattack.core.errors import InputError
from detattack.core.files import write_text_atomic
from detattack.core.types import Category
from detattack.datasets.base import Dataset
from detattack.datasets.overview import size_name
from detattack.ranking.classes import counted_classes, largest_areas
from detattack.ranking.diagnoses import Verdict, verdicts
from detattack.ranking.phases import Phases, records_of
from detattack.ranking.probe import Probe
from detattack.ranking.smallest import Smallest, smallest_changes
from detattack.runs.manifest import read_manifest
from detattack.runs.originals import originals_in

ENTRY = "entry.json"
CLEAN, DOUBLED = "clean", "doubled"
PACKAGES = ("torch", "torchvision", "numpy")
"""Whose versions an entry names."""


@dataclass(frozen=True)
class Shown:
    """What an image shows.

    - classes: of its annotated objects that the model knows
    - size: of the largest of them by its annotated area: `small`, `medium` or `large`, as COCO has it
    - confidence: the highest score with which one of them is found untouched
    """

    stem: str
    source: str
    classes: tuple[str, ...]
    size: str
    confidence: float


@dataclass(frozen=True)
class Failed:
    """An image that could not be measured, and why."""

    stem: str
    reason: str


@dataclass(frozen=True, eq=False)
class Entry:
    """A model's entry.

    - folder: its name in the folder of the ranking
    - model: its `spec`, `name`, `weights`, `fingerprint` and `threshold`, the lowest score of its inference
    - data: `fingerprint`, `images`, `seed`
    - classes: that it is measured on: those that it knows and that are annotated, as the data names them
    - shown: what each image shows that has an object, by id
    - errors: the images that any of its runs could not measure, by id
    - walks: the smallest changes by walk and image id
    - ap: clean, by budget, and `doubled`; ap50 likewise
    - passes: backward and forward passes of all runs
    """

    folder: str
    protocol: Mapping[str, str]
    versions: Mapping[str, str | None]
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    classes: tuple[str, ...]
    shown: Mapping[int, Shown]
    errors: Mapping[int, Failed]
    walks: Mapping[str, Mapping[int, Smallest]]
    ap: Mapping[str, float | None]
    ap50: Mapping[str, float | None]
    passes: Mapping[str, int]
    verdicts: tuple[Verdict, ...] = field(default=())

    @property
    def name(self) -> str:
        """What the model is called."""
        return str(self.model["name"])

    def as_json(self) -> dict[str, Any]:
        """Return the entry as JSON has it."""
        return {
            **vars(self),
            "shown": {number: vars(one) for number, one in self.shown.items()},
            "errors": {number: vars(one) for number, one in self.errors.items()},
            "walks": {
                name: {number: one.as_json() for number, one in walk.items()} for name, walk in self.walks.items()
            },
            "verdicts": [verdict.as_json() for verdict in self.verdicts],
        }

    def write(self, folder: Path) -> None:
        """Write `entry.json` into the model's folder."""
        write_text_atomic(folder / ENTRY, json.dumps(self.as_json(), indent=1, allow_nan=False) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the entry of a model's folder. Raises `InputError`."""
        path = folder / ENTRY
        try:
            values = json.loads(path.read_bytes())
            values["shown"] = {
                int(i): Shown(**{**one, "classes": tuple(one["classes"])}) for i, one in values["shown"].items()
            }
            values["classes"] = tuple(values["classes"])
            values["errors"] = {int(i): Failed(**one) for i, one in values["errors"].items()}
            values["walks"] = {
                name: {int(i): Smallest.from_json(one) for i, one in walk.items()}
                for name, walk in values["walks"].items()
            }
            values["verdicts"] = tuple(Verdict(**one) for one in values["verdicts"])
            return cls(**values)
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise InputError(f"{path}: cannot be read, or is no entry of a ranking ({error})") from error


def make_entry(
    phases: Phases,
    seen: Probe,
    model: Mapping[str, Any],
    data: Mapping[str, Any],
    categories: Sequence[Category],
    dataset: Dataset,
) -> Entry:
    """Make the entry of a model from its finished runs. model, data: see `Entry`; categories: those of the model."""
    protocol, originals = phases.protocol, originals_in(dataset)
    scores = _scores(phases)
    ap = {key: score["ap"] for key, score in scores.items()}
    return Entry(
        folder=phases.path.name,
        protocol=protocol.as_json,
        versions={"detattack": __version__, **_versions(phases)},
        model=model,
        data=data,
        classes=counted_classes(categories, dataset),
        shown=_shown(phases, largest_areas(categories, dataset)),
        errors=_errors(phases),
        walks={name: smallest_changes(phases.reaching(name), phases.path, originals) for name in protocol.walks},
        ap=ap,
        ap50={key: score["ap50"] for key, score in scores.items()},
        passes=_passes(phases),
        verdicts=tuple(verdicts(phases, seen, ap)),
    )


def _scores(phases: Phases) -> dict[str, dict[str, float | None]]:
    """Read the APs: clean, by budget, and after twice the passes."""
    summaries = phases.summaries()
    runs = {str(budget): phases.budget(budget) for budget in phases.protocol.budgets.all} | {DOUBLED: phases.doubled}
    found = {key: summaries[path]["ap"] for key, path in runs.items() if path in summaries}
    clean = next((ap["clean"] for ap in found.values()), None)
    scores = {key: ap["adversarial"] for key, ap in found.items()}
    return ({CLEAN: clean} if clean else {}) | scores


def _passes(phases: Phases) -> dict[str, int]:
    """Add up the passes of all runs of a model."""
    total = {"forwards": 0, "backwards": 0}
    for folder in phases.summaries():
        for record in records_of(folder):
            total["forwards"] += record.forwards
            total["backwards"] += record.backwards
    return total


def _shown(phases: Phases, areas: Mapping[int, float]) -> dict[int, Shown]:
    """Read what each image shows that has an object. areas: of its largest one, by image id."""
    shown = {}
    for folder in [*phases.walks(phases.protocol.first_walk), phases.search]:
        names = _names(folder)
        for record in records_of(folder):
            if record.objects:
                classes = tuple(sorted({names[label] for label in record.object_labels}))
                size = size_name(areas[record.id])
                shown[record.id] = Shown(record.stem, record.source, classes, size, record.confidence_before)
    return dict(sorted(shown.items()))


def _errors(phases: Phases) -> dict[int, Failed]:
    """Read which images any of the runs could not measure."""
    failed = {
        record.id: Failed(record.stem, record.reason)
        for folder in phases.summaries()
        for record in records_of(folder)
        if record.status == "error"
    }
    return dict(sorted(failed.items()))


def _names(folder: Path) -> list[str]:
    return [one["name"] for one in read_manifest(folder)["categories"]] if folder.is_dir() else []


def _versions(phases: Phases) -> dict[str, str | None]:
    """Read the versions of what the first run was made with."""
    folder = next((path for path in phases.walks(phases.protocol.first_walk) if path.is_dir()), phases.search)
    versions = read_manifest(folder)["versions"] if folder.is_dir() else {}
    return {name: versions.get(name) for name in PACKAGES}
