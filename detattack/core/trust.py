"""Which models are code, and who may have it run. Nothing here imports torch, so that it can be asked first."""

from pathlib import Path

from detattack.core.errors import InputError


def runs_code(spec: str) -> bool:
    """Whether loading a model runs code from a file that its name leads to: an adapter, a pickled model, a config of
    detectron2, whose YAML may construct anything."""
    library, _, name = spec.partition("/")
    return ".py:" in spec or (library in ("detectron2", "ultralytics") and Path(name).exists())


def check_trust(path: Path, model: str, trust: bool) -> None:
    """Raises `InputError` where the model of a run folder, which may come from anybody, would run code that nobody
    said may run."""
    if runs_code(model) and not trust:
        raise InputError(f"{path}: its model {model} runs code from a file; --trust lets it")
