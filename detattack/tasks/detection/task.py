"""A detector's run: a detector, a config and a data set, and the files that are made from its ledger."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detattack.core.errors import InputError
from detattack.core.types import DEFAULT_MAX_DETECTIONS, DEFAULT_SCORE_THRESHOLD, DetectorCard
from detattack.datasets.base import Dataset, Picture
from detattack.detectors.base import Detector
from detattack.detectors.registry import fingerprint, load_detector
from detattack.runs.batching import Batch, part, plan
from detattack.runs.manifest import make_manifest
from detattack.runs.record import Outcome
from detattack.runs.runner import Job
from detattack.tasks.detection.attack_batch import run_batch
from detattack.tasks.detection.coco_export import coco_annotations, coco_results
from detattack.tasks.detection.config import RunConfig
from detattack.tasks.detection.goals import parse_goal
from detattack.tasks.detection.record import Record, RunFolder
from detattack.tasks.detection.summary import average_precision, questions, summarize


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """What is to be run: a detector, a config, the data.

    figures: whether each image gets a figure. shard: (i, n), the i-th of n parts of the batches; None: all.
    lengths: for the control `noise`, the L2 by image id, where it is known. all_measures: whether all measures of
    quality are taken, instead of the quick ones.
    """

    detector: Detector
    config: RunConfig
    dataset: Dataset
    figures: bool = False
    shard: tuple[int, int] | None = None
    lengths: Mapping[int, float] | None = None
    all_measures: bool = False

    def __repr__(self) -> str:
        return f"Run({self.detector.name!r}, {self.config.goal!r}, {self.config.attack.name!r}, {self.dataset!r})"

    def batches(self) -> list[Batch]:
        """What is to be done, resumed or not: decided over the whole data set."""
        return part(plan(self.dataset.samples, self.config.batch), self.shard)

    def attack(self, pictures: list[tuple[Record, Picture]]) -> list[Outcome[Record]]:
        """Attacks images of one size."""
        return self.job()(self.detector, pictures)

    def job(self) -> Job[Record]:
        """What `attack` does, as another process does it with the same detector."""
        return partial(_attack, self.config, self.lengths)

    def loader(self) -> Callable[[], Detector]:
        """What loads the same detector in another process."""
        return partial(_load, self.config, str(self.detector.device), fingerprint(self.detector))

    def write_figures(self, folder: Path, outcomes: list[Outcome[Record]]) -> None:
        """Original and adversarial image with the detector's boxes, where figures are wanted."""
        from detattack.tasks.detection.figure import write_attack_figure

        if not self.figures:
            return
        names = [category.name for category in self.detector.categories]
        (folder / "figures").mkdir(exist_ok=True)
        for outcome in outcomes:
            path = folder / "figures" / f"{outcome.record.stem}.png"
            write_attack_figure(path, outcome, names, self.config.score_threshold)

    def open_folder(self, out: Path, resume: bool = False) -> RunFolder:
        """The folder of this run, new or to be continued. Raises `InputError`, and writes nothing then."""
        parse_goal(self.config.goal).check(self.detector.categories)
        config = self.config.model_dump(mode="json") | {"device": str(self.detector.device)}
        return RunFolder.create(out, make_manifest(config, fingerprint(self.detector), **_manifest(self)), resume)

    def complete(self, folder: RunFolder) -> None:
        """Writes what is made from the ledger."""
        complete(folder, self.detector, self.dataset)


def _attack(
    config: RunConfig,
    lengths: Mapping[int, float] | None,
    detector: Detector,
    pictures: list[tuple[Record, Picture]],
) -> list[Outcome[Record]]:
    return run_batch(detector, config, pictures, lengths)


def _load(config: RunConfig, device: str, expected: str) -> Detector:
    detector = load_detector(config.model, device, config.weights, config.categories)
    if fingerprint(detector) != expected:
        raise InputError(f"model {config.model}: its weights are not the same on every machine")
    return detector


def _manifest(run: Run) -> dict[str, Any]:
    detector = run.detector
    lengths = None if run.lengths is None else [[i, run.lengths[i]] for i in sorted(run.lengths)]
    return {
        "data": run.dataset.fingerprint,
        "images": len(run.dataset.samples),
        "annotated": bool(run.dataset.categories),
        "shard": None if run.shard is None else list(run.shard),
        "lengths": lengths,
        "figures": run.figures,
        "all_measures": run.all_measures,
        "origin": run.dataset.origin and run.dataset.origin.as_json(),
        "notes": list(run.dataset.notes),
        "detector": {
            "name": detector.name,
            "eval_threshold": detector.eval_threshold,
            "expected_ap": getattr(detector, "expected_ap", None),
        },
        "categories": [{"id": c.coco_id, "name": c.name} for c in detector.categories],
    }


def complete(folder: RunFolder, detector: Detector | DetectorCard, dataset: Dataset) -> None:
    """Writes what is made from the ledger: from nothing else, so at any time and to the same bytes."""
    for which in ("clean", "adversarial"):
        results = coco_results(folder.iterate(), detector, dataset, which)
        folder.write_json(f"{which}.json", map(dataset.originals.restored, results))
    folder.write_json("annotations.json", coco_annotations(folder.iterate(), detector, dataset))
    folder.write_json("summary.json", summary_of(folder, detector, dataset))


def summary_of(folder: RunFolder, detector: Detector | DetectorCard, dataset: Dataset) -> dict[str, Any]:
    """All scores of a run; what depends on the clock is under `timing` alone."""
    config = folder.manifest["config"]
    threshold = config.get("score_threshold", DEFAULT_SCORE_THRESHOLD)
    most = config.get("max_detections", DEFAULT_MAX_DETECTIONS)
    summary = summarize(folder.iterate(), detector, threshold)
    ids = [record.id for record in folder.iterate() if "boxes" in record.clean and "boxes" in record.adversarial]
    summary["ap"] = average_precision(
        dataset,
        detector,
        ids,
        lambda: coco_results(folder.iterate(), detector, dataset, "clean"),
        lambda: coco_results(folder.iterate(), detector, dataset, "adversarial"),
        most,
    )
    summary["questions"] = questions(threshold, detector.eval_threshold, most)
    summary["timing"] = summary.pop("timing")
    return summary
