"""The twin of a model: a copy of its adapter, with networks rearranged for speed.

Frozen batch norms are folded into convolutions and weights laid out channels-last: that moves results by the
rounding of float32. With `bf16` the networks run in bfloat16.
"""

import copy
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from detattack.core.errors import InputError
from detattack.core.faults import out_of_memory
from detattack.core.fingerprint import holders, reachable
from detattack.core.precision import Precision, fixed_numerics
from detattack.detectors.fast.bf16 import run_in_bfloat16
from detattack.detectors.fast.calls import outermost
from detattack.detectors.fast.fold_batchnorm import fold, foldable
from detattack.detectors.weights import reason

Model = TypeVar("Model")
SETTINGS = bool, int, float, str, type(None)
"""Types of the attributes of an adapter and of all that it holds, such as thresholds and sizes, that a copy follows;
tuples, lists and dictionaries of them, and NumPy arrays, too."""
DEEPEST = 4
HOOKS = "_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks"


@dataclass(frozen=True, eq=False)
class _Made:
    """A twin, None for the model itself, and what the model was when it was made."""

    twin: Any
    settings: dict[str, Any]
    tensors: dict[str, Tensor]


_made: dict[tuple[int, Precision], _Made] = {}


def twin_of(model: Model, look: Callable[[Model], Any], precision: Precision = "fp32") -> Model:
    """The twin of an adapter as it is now: kept as long as the adapter is, and made again once its weights, training
    flags or settings have changed, in whatever way.

    look: runs all that an attack ever uses of an adapter, on any image. An adapter that cannot be copied, or that
    raises there, is its own twin, which a warning says. Raises `InputError` where `bf16` is asked for and the model
    cannot do it.
    """
    key = id(model), precision
    made = _made.get(key)
    if made is None or not _is_still(model, made):
        if made is None:
            weakref.finalize(model, _made.pop, key, None).atexit = False
        with fixed_numerics():
            twin = _rearranged(model, look)
            if precision == "bf16":
                _lower_precision(model, twin, look)
            tensors = {path: tensor.detach().clone() for path, tensor in _tensors(model)}
        # Not the model itself, which would then be kept for ever.
        made = _made[key] = _Made(None if twin is model else twin, _settings(model), tensors)
    return model if made.twin is None else made.twin


def networks_of(model: object) -> list[nn.Module]:
    """The networks that an adapter is or holds, however deep."""
    return [value for _, value in reachable(model) if isinstance(value, nn.Module)]


def _is_still(model: object, made: _Made) -> bool:
    """Whether a model is what it was, by content: much of what changes a tensor leaves its version as it is."""
    now = dict(_tensors(model))
    return (
        _settings(model) == made.settings
        and now.keys() == made.tensors.keys()
        and all(_equal(tensor, made.tensors[path]) for path, tensor in now.items())
    )


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)


def _tensors(model: object) -> Iterator[tuple[str, Tensor]]:
    for path, value in reachable(model):
        if isinstance(value, Tensor):
            yield path, value
        else:
            yield from ((f"{path}.{name}", tensor) for name, tensor in value.named_parameters())
            yield from ((f"{path}.{name}", tensor) for name, tensor in value.named_buffers())


def _settings(model: object) -> dict[str, Any]:
    """Of an adapter and all that it holds the type, the attributes that are plain values, `training` of a module among
    them, and the numbers of a module's hooks."""
    found = {}
    for path, value, attributes in holders(model):
        if isinstance(value, nn.Module):
            attributes |= {"training": value.training} | {name: list(vars(value)[name]) for name in HOOKS}
        plain = {name: _plain(one) for name, one in attributes.items()}
        found[path] = type(value), {name: one for name, one in plain.items() if one is not type(attributes[name])}
    return found


def _plain(value: Any, depth: int = DEEPEST) -> Any:
    """A copy of a setting, to be compared; of what is none, or is nested too deeply, its type."""
    kind = type(value)
    if kind in SETTINGS:
        return value
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.shape, value.dtype.str, value.tobytes()
    if depth and kind in (tuple, list):
        return kind, [_plain(one, depth - 1) for one in value]
    if depth and kind is dict and all(isinstance(key, str) for key in value):  # others are caches
        return {key: _plain(one, depth - 1) for key, one in value.items()}
    return kind


def _rearranged(model: Model, look: Callable[[Model], Any]) -> Model:
    if not networks_of(model):
        return model
    try:
        twin = copy.deepcopy(model)
        networks = networks_of(twin)
        pairs = foldable(networks, lambda: look(twin))
    except Exception as error:  # the model is someone else's code; what is wrong with it shows on the first image
        if out_of_memory(error):
            raise
        name, said = getattr(model, "name", type(model).__name__), f"{type(error).__name__}: {reason(error)}"
        warnings.warn(f"model {name}: no faster copy of it can be made ({said}); it is attacked itself", stacklevel=2)
        return model
    fold(networks, pairs)
    for network in networks:
        network.to(memory_format=torch.channels_last)
    return twin


def _lower_precision(model: Any, twin: Any, look: Callable[[Any], Any]) -> None:
    what = f"--precision bf16: the model {model.name}"
    if twin is model:
        raise InputError(f"{what} cannot be copied, which that needs")
    modules = [module for network in networks_of(twin) for module in network.modules()]
    try:
        for module in outermost(modules, lambda: look(twin)):
            run_in_bfloat16(module)
        with torch.no_grad():
            look(twin)
    except Exception as error:
        raise InputError(f"{what} does not run in bfloat16 ({type(error).__name__}: {reason(error)})") from error
