"""A classifier made ready for attack."""

import torch

from classify.types import Classifier
from detattack.core.precision import Precision
from detattack.detectors.fast import twin_of


def fast_classifier(classifier: Classifier, precision: Precision = "fp32") -> Classifier:
    """Its twin, which gives the same gradient in less time; what decides is the classifier itself."""
    return twin_of(classifier, _look, precision)


def _look(classifier: Classifier) -> None:
    side = classifier.smallest
    classifier.logits(torch.full((1, 3, side, side), 0.5, device=classifier.device))
