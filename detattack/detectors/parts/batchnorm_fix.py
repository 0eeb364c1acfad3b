"""Workaround for a BatchNorm backward bug with transposed gradients."""

from typing import Any

from torch import Tensor, nn


def straighten(network: nn.Module) -> None:
    """Register hooks that give batch norms their gradients in contiguous memory. Changes the network's hooks only.

    torch 2.15 on CPUs silently misreads the gradient of a single image that was transposed on its way, as attention
    after a convolution does.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(_straighten_output)


def _straighten_output(module: nn.Module, arguments: Any, output: Tensor) -> None:
    if output.requires_grad:
        output.register_hook(Tensor.contiguous)
