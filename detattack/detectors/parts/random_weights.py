"""Data-dependent initialization for networks without trained weights."""

from collections.abc import Callable, Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


@torch.no_grad()
def calibrate(
    network: nn.Module, run: Callable[[], Any], classes: Collection[nn.Module], heads: tuple[str, ...] = ()
) -> None:
    """Calibrate a network with random weights on the images that `run` passes through it.

    Batch norms get the statistics of their inputs, outputs of heads a size of about 1, and class logits the same mean
    and deviation. Otherwise activations vanish or saturate, or all detections have one class, and no check of
    gradient, ranking or labels could tell right from wrong.

    - network: The network; its weights are changed.
    - run: Runs the network on some images.
    - classes: The layers that give class logits.
    - heads: Endings of the names of other last layers.
    """
    hooks = []
    for name, module in network.named_modules():
        if isinstance(getattr(module, "running_mean", None), Tensor):
            hooks.append(module.register_forward_pre_hook(_set_batchnorm_stats))
        elif module in classes:
            hooks.append(_equalize_class_logits(module))
        elif name.endswith(heads) and isinstance(module, nn.Conv2d | nn.Linear):
            hooks.append(module.register_forward_hook(_rescale_output))
    run()
    for hook in hooks:
        hook.remove()


@torch.no_grad()
def tell_apart(network: nn.Module, queries: tuple[str, ...], slots: tuple[str, ...]) -> None:
    """Give a set-prediction network distinct queries, and linear layers that keep the size of their input.

    Libraries initialize them so small that all queries answer alike. Changes the network's weights.

    - network: The network.
    - queries: Endings of the names of the parameters that queries start from.
    - slots: The same of what a query has beside the place of the image that it starts from. All have the same, else
      each exchange of two places that nearly tie would change what is detected there.
    """
    for name, parameter in network.named_parameters():
        if name.endswith(queries):
            parameter.normal_()
        elif name.endswith(slots):
            parameter.zero_()
        elif parameter.dim() == 2:
            parameter.normal_(0, parameter.shape[1] ** -0.5)


def noise(count: int, side: int, seed: int = 0) -> Tensor:
    """Return images `[count,3,side,side]` in [0,1] with edges at all scales, the same every time.

    Coarse edges prevail in every second image.
    """
    generator = torch.Generator().manual_seed(seed)
    layers = [torch.rand(count, 3, cells, cells, generator=generator) - 0.5 for cells in (3, 9, 27, 81, 243)]
    fading = torch.tensor([1.0, 0.3]).repeat(count)[:count, None, None, None]
    octaves = [F.interpolate(layer, (side, side)) * fading**octave for octave, layer in enumerate(layers)]
    return (0.5 + torch.stack(octaves).sum(0)).clamp(0, 1)


def _set_batchnorm_stats(norm: Any, inputs: tuple[Tensor, ...]) -> None:
    """Set a norm's statistics to those of its input: a forward pre-hook.

    A channel that hardly varies is not scaled up to the others' size: it may well vary in another image.
    """
    variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance.clamp_min(variance.mean() / 10))


def _rescale_output(layer: nn.Conv2d | nn.Linear, _: Any, output: Tensor) -> Tensor:
    """Scale a layer down until its output has a standard deviation of at most 1: a forward hook."""
    size = float(output.std().clamp_min(1))
    layer.weight.div_(size)
    if layer.bias is not None:
        layer.bias.div_(size)
    return output / size


def _equalize_class_logits(classes: Any) -> RemovableHandle:
    """Register a hook that gives all columns of a layer's output a standard deviation of 1 and a common mean.

    It acts once, on the layer's next output (that of the finest level).
    """

    def equalize(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        handle.remove()
        columns = output.movedim(-1 if isinstance(layer, nn.Linear) else 1, 0).flatten(1)
        deviation, mean = torch.std_mean(columns, 1)
        layer.weight.div_(deviation.view(-1, *[1] * (layer.weight.dim() - 1)))
        layer.bias.sub_(mean).div_(deviation).add_(mean.mean())
        return layer.forward(*inputs)

    handle = classes.register_forward_hook(equalize)
    return handle
