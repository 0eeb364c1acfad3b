"""The twin of a model: a copy of its adapter, with networks rearranged for speed.

Frozen batch norms are folded into convolutions and weights laid out channels-last: that moves results by the
rounding of float32. With `bf16` the networks run in bfloat16.
"""

import copy
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from detattack.detectors.weights import reason
from detattack.errors import InputError
from detattack.optimize.bfloat16 import run_in_bfloat16
from detattack.optimize.calls import outermost
from detattack.optimize.folding import fold_norms
from detattack.precision import Precision

Model = TypeVar("Model")

_twins: dict[tuple[int, Precision], Any] = {}


def twin_of(model: Model, look: Callable[[Model], Any], precision: Precision = "fp32") -> Model:
    """The twin of an adapter: made when first asked for, and kept as long as the adapter is.

    look: runs all that an attack ever uses of an adapter, on any image. An adapter that cannot be copied, or that
    raises there, is its own twin. Raises `InputError` where `bf16` is asked for and the model cannot do it.
    """
    key = id(model), precision
    if key not in _twins:
        twin = _rearranged(model, look)
        if precision == "bf16":
            _lower_precision(model, twin, look)
        _twins[key] = twin
        weakref.finalize(model, _twins.pop, key).atexit = False
    return _twins[key]


def networks_of(model: object) -> list[nn.Module]:
    """The networks that an adapter holds, or is."""
    return [value for value in (model, *vars(model).values()) if isinstance(value, nn.Module)]


def _rearranged(model: Model, look: Callable[[Model], Any]) -> Model:
    if not networks_of(model):
        return model
    try:
        twin = copy.deepcopy(model)
        fold_norms(networks_of(twin), lambda: look(twin))
    except Exception:  # the model is someone else's code; what is wrong with it shows on the first image
        return model
    for network in networks_of(twin):
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
