"""The folder of a detector's run as its page and figures need it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from detattack.core.errors import InputError
from detattack.core.types import Category, DetectorCard
from detattack.report.reading import RunData, read_derived, read_run
from detattack.runs.manifest import MANIFEST
from detattack.tasks.detection.coco_export import by_record
from detattack.tasks.detection.goals import Target
from detattack.tasks.detection.record import Record, target_of


@dataclass(frozen=True, eq=False)
class DetectionData(RunData[Record]):
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


def read(path: Path) -> DetectionData:
    """Reads the folder of a detector's run. Raises `InputError` where it is none or is damaged."""
    run = read_run(path, Record)
    truth = read_derived(path / "annotations.json", dict)
    clean, adversarial = (read_derived(path / name, list) for name in ("clean.json", "adversarial.json"))
    try:
        annotated, clean, adversarial = (
            by_record(truth, rows) for rows in (truth.get("annotations"), clean, adversarial)
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: annotations.json and the results do not fit together ({error!r})") from error
    truth = {**truth, "annotations": annotated}
    return DetectionData(
        **vars(run), names=_names(run.manifest, run.records), truth=truth, clean=clean, adversarial=adversarial
    )


def _names(manifest: dict[str, Any], records: list[Record]) -> list[str]:
    """The names of the labels; numbers where the manifest does not tell them."""
    told = manifest.get("categories") or []
    try:
        names = [str(category["name"]) for category in told]
    except (KeyError, TypeError) as error:
        raise InputError(f"categories of {MANIFEST}: not a list of named classes ({error!r})") from error
    labels = [label for r in records for found in (r.clean, r.adversarial) for label in found.get("labels", ())]
    return names + [f"class {label}" for label in range(len(names), max(labels, default=-1) + 1)]
