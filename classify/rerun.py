"""A finished run against a classifier repeated from its manifest."""

from pathlib import Path
from typing import Any

from classify.config import read_config
from classify.datasets import LabeledDataset, named_images, open_dataset
from classify.models.registry import load_classifier
from classify.selection import after, only_right
from classify.task import ClassifyRun, fingerprint
from classify.types import Classifier
from detattack.datasets.source import DatasetSource
from detattack.workflows.rerun import Instead, check_same, flags


def repeated(path: Path, manifest: dict[str, Any], instead: Instead, trust: bool) -> ClassifyRun:
    """The run that the manifest in `path` tells of. Raises `InputError` where the model or the data is not what it
    was."""
    config = read_config(instead.config(path, manifest, trust))
    origin = instead.origin(path, manifest)
    classifier = load_classifier(config.model, config.device, config.weights, config.preprocess, config.categories)
    data = _data_set(origin, classifier)
    check_same(path, manifest, fingerprint(classifier), data.dataset)
    return ClassifyRun(classifier, config, data, **flags(manifest))


def _data_set(origin: DatasetSource, classifier: Classifier) -> LabeledDataset:
    if origin.files:
        return named_images([Path(file) for file in origin.files])
    images, labels = (None if name is None else Path(name) for name in (origin.images, origin.labels))
    data = open_dataset(images, labels, origin.split or "test", origin.side or classifier.smallest)
    if origin.only_right:
        return only_right(classifier, data, origin.skip, origin.limit)
    return after(data, origin.skip).first(origin.limit)
