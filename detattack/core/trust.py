"""Which models run code from files, and the consent that this needs. Imports no torch, so that it is quick to ask."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detattack.core.errors import InputError
from detattack.core.model_names import models_in, split_defense


def runs_code(spec: str) -> bool:
    """Return whether loading a model runs code from a file that its name leads to.

    These are adapters, pickled models, and configs of detectron2, whose YAML may construct any object.
    """
    base, _ = split_defense(spec)
    library, _, name = base.partition("/")
    files = name, name.partition(":")[0]  # after a file of ultralytics may stand which head it means
    return ".py:" in spec or (library in ("detectron2", "ultralytics") and any(Path(file).exists() for file in files))


def check_trust(path: Path, config: Mapping[str, Any], trust: bool) -> None:
    """Check that the models of a run folder, which may come from anybody, run no code without consent.

    - path: the run folder, for the message
    - config: its config, which names them
    - trust: whether the user consents

    Raises `InputError`.
    """
    for model in models_in(config):
        if runs_code(model) and not trust:
            raise InputError(f"{path}: its model {model} runs code from a file; --trust lets it")
