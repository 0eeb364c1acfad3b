"""Accelerated copy of a model; where none can be made, the model itself.

Frozen batch norms are folded into convolutions and weights laid out channels-last, which changes results by float32
rounding. With `bf16` the networks run in bfloat16.
"""

import copy
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from detattack.core.errors import InputError, kind_and_reason
from detattack.core.faults import out_of_memory
from detattack.core.fingerprint import holders, reachable
from detattack.core.precision import Precision, fixed_numerics
from detattack.detectors.fast.bf16 import run_in_bfloat16
from detattack.detectors.fast.called_modules import outermost_called
from detattack.detectors.fast.fold_batchnorm import fold, foldable_pairs
from detattack.detectors.fast.local_gradients import compute_locally

Model = TypeVar("Model")
SETTINGS = bool, int, float, str, type(None)
"""Types of the attributes of an adapter and of all that it holds, such as thresholds and sizes, that a copy follows;
tuples, lists and dictionaries of them, and NumPy arrays, too."""
DEEPEST = 4
HOOKS = "_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks"


@dataclass(frozen=True, eq=False)
class _Entry:
    """A copy, None for the model itself, and settings and tensors that the model had when it was entry."""

    copy: Any
    settings: dict[str, Any]
    tensors: dict[str, Tensor]


_cache: dict[tuple[int, Precision], _Entry] = {}


def accelerated_copy(
    model: Model, probe: Callable[[Model], Any], precision: Precision = "fp32", local: bool = False
) -> Model:
    """Return the accelerated copy of an adapter as it is now.

    It is cached as long as the adapter lives, and made again once the adapter's weights, training flags or settings
    have changed, in whatever way. An adapter that cannot be copied, or that raises in `probe`, is returned itself,
    with a warning.

    - model: An adapter that is or holds networks.
    - probe: Runs all parts of an adapter that an attack uses, on any image.
    - precision: Precision of the copy's networks.
    - local: The gradient may be zero in whole branches of the networks, which the backward pass then leaves out; where
      it is zero in all of them, that of the images is undefined.

    Raises `InputError` where `bf16` is asked for and the model cannot do it.
    """
    key = id(model), precision
    entry = _cache.get(key)
    if entry is None or not _is_unchanged(model, entry):
        if entry is None:
            weakref.finalize(model, _cache.pop, key, None).atexit = False
        with fixed_numerics():
            copied = _accelerated(model, probe)
            if local and copied is not model:
                compute_locally(networks_of(copied))
            if precision == "bf16":
                _lower_precision(model, copied, probe)
            tensors = {path: tensor.detach().clone() for path, tensor in _tensors(model)}
        # Not the model itself, which would then never be freed.
        entry = _cache[key] = _Entry(None if copied is model else copied, _settings(model), tensors)
    return model if entry.copy is None else entry.copy


def networks_of(model: object) -> list[nn.Module]:
    """Return the networks that an adapter is or holds, however deep."""
    return [value for _, value in reachable(model) if isinstance(value, nn.Module)]


def _is_unchanged(model: object, entry: _Entry) -> bool:
    """Compare a model with what it was, by content: many ways to change a tensor leave its version as it is."""
    now = dict(_tensors(model))
    return (
        _settings(model) == entry.settings
        and now.keys() == entry.tensors.keys()
        and _equal([(tensor, entry.tensors[path]) for path, tensor in now.items()])
    )


def _equal(pairs: Sequence[tuple[Tensor, Tensor]]) -> bool:
    """Compare tensors by content. The host waits once for each device, not once for each tensor."""
    if any((a.shape, a.dtype, a.device) != (b.shape, b.dtype, b.device) for a, b in pairs):
        return False
    same: dict[torch.device, list[Tensor]] = {}
    for one, other in pairs:
        same.setdefault(one.device, []).append((one == other).all())
    return all(bool(torch.stack(these).all()) for these in same.values())


def _tensors(model: object) -> Iterator[tuple[str, Tensor]]:
    for path, value in reachable(model):
        if isinstance(value, Tensor):
            yield path, value
        else:
            yield from ((f"{path}.{name}", tensor) for name, tensor in value.named_parameters())
            yield from ((f"{path}.{name}", tensor) for name, tensor in value.named_buffers())


def _settings(model: object) -> dict[str, Any]:
    """Return the type and the plain attributes of an adapter and of all that it holds, by path.

    Of a module `training` and the numbers of its hooks are among them.
    """
    found: dict[str, Any] = {}
    for path, value, attributes in holders(model):
        if isinstance(value, nn.Module):
            attributes |= {"training": value.training} | {name: list(vars(value)[name]) for name in HOOKS}
        plain = {name: _plain(one) for name, one in attributes.items()}
        found[path] = type(value), {name: one for name, one in plain.items() if one is not type(attributes[name])}
    return found


def _plain(value: Any, depth: int = DEEPEST) -> Any:
    """Copy a setting, to be compared; of what is none, or is nested too deeply, return the type."""
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


def _accelerated(model: Model, probe: Callable[[Model], Any]) -> Model:
    if not networks_of(model):
        return model
    try:
        copied = copy.deepcopy(model)
        networks = networks_of(copied)
        pairs = foldable_pairs(networks, lambda: probe(copied))
    except Exception as error:  # the model is someone else's code; what is wrong with it shows on the first image
        if out_of_memory(error):
            raise
        name, said = getattr(model, "name", type(model).__name__), kind_and_reason(error)
        warnings.warn(f"model {name}: no faster copy of it can be made ({said}); it is attacked itself", stacklevel=2)
        return model
    fold(networks, pairs)
    for network in networks:
        network.to(memory_format=torch.channels_last)
    return copied


def _lower_precision(model: Any, copied: Any, probe: Callable[[Any], Any]) -> None:
    what = f"--precision bf16: the model {model.name}"
    if copied is model:
        raise InputError(f"{what} cannot be copied, which that needs")
    modules = [module for network in networks_of(copied) for module in network.modules()]
    try:
        for module in outermost_called(modules, lambda: probe(copied)):
            run_in_bfloat16(module)
        with torch.no_grad():
            probe(copied)
    except Exception as error:
        raise InputError(f"{what} does not run in bfloat16 ({kind_and_reason(error)})") from error
