"""Which models run code from files, and the consent that this needs. Imports no torch, so that it is quick to ask."""

from pathlib import Path

from detattack.core.errors import InputError


def runs_code(spec: str) -> bool:
    """Return whether loading a model runs code from a file that its name leads to.

    These are adapters, pickled models, and configs of detectron2, whose YAML may construct any object.
    """
    library, _, name = spec.partition("/")
    files = name, name.partition(":")[0]  # after a file of ultralytics may stand which head it means
    return ".py:" in spec or (library in ("detectron2", "ultralytics") and any(Path(file).exists() for file in files))


def check_trust(path: Path, model: str, trust: bool) -> None:
    """Check that the model of a run folder, which may come from anybody, runs no code without consent.

    - path: the run folder, for the message
    - model: its model's name
    - trust: whether the user consents

    Raises `InputError`.
    """
    if runs_code(model) and not trust:
        raise InputError(f"{path}: its model {model} runs code from a file; --trust lets it")
