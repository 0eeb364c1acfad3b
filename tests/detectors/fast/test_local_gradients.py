"""Convolutions compute their gradient where it is not zero, and it is what autograd computes."""

import copy

import pytest
import torch
from torch import Tensor, nn

from detattack.detectors.fast import AcceleratedDetector, local_gradients
from detattack.detectors.registry import load_detector

SHAPES = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 2, "dilation": 2},
    {"kernel_size": (3, 5), "padding": (0, 2), "stride": (2, 1)},
    {"kernel_size": 7, "padding": 3, "stride": 2},
    {"kernel_size": 1, "stride": 3},
    {"kernel_size": 3, "padding": 1, "groups": 2},
]
PLACES = [(slice(4, 6), slice(0, 3)), (slice(-2, None), slice(-1, None)), (slice(3, 4), slice(4, 5))]


def both(settings: dict[str, object]) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    own = nn.Conv2d(4, 6, **settings).requires_grad_(False)
    ours = copy.deepcopy(own)
    local_gradients.compute_locally([ours])
    return own, ours


def gradient(module: nn.Module, maps: Tensor, of_output: Tensor) -> Tensor:
    seen = maps.clone().requires_grad_()
    return torch.autograd.grad(module(seen), seen, of_output)[0]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("settings", SHAPES)
def test_a_local_gradient_is_that_of_autograd(settings, place):
    own, ours = both(settings)
    maps = torch.rand(2, 4, 23, 26)
    of_output = torch.zeros_like(own(maps))
    of_output[:, :, *place] = torch.randn_like(of_output[:, :, *place])
    torch.testing.assert_close(gradient(ours, maps, of_output), gradient(own, maps, of_output))


@pytest.mark.parametrize("settings", SHAPES)
def test_a_gradient_everywhere_is_exactly_that_of_autograd(settings):
    own, ours = both(settings)
    maps = torch.rand(2, 4, 23, 26)
    of_output = torch.randn_like(own(maps))
    assert torch.equal(own(maps), ours(maps))
    assert torch.equal(gradient(ours, maps, of_output), gradient(own, maps, of_output))


def test_only_the_part_with_a_gradient_is_computed(monkeypatch):
    sizes = []
    original = local_gradients.F.conv_transpose2d
    monkeypatch.setattr(
        local_gradients.F, "conv_transpose2d", lambda part, *a, **k: sizes.append(part.shape) or original(part, *a, **k)
    )
    _, ours = both({"kernel_size": 3, "padding": 1})
    of_output = torch.zeros(1, 6, 23, 26)
    of_output[0, 2, 5:8, 9:11] = 1
    gradient(nn.Sequential(ours), torch.rand(1, 4, 23, 26), of_output)
    assert sizes == [(1, 6, 3, 2)]


def test_nothing_is_computed_where_the_gradient_is_zero():
    _, ours = both({"kernel_size": 3, "padding": 1})
    seen = torch.rand(1, 4, 9, 9).requires_grad_()
    reached = []
    before = seen * 1
    before.register_hook(reached.append)
    output = ours(before)
    (found,) = torch.autograd.grad(output, seen, torch.zeros_like(output), allow_unused=True)
    assert found is None
    assert reached == [None]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_detector_whose_loss_has_no_gradient_gives_one_of_zeros(precision):
    fast = AcceleratedDetector(load_detector("demo", "cpu"), precision)
    seen = torch.rand(1, 3, 128, 128).requires_grad_()
    for logits in (fast.candidates(seen).logits, fast.logits(seen)):
        assert torch.equal(torch.autograd.grad(0 * logits.sum(), seen)[0], torch.zeros_like(seen))
