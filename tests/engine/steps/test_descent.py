"""Step rules of plain descent against their formulas, Adam against torch's."""

import pytest
import torch

from tests.engine.steps.rules import ROWS, Rule, gradients


@pytest.mark.parametrize(
    ("rule", "formula"),
    [
        ("gd", lambda g: -0.3 * g),
        ("sign", lambda g: -0.3 * torch.sign(g)),
        ("normalized", lambda g: -0.3 * torch.stack([one / one.square().sum().sqrt() for one in g])),
        ("adam", lambda g: -0.3 * g / (g.abs() + 1e-8)),
    ],
)
def test_first_step_is_the_formula(rule, formula):
    (gradient,) = gradients()
    torch.testing.assert_close(Rule(rule).step(gradient, ROWS, 0.3), formula(gradient), rtol=1e-10, atol=0)


def test_a_normalized_step_has_the_length_asked_for_in_every_image():
    change = Rule("normalized").step(gradients()[0], ROWS, 0.3)
    assert change.flatten(1).norm(dim=1).tolist() == pytest.approx([0.3] * 4)


def test_adam_is_torchs_adam_over_many_steps():
    ours = theirs = gradients()[0]
    parameter = theirs.clone().requires_grad_()
    optimizer = torch.optim.Adam([parameter], lr=0.02)
    step = Rule("adam")
    for gradient in gradients(60, seed=1):
        ours = ours + step.step(gradient, ROWS, 0.02)
        parameter.grad = gradient
        optimizer.step()
    torch.testing.assert_close(ours, parameter.detach(), rtol=1e-12, atol=1e-12)
