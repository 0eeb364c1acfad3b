"""Which images of a data set are attacked."""

import logging
from itertools import islice

from classify.datasets import LabeledDataset, resolve_labels
from classify.objective import shares
from classify.types import Classifier
from detattack.core.errors import InputError
from detattack.core.faults import check_device
from detattack.datasets.base import Sample
from detattack.datasets.image_io import to_tensor

log = logging.getLogger(__name__)


def after(data: LabeledDataset, skip: int) -> LabeledDataset:
    """All images but the first `skip`. Raises `InputError` where none is left."""
    if not skip:
        return data
    ids = [sample.id for sample in data.dataset.samples[skip:]]
    if not ids:
        raise InputError(f"--skip {skip}: the data set has {len(data.dataset.samples)} images")
    return data.pick(ids, f"after {skip}", skip=skip)


def only_right(classifier: Classifier, data: LabeledDataset, skip: int = 0, limit: int | None = None) -> LabeledDataset:
    """The images that the classifier gets right, in order: of these, `limit` after the first `skip`.

    An image that cannot be read, or that the classifier fails on, counts as not right. Raises `InputError` where there
    are none or too few, and `DeviceBroken`.
    """
    labels = resolve_labels(data, classifier.classes)
    if any(label is None for label in labels.values()):
        raise InputError("--only-right needs images with labels")
    right = (s.id for s in data.dataset.samples if _predicted(classifier, s) == labels[s.id])
    ids = list(islice(right, skip, None if limit is None else skip + limit))
    if len(ids) < (limit or 1):
        raise InputError(f"{len(ids)} images that {classifier.name} gets right are left, {limit or 1} are asked for")
    what = f"{len(ids)} right ones of {classifier.name} after {skip}"
    return data.pick(ids, what, only_right=True, skip=skip, limit=limit)


def _predicted(classifier: Classifier, sample: Sample) -> int | None:
    try:
        return int(shares(classifier, to_tensor(sample.load().pixels)).argmax())
    except (InputError, ValueError):
        return None
    except Exception as error:  # the model is someone else's code: whatever it raises concerns this image
        check_device(error, sample.source)
        said = " ".join(str(error).split())[:300]
        log.warning("%s: left out, %s fails on it (%s: %s)", sample.source, classifier.name, type(error).__name__, said)
        return None
