"""Random weights that look at the image."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


@torch.no_grad()
def calibrate(network: nn.Module, run: Callable[[], Any], classes: nn.Module, heads: tuple[str, ...] = ()) -> None:
    """Gives a network with random weights batch norms with the statistics of what it sees in `run`, heads whose
    answers are about 1, and classes of which none is ahead of the others in every image.

    Otherwise layers fade or saturate, or all detections have one class, and no check of gradient, ranking or labels
    could tell right from wrong. classes: the layer that names the class. heads: how the names of other last layers
    end.
    """
    hooks = []
    for name, module in network.named_modules():
        if isinstance(getattr(module, "running_mean", None), Tensor):
            hooks.append(module.register_forward_pre_hook(_see))
        elif module is classes:
            hooks.append(_equalize(module))
        elif name.endswith(heads) and isinstance(module, nn.Conv2d | nn.Linear):
            hooks.append(module.register_forward_hook(_tame))
    run()
    for hook in hooks:
        hook.remove()


@torch.no_grad()
def tell_apart(network: nn.Module, queries: tuple[str, ...]) -> None:
    """Gives a set-prediction network with random weights queries that differ, and linear layers that keep the size of
    what they are given: libraries start them so small that all queries answer alike. queries: how the names of the
    parameters end that queries start from."""
    for name, parameter in network.named_parameters():
        if name.endswith(queries):
            parameter.normal_()
        elif parameter.dim() == 2:
            parameter.normal_(0, parameter.shape[1] ** -0.5)


def noise(count: int, side: int, seed: int = 0) -> Tensor:
    """`[count,3,side,side]` in [0,1], with edges at all scales as pictures have them, coarse ones above all in every
    second one; the same every time."""
    generator = torch.Generator().manual_seed(seed)
    layers = [torch.rand(count, 3, cells, cells, generator=generator) - 0.5 for cells in (3, 9, 27, 81, 243)]
    fading = torch.tensor([1.0, 0.3]).repeat(count)[:count, None, None, None]
    octaves = [F.interpolate(layer, (side, side)) * fading**octave for octave, layer in enumerate(layers)]
    return (0.5 + torch.stack(octaves).sum(0)).clamp(0, 1)


def _see(norm: Any, inputs: tuple[Tensor, ...]) -> None:
    """A forward pre-hook that sets a norm's statistics to those of its input. A channel that hardly varies here is
    not blown up to the others' size: it may well vary in another image."""
    variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance.clamp_min(variance.mean() / 10))


def _tame(layer: nn.Conv2d | nn.Linear, _: Any, output: Tensor) -> Tensor:
    """A forward hook that scales a layer down until its output has a standard deviation of at most 1."""
    size = float(output.std().clamp_min(1))
    layer.weight.div_(size)
    if layer.bias is not None:
        layer.bias.div_(size)
    return output / size


def _equalize(classes: Any) -> RemovableHandle:
    """Makes a layer give, from its next output on (that of the finest level), each of its columns a standard
    deviation of 1 and the mean of them all."""

    def equalize(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        handle.remove()
        columns = output.movedim(-1 if isinstance(layer, nn.Linear) else 1, 0).flatten(1)
        deviation, mean = torch.std_mean(columns, 1)
        layer.weight.div_(deviation.view(-1, *[1] * (layer.weight.dim() - 1)))
        layer.bias.sub_(mean).div_(deviation).add_(mean.mean())
        return layer.forward(*inputs)

    handle = classes.register_forward_hook(equalize)
    return handle
