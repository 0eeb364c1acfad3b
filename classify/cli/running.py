"""From options to a checked run against a classifier."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from classify.datasets import LabeledDataset
    from classify.task import ClassifyRun
    from classify.types import Classifier
    from detattack.engine import Attack

MODEL_OPTIONS = ("model", "weights", "preprocess", "categories")


def load(given: Mapping[str, Any]) -> "Classifier":
    """The classifier that the options name."""
    from classify.models.registry import load_classifier

    spec, *rest = (given[name] for name in MODEL_OPTIONS)
    return load_classifier(spec, given["device"], *rest)


def attack_of(given: Mapping[str, Any], method: str, overrides: Mapping[str, Any]) -> "Attack":
    """The attack of a method with what the options change."""
    from classify.methods import PRESETS
    from detattack.engine.config import resolve_attack

    stop = given["stop_confidence"]
    overrides = {"perceptual": given.get("perceptual", False), **overrides}  # `tune` has no such option
    if stop is not None:
        overrides = {"stop": "confidence", "stop_confidence": stop, **overrides}
    return resolve_attack(method, given["floats"], given["max_iterations"], overrides, PRESETS)


def make_run(
    given: Mapping[str, Any],
    classifier: "Classifier",
    data: "LabeledDataset",
    attack: "Attack | None" = None,
    **more: Any,
) -> "ClassifyRun":
    """The checked run of a command's options. Nothing is written. Raises `InputError`."""
    from classify.attack_batch import target_index
    from classify.config import make_config
    from classify.methods import PRESETS
    from classify.task import ClassifyRun
    from detattack.cli.comparing import overrides_of
    from detattack.engine.config import named_attack

    if attack is None:
        method = named_attack(given["method"], PRESETS).name
        attack = attack_of(given, method, overrides_of([method], given["set"], PRESETS)[method])
    names = (*MODEL_OPTIONS, "target", "classes", "seed", "device", "batch", "precision")
    values = {name: given[name] for name in names}
    config = make_config(attack, **values)
    target_index(config, classifier)
    return ClassifyRun(classifier, config, data, **more)
