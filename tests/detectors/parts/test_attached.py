"""A gradient that a network cuts, joined again."""

import pytest
import torch

from detattack.detectors.parts.attached import Attached


def cut(x: torch.Tensor) -> torch.Tensor:
    place = x.square().detach()
    return place * x


def test_what_is_detached_keeps_its_gradient_and_its_values():
    x = torch.tensor([2.0, -3.0], requires_grad=True)
    with Attached():
        joined = cut(x)
    assert torch.equal(joined, cut(x))
    assert torch.autograd.grad(joined.sum(), x)[0].tolist() == pytest.approx([12, 27])  # 3x²; cut off: x²
    assert torch.autograd.grad(cut(x).sum(), x)[0].tolist() == pytest.approx([4, 9])


def test_it_ends_with_its_context_even_by_an_error():
    x = torch.ones(1, requires_grad=True)
    with pytest.raises(ZeroDivisionError), Attached():
        raise ZeroDivisionError
    assert not x.detach().requires_grad
