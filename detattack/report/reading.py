"""A run folder as the report needs it: read from its files alone, without the model, and trusted with nothing."""

import json
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic

from detattack.core.errors import InputError
from detattack.core.types import Category, DetectorCard
from detattack.runs.folder import BaseRunFolder
from detattack.runs.manifest import MANIFEST
from detattack.runs.record import R
from detattack.tasks.detection.coco_export import by_record
from detattack.tasks.detection.goals import Target
from detattack.tasks.detection.record import Record, RunFolder, target_of


@dataclass(frozen=True, eq=False)
class BaseRunData(Generic[R]):
    """What a run folder of any task holds. summary: `summary.json`, empty where the run is unfinished."""

    path: Path
    manifest: dict[str, Any]
    records: list[R]
    summary: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """The run's resolved config."""
        return self.manifest.get("config") or {}


@dataclass(frozen=True, eq=False)
class RunData(BaseRunData[Record]):
    """What the folder of a detector's run holds.

    names: of the labels in the records. truth: the COCO data set of `annotations.json`; clean, adversarial:
    detections in COCO's results format; empty where the run is unfinished.
    """

    names: list[str]
    truth: dict[str, Any]
    clean: list[dict[str, Any]]
    adversarial: list[dict[str, Any]]

    @property
    def tau(self) -> float:
        """The score above which a detection counts as seen."""
        return float(self.config.get("score_threshold", 0.5))

    @cached_property
    def floor(self) -> float:
        """The lowest score on record, in whole hundredths: below it nothing is known."""
        scores = [s for r in self.records for found in (r.clean, r.adversarial) for s in found.get("scores", ())]
        return int(100 * min(scores, default=0.05) + 1e-6) / 100

    @property
    def eval_threshold(self) -> float:
        """The score down to which detections count for mAP: the detector's own, or the lowest on record."""
        return float((self.manifest.get("detector") or {}).get("eval_threshold", self.floor))

    @cached_property
    def _card(self) -> DetectorCard:
        return DetectorCard("", tuple(Category(name, 0) for name in self.names), 0.0)

    def target(self, record: Record) -> Target | None:
        """The target of a record; None where it has none, or names a class that the run does not tell."""
        try:
            return target_of(record, self._card)
        except InputError:
            return None


def read_any(folder_type: type[BaseRunFolder[R]], path: Path) -> BaseRunData[R]:
    """Reads a run folder of a task. Raises `InputError` where it is none or is damaged."""
    with closing(folder_type.open(path)) as folder:
        return BaseRunData(path, folder.manifest, folder.records(), _json(path / "summary.json", dict))


def read_run(path: Path) -> RunData:
    """Reads the folder of a detector's run. Raises `InputError` where it is none or is damaged."""
    run = read_any(RunFolder, path)
    truth = _json(path / "annotations.json", dict)
    clean, adversarial = _json(path / "clean.json", list), _json(path / "adversarial.json", list)
    try:
        annotated, clean, adversarial = (
            by_record(truth, rows) for rows in (truth.get("annotations"), clean, adversarial)
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: annotations.json and the results do not fit together ({error!r})") from error
    truth = {**truth, "annotations": annotated}
    return RunData(
        **vars(run), names=_names(run.manifest, run.records), truth=truth, clean=clean, adversarial=adversarial
    )


def _json(path: Path, kind: type) -> Any:
    """A file made from the ledger; empty where the run is not finished."""
    if not path.is_file():
        return kind()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if not isinstance(content, kind):
        raise InputError(f"{path}: not a JSON {'object' if kind is dict else 'array'}")
    return content


def _names(manifest: dict[str, Any], records: list[Record]) -> list[str]:
    """The names of the labels; numbers where the manifest does not tell them."""
    told = manifest.get("categories") or []
    try:
        names = [str(category["name"]) for category in told]
    except (KeyError, TypeError) as error:
        raise InputError(f"categories of {MANIFEST}: not a list of named classes ({error!r})") from error
    labels = [label for r in records for found in (r.clean, r.adversarial) for label in found.get("labels", ())]
    return names + [f"class {label}" for label in range(len(names), max(labels, default=-1) + 1)]
