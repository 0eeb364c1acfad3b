"""Find the modules of a network that an adapter calls itself: bfloat16 starts and ends at their inputs and outputs."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


def outermost_called(modules: Iterable[nn.Module], probe: Callable[[], Any]) -> list[nn.Module]:
    """Return the outermost of `modules` that have parameters and that `probe` calls."""
    found: dict[nn.Module, None] = {}
    hooks, depth = [], 0

    def enter(module: nn.Module, arguments: Any) -> None:
        nonlocal depth
        if depth == 0 and any(True for _ in module.parameters()):
            found[module] = None
        depth += 1

    def leave(module: nn.Module, arguments: Any, output: Any) -> None:
        nonlocal depth
        depth -= 1

    for module in modules:
        hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        with torch.no_grad():
            probe()
    finally:
        for hook in hooks:
            hook.remove()
    return list(found)
