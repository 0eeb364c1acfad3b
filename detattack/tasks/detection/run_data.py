"""The folder of a detector's run as its page and figures need it."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from detattack.core.errors import InputError
from detattack.core.types import DEFAULT_SCORE_THRESHOLD, Category, DetectorCard
from detattack.report.reading import EvenSample, RunData, read_derived, read_run
from detattack.runs.manifest import MANIFEST, read_manifest
from detattack.tasks.detection.coco_export import by_record
from detattack.tasks.detection.goals import Target
from detattack.tasks.detection.measures import ClassTally
from detattack.tasks.detection.record import DetectionRecord, target_of

MOST_JUDGED = 1000
"""Attacked images that are judged at other thresholds."""


@dataclass(frozen=True, eq=False)
class DetectionData(RunData[DetectionRecord]):
    """What the folder of a detector's run holds.

    - names: of the labels in the records.
    - scores: of all detections, clean and adversarial.
    - scored: ids of the images with detections, or none, of both; an image that failed may have neither.
    - classes: what happened to each class above τ.
    - judged: an even sample of the attacked images, whole.
    """

    names: list[str]
    scores: "array[float]"
    scored: set[int]
    classes: ClassTally
    judged: EvenSample[DetectionRecord]

    @property
    def tau(self) -> float:
        """The score above which a detection counts as seen."""
        return _tau(self.config)

    @cached_property
    def floor(self) -> float:
        """The lowest score on record, in whole hundredths: below it nothing is known."""
        return int(100 * min(self.scores, default=0.05) + 1e-6) / 100

    @property
    def eval_threshold(self) -> float:
        """The score down to which detections count for mAP: the detector's own, or the lowest on record."""
        return float((self.manifest.get("detector") or {}).get("eval_threshold", self.floor))

    @cached_property
    def _card(self) -> DetectorCard:
        return DetectorCard("", tuple(Category(name, 0) for name in self.names), 0.0)

    def target(self, record: DetectionRecord) -> Target | None:
        """Return the target of a record; None where it has none, or names a class that the run does not tell."""
        try:
            return target_of(record, self._card)
        except InputError:
            return None


@dataclass(frozen=True)
class CocoFiles:
    """The COCO files of a run folder: annotations by the ledger's ids, categories, and results."""

    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    clean: list[dict[str, Any]]
    adversarial: list[dict[str, Any]]


def read(path: Path) -> DetectionData:
    """Read the folder of a detector's run. Raises `InputError` where it is none or is damaged."""
    seen = _Seen(_tau(read_manifest(path)["config"]))
    run = read_run(path, DetectionRecord, seen.add)
    names = _names(run.manifest, 1 + max(seen.classes.labels, default=-1))
    return DetectionData(**vars(run), names=names, **vars(seen))


def read_coco(path: Path) -> CocoFiles:
    """Read the COCO files of a detector's run; empty where it is unfinished. Raises `InputError`."""
    truth = read_derived(path / "annotations.json", dict)
    clean, adversarial = (read_derived(path / name, list) for name in ("clean.json", "adversarial.json"))
    try:
        annotations, clean, adversarial = (
            by_record(truth, rows) for rows in (truth.get("annotations", []), clean, adversarial)
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: annotations.json and the results do not fit together ({error!r})") from error
    return CocoFiles(annotations, truth.get("categories", []), clean, adversarial)


class _Seen:
    """What is noted of each whole record as it comes by."""

    def __init__(self, tau: float) -> None:
        self.scores = array("d")
        self.scored: set[int] = set()
        self.classes = ClassTally(tau)
        self.judged: EvenSample[DetectionRecord] = EvenSample(MOST_JUDGED)

    def add(self, record: DetectionRecord) -> None:
        for found in (record.clean, record.adversarial):
            self.scores.extend(found.get("scores", ()))
        if record.is_scored:
            self.scored.add(record.id)
        if record.quality:
            self.judged.add(record)
        self.classes.add(record)


def _tau(config: Mapping[str, Any]) -> float:
    tau = config.get("score_threshold", DEFAULT_SCORE_THRESHOLD)
    if not isinstance(tau, int | float):
        raise InputError(f"score_threshold of {MANIFEST}: not a number ({tau!r})")
    return float(tau)


def _names(manifest: Mapping[str, Any], count: int) -> list[str]:
    """Return the names of the labels, at least so many; numbers where the manifest does not tell them."""
    told = manifest.get("categories") or []
    try:
        names = [str(category["name"]) for category in told]
    except (KeyError, TypeError) as error:
        raise InputError(f"categories of {MANIFEST}: not a list of named classes ({error!r})") from error
    return names + [f"class {label}" for label in range(len(names), count)]
