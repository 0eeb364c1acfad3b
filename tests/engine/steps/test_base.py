"""What all step rules keep, and the registry that knows them by name."""

import pytest
import torch

from detattack.core.errors import InputError
from detattack.engine.presets import PRESETS, Attack
from detattack.engine.steps import STEPS, Range, make_step, register_step
from detattack.engine.steps.base import all_finite, broadcast, l2_norms, unit
from tests.engine.steps.rules import ROWS, Rule, gradients

RULES = [name for name, rule in STEPS.items() if rule.make]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "ddn"])
def test_a_zero_gradient_gives_a_zero_step(rule, dtype):
    zero = torch.zeros(4, 3, 5, 6, dtype=dtype)
    step = Rule(rule, dtype=dtype)
    for _ in range(3):
        assert torch.equal(step.step(zero, ROWS, 0.3), zero)


@pytest.mark.parametrize("rule", RULES)
def test_an_image_steps_the_same_alone_and_among_rows_that_shrink(rule):
    together, alone = Rule(rule), Rule(rule, (1, 3, 5, 6))
    for i, gradient in enumerate(gradients(6, seed=2)):
        rows = ROWS if i < 2 else torch.tensor([0, 2]) if i < 4 else torch.tensor([2])
        change = together.step(gradient[rows], rows, 0.1)
        expected = alone.step(gradient[2:3], torch.tensor([0]), 0.1)
        at = rows.tolist().index(2)
        torch.testing.assert_close(change[at : at + 1], expected, rtol=1e-12, atol=0)


def test_every_preset_has_a_step_rule_but_for_those_with_a_loop_of_their_own():
    assert {attack.step for attack in PRESETS.values()} <= set(STEPS)
    assert [name for name, attack in PRESETS.items() if STEPS[attack.step].make is None] == [
        "ensemble",
        "square",
        "noise",
    ]
    assert all(name == attack.name for name, attack in PRESETS.items())


def test_an_own_rule_is_known_by_its_name_and_a_taken_name_is_refused(monkeypatch):
    monkeypatch.setattr(STEPS, "_entries", dict(STEPS._entries))

    @register_step("half", help="half a step", search=Range(0.1, 1))
    class Half:
        def __init__(self, attack, images):
            self.share = 0.5

        def step(self, now):
            return now.images - self.share * now.size * now.gradient

    (gradient,) = gradients()
    torch.testing.assert_close(Rule("half").step(gradient, ROWS, 0.2), -0.1 * gradient)
    with pytest.raises(InputError, match="'half': is registered already"):
        register_step("half", help="again")(Half)
    with pytest.raises(InputError, match="unknown step rule 'hlaf': did you mean 'half'"):
        make_step(Attack("t", "hlaf", 1.0), gradient)
    with pytest.raises(InputError, match="not for iterations"):
        make_step(PRESETS["noise"], gradient)


def test_a_range_is_divided_evenly_on_a_logarithmic_scale():
    values = Range(1e-2, 1e2).values(4)
    assert values == [0.03162, 0.3162, 3.162, 31.62]
    assert [Range(1, 2).nearest(value) for value in (0.5, 1.5, 3)] == [1, 1.5, 2]


def test_norms_and_unit_vectors_of_each_image():
    vectors = torch.zeros(3, 3, 2, 2)
    vectors[0, 0, 0] = torch.tensor([3.0, 4.0])
    vectors[1] = 1e-3
    assert l2_norms(vectors).tolist() == pytest.approx([5, 1e-3 * 12**0.5, 0])
    assert l2_norms(unit(vectors)).tolist() == pytest.approx([1, 1, 0])
    assert broadcast(torch.arange(3)).shape == (3, 1, 1, 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_value_that_is_not_finite_is_told_of_its_image_alone(value):
    vectors = torch.full((4, 3, 5, 7), 3e38)  # whose sum is not finite
    vectors[0], vectors[2, 1, 4, 6], vectors[3] = -0.0, value, -3e38
    assert all_finite(vectors).tolist() == [True, True, False, True]
