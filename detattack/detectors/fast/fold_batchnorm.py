"""Fold frozen batch norms into the convolutions before them.

A frozen norm is an affine map of each channel, so that a convolution and the norm after it are one convolution. One
forward pass shows which convolution a norm takes its input from, and whether anything else does: this needs neither
names nor a traceable network.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter

PROBE = 1e3
"""Far enough from 0 on both sides that no activation, wherever it bends, looks like an affine map."""


Pair = tuple[nn.Module, nn.Conv2d]
"""A norm and the convolution before it."""


def foldable_pairs(networks: Sequence[nn.Module], probe: Callable[[], Any]) -> list[Pair]:
    """Return the frozen norms of `networks` that are the only consumer of a convolution, each with that convolution.

    probe: runs the networks, each part of them that is ever used, on any image.
    """
    with _traced(_modules_of(networks)) as trace, torch.no_grad():
        probe()
    return list(trace.foldable())


def fold(networks: Sequence[nn.Module], pairs: Sequence[Pair]) -> int:
    """Fold the affine norms of `pairs`, parts of `networks`, into their convolutions. Return how many were folded."""
    folded = set()
    for norm, conv in pairs:
        affine = _affine(norm, conv.out_channels)
        if affine is not None:
            _absorb(conv, *affine)
            folded.add(norm)
    for parent in _modules_of(networks):
        for name, child in list(parent.named_children()):
            if child in folded:
                setattr(parent, name, nn.Identity())
    return len(folded)


def _modules_of(networks: Sequence[nn.Module]) -> list[nn.Module]:
    return list(dict.fromkeys(module for network in networks for module in network.modules()))


class _Trace(TorchFunctionMode):
    """Record the consumers of convolutions' outputs: norms, and functions outside of them."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.owners = {id(module.weight): module for module in modules if isinstance(module, nn.Conv2d)}
        self.outputs: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # by id; kept alive, so that no id comes twice
        self.inputs: dict[nn.Module, set[nn.Conv2d | None]] = {}
        self.used_elsewhere: set[nn.Conv2d] = set()
        self.inside = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if self.inside:
            return result
        if function is torch.conv2d and id(args[1]) in self.owners:
            self.outputs[id(result)] = self.owners[id(args[1])], result
        elif getattr(function, "__name__", "") != "__get__":  # to read a shape is no use
            self.used_elsewhere |= {
                self.outputs[id(value)][0] for value in tree_iter((args, kwargs)) if id(value) in self.outputs
            }
        return result

    def entered(self, norm: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        conv, _ = self.outputs.get(id(arguments[0]), (None, None))
        self.inputs.setdefault(norm, set()).add(conv)
        self.inside += 1

    def left(self, norm: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        self.inside -= 1

    def foldable(self) -> Iterator[Pair]:
        """Yield batch norms whose only input is one convolution that has no other consumer."""
        for norm, (conv, *others) in ((norm, tuple(convs)) for norm, convs in self.inputs.items()):
            takers = [taker for taker, convs in self.inputs.items() if conv in convs]
            if conv is not None and not others and takers == [norm] and conv not in self.used_elsewhere:
                yield norm, conv


@contextmanager
def _traced(modules: Sequence[nn.Module]) -> Iterator[_Trace]:
    """Trace convolutions, and modules that have the statistics of a norm and do not change them."""
    trace, hooks = _Trace(modules), []
    for module in modules:
        if isinstance(getattr(module, "running_mean", None), Tensor) and not module.training:
            hooks.append(module.register_forward_pre_hook(trace.entered))
            hooks.append(module.register_forward_hook(trace.left))
    try:
        with trace:
            yield trace
    finally:
        for hook in hooks:
            hook.remove()


def _affine(norm: nn.Module, channels: int) -> tuple[Tensor, Tensor] | None:
    """Return scale and shift `[C]`, float64, of a module that maps each channel affinely; None where it does not.

    They are measured on the module, since each library has a frozen norm of its own.
    """
    exact = copy.deepcopy(norm).cpu().double()  # in this order: not every device has float64

    def at(value: float) -> Tensor:
        return exact(torch.full((1, channels, 1, 1), value, dtype=torch.float64)).flatten()

    with torch.no_grad():
        try:
            shift, one, *far = map(at, (0.0, 1.0, -PROBE, PROBE))
        except Exception:  # someone else's module, which takes no such input
            return None
    scale = one - shift
    straight = all(torch.allclose(y, shift + x * scale, rtol=1e-9) for x, y in zip((-PROBE, PROBE), far, strict=True))
    return (scale, shift) if straight else None


@torch.no_grad()
def _absorb(conv: nn.Conv2d, scale: Tensor, shift: Tensor) -> None:
    """Fold an affine map `[C]` behind a convolution into its weights."""
    like = conv.weight
    weight, bias = like.cpu().double(), torch.zeros(()) if conv.bias is None else conv.bias.cpu().double()
    folded = weight * scale.view(-1, 1, 1, 1), bias * scale + shift
    conv.weight, conv.bias = (nn.Parameter(v.to(like.dtype).to(like.device), requires_grad=False) for v in folded)
