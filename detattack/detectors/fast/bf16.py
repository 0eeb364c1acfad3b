"""Run networks in bfloat16 between inputs and outputs of float32."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map


def run_in_bfloat16(module: nn.Module) -> None:
    """Run a module under autocast, with outputs of float32. Changes the module.

    Weights are cast once: autocast itself casts frozen ones at every call.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            part.to(torch.bfloat16)
    module.forward = _autocast(module.forward, next(module.parameters()).device.type)


def _autocast(forward: Callable[..., Any], device: str) -> Callable[..., Any]:
    @wraps(forward)
    def cast(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(device, torch.bfloat16):
            return tree_map(_as_float32, forward(*args, **kwargs))

    return cast


def _as_float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.bfloat16 else value
