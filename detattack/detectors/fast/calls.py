"""Which modules of a network an adapter calls itself: what goes in and out there is the adapter's, what is between
is the network's own."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


def outermost(modules: Iterable[nn.Module], look: Callable[[], Any]) -> list[nn.Module]:
    """Of `modules` those with weights that `look` calls, and not only through another of them."""
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
            look()
    finally:
        for hook in hooks:
            hook.remove()
    return list(found)
