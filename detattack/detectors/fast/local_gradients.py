"""Convolutions whose backward pass is computed where there is a gradient, and left out where it is zero.

A loss about a few objects looks at a few candidates: in most of a feature pyramid its gradient is zero, and autograd
would compute with these zeros all the same. An undefined gradient is one of zeros that nothing is computed from.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WORTHWHILE = 1 / 2
"""Of a map, the largest share that is computed apart from the rest."""
Span = tuple[int, int]
"""Where something begins, and where it has ended, along one axis."""


def compute_locally(networks: Iterable[nn.Module]) -> None:
    """Make the convolutions of networks compute their gradients locally. Changes the networks, frozen ones.

    Only on a CPU: elsewhere the host would wait for the device at each convolution.
    """
    for module in (module for network in networks for module in network.modules()):
        if isinstance(module, nn.Conv2d) and _is_plain(module) and module.weight.device.type == "cpu":
            module.forward = partial(_convolved, module)  # type: ignore[method-assign]


class Defined(torch.autograd.Function):
    """The images themselves; where their gradient is undefined, it is zero."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        """Return a view of the images."""
        return images.view_as(images)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient, which PyTorch has made one of zeros where it was undefined."""
        return gradient


def _is_plain(module: nn.Conv2d) -> bool:
    return type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _convolved(module: nn.Conv2d, maps: Tensor) -> Tensor:
    maps = maps.to(module.weight.dtype)  # which is bfloat16 where that is asked for
    return _Convolution.apply(maps, module) if maps.requires_grad else nn.Conv2d.forward(module, maps)


class _Convolution(torch.autograd.Function):
    """A frozen convolution of maps `[N,C,H,W]`."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, module: nn.Conv2d) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(maps)
        ctx.module = module
        return nn.Conv2d.forward(module, maps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, None]:
        if gradient is None:
            return None, None
        (maps,) = ctx.saved_tensors
        spans = _spans(gradient)
        if spans is None:
            return None, None
        (top, bottom), (left, right) = spans
        if (bottom - top) * (right - left) > WORTHWHILE * gradient[0, 0].numel():
            return _everywhere(ctx.module, maps, gradient), None
        return _at(ctx.module, maps, gradient, spans), None


def _spans(gradient: Tensor) -> tuple[Span, Span] | None:
    """Return the rows and columns outside of which a gradient `[N,C,H,W]` is zero; None: it is zero everywhere."""
    height, width = gradient.shape[-2:]
    corners = gradient[..., 0, 0], gradient[..., -1, -1]  # quick, and usual
    edges = gradient[..., 0, :], gradient[..., -1, :], gradient[..., 0], gradient[..., -1]
    if all(corner.any() for corner in corners) or all(edge.any() for edge in edges):
        return (0, height), (0, width)
    somewhere = (gradient != 0).flatten(0, 1).any(0)
    rows, columns = (somewhere.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
    return ((rows[0], rows[-1] + 1), (columns[0], columns[-1] + 1)) if rows else None


def _everywhere(module: nn.Conv2d, maps: Tensor, gradient: Tensor) -> Tensor:
    sizes = module.stride, module.padding, module.dilation
    backward = torch.ops.aten.convolution_backward
    result: Tensor = backward(
        gradient, maps, module.weight, None, *sizes, False, [0, 0], module.groups, [True, False, False]
    )[0]
    return result


def _at(module: nn.Conv2d, maps: Tensor, gradient: Tensor, spans: tuple[Span, Span]) -> Tensor:
    """Compute the gradient of the maps from that of the rows and columns `spans`, which is the only one not zero."""
    (top, bottom), (left, right) = spans
    part = gradient[..., top:bottom, left:right]
    reached = F.conv_transpose2d(
        part, module.weight, None, module.stride, groups=module.groups, dilation=module.dilation
    )
    result = torch.zeros_like(maps)
    (to_y, from_y), (to_x, from_x) = (
        _overlap(start * module.stride[axis] - int(module.padding[axis]), reached.shape[axis - 2], maps.shape[axis - 2])
        for axis, start in enumerate((top, left))
    )
    result[..., to_y, to_x] = reached[..., from_y, from_x]
    return result


def _overlap(start: int, length: int, size: int) -> tuple[slice, slice]:
    """Return which of `size` values some others, `length` from `start` on, fall on, and which of those that are."""
    first, last = max(start, 0), min(start + length, size)
    return slice(first, last), slice(first - start, last - start)
