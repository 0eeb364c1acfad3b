"""Norms folded into convolutions: the same function, and only where it is the same."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from detattack.detectors.fast.fold_batchnorm import fold, foldable_pairs


def fold_norms(networks, probe):
    return fold(networks, foldable_pairs(networks, probe))


def shaken(network):
    """In eval mode, with statistics and weights as after training."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if hasattr(module, "running_mean"):
            for name in ("weight", "bias", "running_mean", "running_var"):
                value = getattr(module, name).detach()
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return network.eval().requires_grad_(False)


def conv(inputs=3, outputs=4, **options):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


class Block(nn.Module):
    """A residual block, the norms of its branches one of each kind."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = conv(bias=False), FrozenBatchNorm2d(4)
        self.shortcut = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.grouped, self.last = conv(4, 8, groups=4), nn.BatchNorm2d(8)

    def forward(self, x):
        y = F.relu(self.norm(self.first(x)) + self.shortcut(x))
        return self.last(self.grouped(y))


class OwnNorm(nn.Conv2d):
    """A convolution that runs its norm itself, as detectron2's does."""

    def __init__(self):
        super().__init__(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return F.relu(self.norm(F.conv2d(x, self.weight, self.bias)))


class Repeated(nn.Module):
    """One convolution with one norm, at several sizes, as heads have it."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(conv(3, 3), nn.BatchNorm2d(3))

    def forward(self, x):
        return self.layers(self.layers(x)[..., ::2])


@pytest.mark.parametrize(("network", "norms"), [(Block(), 3), (OwnNorm(), 1), (Repeated(), 1)])
def test_folding_changes_nothing_but_the_rounding(network, norms):
    image = torch.randn(2, 3, 9, 12, requires_grad=True)
    network = shaken(network)
    folded = copy.deepcopy(network)
    assert fold_norms([folded], lambda: folded(image)) == norms
    assert not any(hasattr(module, "running_mean") for module in folded.modules())
    before, after = network(image), folded(image)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad(output.square().sum(), image)[0] for output in (before, after)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
    assert not any(parameter.requires_grad for parameter in folded.parameters())


class Rectified(nn.BatchNorm2d):
    """A norm with an activation, as timm's."""

    def forward(self, x):
        return F.relu(super().forward(x))


class Standardized(nn.Conv2d):
    """Convolves with other weights than it holds."""

    def forward(self, x):
        return F.conv2d(x, self.weight / self.weight.norm(), self.bias, padding=1)


class Pair(nn.Module):
    """A convolution and a norm, brought together by `way`."""

    def __init__(self, way, conv, norm):
        super().__init__()
        self.way, self.conv, self.norm, self.other = way, conv, norm, copy.deepcopy(norm)

    def forward(self, x):
        return self.way(self, self.conv(x))


@pytest.mark.parametrize(
    "network",
    [
        Pair(lambda self, y: self.norm(y) + y, conv(), nn.BatchNorm2d(4)),
        Pair(lambda self, y: self.norm(y) + y.clone(), conv(), nn.BatchNorm2d(4)),
        Pair(lambda self, y: self.norm(y) + self.other(y), conv(), nn.BatchNorm2d(4)),
        Pair(lambda self, y: self.norm(self.norm(y)), conv(), nn.BatchNorm2d(4)),
        Pair(lambda self, y: self.norm(y.relu()), conv(), nn.BatchNorm2d(4)),
        Pair(lambda self, y: self.norm(y), conv(), Rectified(4)),
        Pair(lambda self, y: self.norm(y), Standardized(3, 4, 3), nn.BatchNorm2d(4)),
    ],
)
def test_what_is_not_the_same_is_left_alone(network):
    network = shaken(network)
    image = torch.randn(2, 3, 8, 8)
    before = network(image)
    assert fold_norms([network], lambda: network(image)) == 0
    assert torch.equal(network(image), before)


def test_a_norm_that_still_learns_is_left_alone():
    network = shaken(nn.Sequential(conv(), nn.BatchNorm2d(4)))
    network[1].train()
    assert fold_norms([network], lambda: network(torch.randn(2, 3, 8, 8))) == 0
