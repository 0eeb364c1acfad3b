"""Accelerated copy of a classifier."""

import torch

from classify.types import Classifier
from detattack.core.precision import Precision
from detattack.detectors.fast import accelerated_copy


def fast_classifier(classifier: Classifier, precision: Precision = "fp32") -> Classifier:
    """Return its accelerated copy, which gives the same gradient in less time; the classifier itself decides."""
    return accelerated_copy(classifier, _probe, precision)


def _probe(classifier: Classifier) -> None:
    side = classifier.smallest
    classifier.logits(torch.full((1, 3, side, side), 0.5, device=classifier.device))
