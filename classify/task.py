"""A classifier's run: a classifier, a config and a data set, and the files that are made from its ledger."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from classify.attack_batch import ClassificationRecord, run_batch, target_index
from classify.config import ClassifyConfig
from classify.datasets import LabeledDataset, resolve_labels
from classify.models.registry import load_classifier
from classify.summary import summarize
from classify.types import Classifier
from detattack.core.errors import InputError
from detattack.core.fingerprint import fingerprint_of_tensors
from detattack.datasets.base import Dataset, Picture
from detattack.runs.batching import Batch, part, plan
from detattack.runs.folder import BaseRunFolder
from detattack.runs.manifest import make_manifest
from detattack.runs.record import Outcome
from detattack.runs.runner import Job


class ClassifyFolder(BaseRunFolder[ClassificationRecord]):
    """The folder of a classifier's run."""

    record_type = ClassificationRecord


def fingerprint(classifier: Classifier) -> str:
    """A hash of all weights that the classifier holds, and of its classes."""
    return fingerprint_of_tensors(classifier, classifier.classes)


@dataclass(frozen=True, eq=False, repr=False)
class ClassifyRun:
    """What is to be run. Fields as of the detector's `Run`; figures: whether each image gets a figure."""

    classifier: Classifier
    config: ClassifyConfig
    data: LabeledDataset
    figures: bool = False
    shard: tuple[int, int] | None = None
    lengths: Mapping[int, float] | None = None
    all_measures: bool = False

    def __repr__(self) -> str:
        return f"ClassifyRun({self.classifier.name!r}, {self.config.attack.name!r}, {self.data!r})"

    @property
    def dataset(self) -> Dataset:
        """The images."""
        return self.data.dataset

    def batches(self) -> list[Batch]:
        """What is to be done, resumed or not: decided over the whole data set."""
        return part(plan(self.dataset.samples, self.config.batch), self.shard)

    def attack(self, pictures: list[tuple[ClassificationRecord, Picture]]) -> list[Outcome[ClassificationRecord]]:
        """Attacks images of one size."""
        return self.job()(self.classifier, pictures)

    def job(self) -> Job[ClassificationRecord]:
        """What `attack` does, as another process does it with the same classifier."""
        return partial(_attack, self.config, self._labels, self.lengths)

    @cached_property
    def _labels(self) -> Mapping[int, int | None]:
        """Resolved once: for a large data set that takes a second. Raises `InputError`."""
        return resolve_labels(self.data, self.classifier.classes)

    def loader(self) -> Callable[[], Classifier]:
        """What loads the same classifier in another process."""
        return partial(_load, self.config, str(self.classifier.device), fingerprint(self.classifier))

    def write_figures(self, folder: Path, outcomes: Iterable[Outcome[ClassificationRecord]]) -> None:
        """Original, adversarial image and their difference with the likeliest classes, where figures are wanted."""
        if not self.figures:
            return
        from classify.figure import write_attack_figure

        (folder / "figures").mkdir(exist_ok=True)
        for outcome in outcomes:
            path = folder / "figures" / f"{outcome.record.stem}.png"
            write_attack_figure(path, outcome, self.classifier.classes)

    def complete(self, folder: ClassifyFolder) -> None:
        """Writes the summary from the ledger."""
        folder.write_json("summary.json", summarize(folder.iterate(), self.classifier.classes))

    def open_folder(self, out: Path, resume: bool = False) -> ClassifyFolder:
        """The folder of this run, new or to be continued. Raises `InputError`, and writes nothing then."""
        _ = self._labels  # raises for those that are wrong
        target_index(self.config, self.classifier)
        config = self.config.model_dump(mode="json") | {"device": str(self.classifier.device)}
        lengths = None if self.lengths is None else [[i, self.lengths[i]] for i in sorted(self.lengths)]
        more: dict[str, Any] = {
            "task": ClassificationRecord.task,
            "images": len(self.dataset.samples),
            "shard": None if self.shard is None else list(self.shard),
            "lengths": lengths,
            "figures": self.figures,
            "all_measures": self.all_measures,
            "origin": self.dataset.origin and self.dataset.origin.as_json(),
            "notes": list(self.dataset.notes),
            "classes": list(self.classifier.classes),
        }
        manifest = make_manifest(config, fingerprint(self.classifier), self.dataset.fingerprint, **more)
        return ClassifyFolder.create(out, manifest, resume)


def _attack(
    config: ClassifyConfig,
    labels: Mapping[int, int | None],
    lengths: Mapping[int, float] | None,
    classifier: Classifier,
    pictures: list[tuple[ClassificationRecord, Picture]],
) -> list[Outcome[ClassificationRecord]]:
    return run_batch(classifier, config, pictures, labels, lengths)


def _load(config: ClassifyConfig, device: str, expected: str) -> Classifier:
    classifier = load_classifier(config.model, device, config.weights, config.preprocess, config.categories)
    if fingerprint(classifier) != expected:
        raise InputError(f"model {config.model}: its weights are not the same on every machine")
    return classifier
