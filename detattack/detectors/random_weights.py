"""Random weights that look at the image."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@torch.no_grad()
def calibrate(network: nn.Module, heads: tuple[str, ...], classes: nn.Module, run: Callable[[], Any]) -> None:
    """Gives a network with random weights batch norms with the statistics of what it sees in `run`, heads whose
    answers are about 1, and scores that differ by class.

    Otherwise layers fade or saturate, and no check of gradient or ranking could tell right from wrong. heads: how
    the names of the last layers end. classes: the layer whose bias differs by class.
    """
    hooks = []
    for name, module in network.named_modules():
        if isinstance(getattr(module, "running_mean", None), Tensor):
            hooks.append(module.register_forward_pre_hook(_see))
        elif name.endswith(heads) and isinstance(module, nn.Conv2d | nn.Linear):
            hooks.append(module.register_forward_hook(_tame))
    run()
    for hook in hooks:
        hook.remove()
    bias = classes.get_parameter("bias")
    bias.add_(torch.randn(bias.shape, generator=torch.Generator().manual_seed(0)))


def noise(count: int, side: int, seed: int = 0) -> Tensor:
    """`[count,3,side,side]` in [0,1], with edges at several scales as pictures have them, the same every time."""
    generator = torch.Generator().manual_seed(seed)
    layers = [torch.rand(count, 3, cells, cells, generator=generator) for cells in (3, 9, 30)]
    return torch.stack([F.interpolate(layer, (side, side)) for layer in layers]).mean(0)


def _see(norm: Any, inputs: tuple[Tensor, ...]) -> None:
    """A forward pre-hook that sets a norm's statistics to those of its input."""
    variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


def _tame(layer: nn.Conv2d | nn.Linear, _: Any, output: Tensor) -> Tensor:
    """A forward hook that scales a layer down until its output has a standard deviation of at most 1."""
    size = float(output.std().clamp_min(1))
    layer.weight.div_(size)
    if layer.bias is not None:
        layer.bias.div_(size)
    return output / size
