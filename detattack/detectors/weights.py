"""Weights from files: safetensors, or checkpoints that hold nothing but tensors."""

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from detattack.errors import InputError

WRAPPERS = ("state_dict", "model_state_dict", "model")
COUNTER = "num_batches_tracked"
NO_WEIGHTS = "none"
"""What stands for random weights where a file is expected."""
Model = TypeVar("Model")


def seeded(build: Callable[[], Model]) -> Model:
    """A model with random weights that are the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


def downloaded(what: str, build: Callable[[], Model]) -> Model:
    """A model with weights from the net. Raises `InputError` where they cannot be had."""
    try:
        return build()
    except (URLError, OSError) as error:
        why = f"its weights cannot be downloaded ({reason(error)})"
        raise InputError(f"{what}: {why}; pass --weights FILE") from error


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file by name. A pickle with anything else in it is refused, never executed."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"weights {path}: {'not a file' if path.exists() else 'no such file'}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"weights {path}: not a checkpoint of plain tensors; refused") from error
    except Exception as error:  # a damaged file can make the unpickler raise nearly anything
        raise InputError(f"weights {path}: no checkpoint that can be read ({type(error).__name__})") from error
    return _unwrapped(content, path)


def fit_weights(network: nn.Module, weights: dict[str, Tensor], path: str | Path) -> None:
    """Loads `weights` into `network`, strictly but for batch norm's counters. Raises `InputError`."""
    own = network.state_dict()
    missing = [k for k in own if k not in weights and not k.endswith(COUNTER)]
    extra = [k for k in weights if k not in own and not k.endswith(COUNTER)]
    if missing or extra:
        what = f"has no {_first(missing)}" if missing else f"has {_first(extra)}, which the model has not"
        what += f" but {_first(extra)}" if missing and extra else ""
        count = f"{len(missing)} missing, {len(extra)} unexpected of {len(own)}"
        raise InputError(f"weights {path}: do not fit the model: the file {what} ({count})")
    for key, value in weights.items():
        if key in own and own[key].shape != value.shape:
            sizes = f"{tuple(value.shape)} in the file, {tuple(own[key].shape)} in the model"
            raise InputError(f"weights {path}: do not fit the model: {key!r} is {sizes}")
    network.load_state_dict({k: v.to(own[k].dtype) for k, v in weights.items() if k in own}, strict=False)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"weights {path}: not a safetensors file ({reason(error)})") from error


def _unwrapped(content: object, path: Path) -> dict[str, Tensor]:
    if isinstance(content, dict):
        for wrapper in WRAPPERS:
            if isinstance(content.get(wrapper), dict):
                content = content[wrapper]
                break
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"weights {path}: holds no state dict (names and tensors)")
    return {str(k).removeprefix("module."): v for k, v in content.items()}


def _first(keys: Sequence[str], limit: int = 3) -> str:
    return ", ".join(map(repr, keys[:limit])) + (", ..." if len(keys) > limit else "")


def reason(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
