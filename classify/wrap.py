"""From a network in memory to a classifier, for `detattack.api`."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import nn

from classify.models.network import NetworkClassifier, Preprocessing
from classify.types import Classifier
from detattack.core.errors import InputError


def wrap_classifier(
    network: nn.Module,
    classes: Sequence[str],
    preprocessing: Preprocessing | None = None,
    *,
    name: str | None = None,
    device: str | torch.device | None = None,
) -> Classifier:
    """Make a classifier of a network `[N,3,h,w]` to logits `[N,K]`. It stays as it is: a copy is frozen and attacked.

    - classes: names, in the order of the logits
    - preprocessing: what is done to images in [0,1] before the network; None: nothing
    - name: what reports call it; None: its class
    - device: where the copy lives; None: where the network is

    Raises `InputError` for what is no such network.
    """
    called = name or type(network).__name__
    if not isinstance(network, nn.Module):
        raise InputError(f"wrap_classifier {called}: expected a torch module")
    if isinstance(classes, str) or len(classes) < 2 or not all(isinstance(one, str) for one in classes):
        raise InputError(f"wrap_classifier {called}: classes: expected at least two names")
    first = next(network.parameters(), None)
    place = torch.device(device) if device is not None else first.device if first is not None else torch.device("cpu")
    single = deepcopy(network).float()  # as its images are
    return NetworkClassifier(called, single, tuple(classes), place, preprocessing or Preprocessing())
