"""Step rules against their formulas, Adam against torch's."""

import pytest
import torch

from detattack.core.errors import InputError
from detattack.engine.presets import PRESETS, Attack
from detattack.engine.steps import STEPS, Iterate, Range, make_step, register_step

ROWS = torch.arange(4)
RULES = [name for name, rule in STEPS.items() if rule.make]


def gradients(count=1, shape=(4, 3, 5, 6), seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([1e-6, 1.0, 30.0, 1e4], dtype=torch.float64).view(-1, 1, 1, 1)[: shape[0]]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) * scale for _ in range(count)]


class Rule:
    """A step rule on images of zeros, asked for its change alone."""

    def __init__(self, rule, shape=(4, 3, 5, 6), dtype=torch.float64):
        self.images = torch.full(shape, 0.0, dtype=dtype)
        self.rule = make_step(Attack("t", rule, 1.0), self.images)
        self.count = 0

    def step(self, gradient, rows, size):
        images = self.images[rows]
        success = torch.zeros(len(rows), dtype=torch.bool)
        number = torch.full((len(rows), 1, 1, 1), self.count, dtype=torch.float64)
        self.count += 1
        sizes = torch.full_like(number, size).to(images)
        loss = gradient.flatten(1).sum(1)
        now = Iterate(rows, images, images, gradient, loss, success, number, sizes, seeds=rows.tolist())
        return self.rule.step(now) - images


step_of = Rule


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
    torch.testing.assert_close(step_of(rule).step(gradient, ROWS, 0.3), formula(gradient), rtol=1e-10, atol=0)


def test_a_normalized_step_has_the_length_asked_for_in_every_image():
    change = step_of("normalized").step(gradients()[0], ROWS, 0.3)
    assert change.flatten(1).norm(dim=1).tolist() == pytest.approx([0.3] * 4)


def test_adam_is_torchs_adam_over_many_steps():
    ours = theirs = gradients()[0]
    parameter = theirs.clone().requires_grad_()
    optimizer = torch.optim.Adam([parameter], lr=0.02)
    step = step_of("adam")
    for gradient in gradients(60, seed=1):
        ours = ours + step.step(gradient, ROWS, 0.02)
        parameter.grad = gradient
        optimizer.step()
    torch.testing.assert_close(ours, parameter.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "ddn"])
def test_a_zero_gradient_gives_a_zero_step(rule, dtype):
    zero = torch.zeros(4, 3, 5, 6, dtype=dtype)
    step = step_of(rule, dtype=dtype)
    for _ in range(3):
        assert torch.equal(step.step(zero, ROWS, 0.3), zero)


def test_where_a_gradient_is_zero_ddn_goes_in_a_random_direction_of_the_image_and_the_iteration():
    (given,) = gradients()
    gradient = given.clone()
    gradient[:2] = 0

    def steps(gradient, rows):
        rule = step_of("ddn")
        return torch.stack([rule.step(gradient[rows], rows, 0.3) for _ in range(2)])

    found, alone = steps(gradient, ROWS), steps(gradient, ROWS[1:2])
    assert torch.equal(found[:, 1:2], alone)
    assert torch.equal(found[:, 2:], steps(given, ROWS)[:, 2:])
    unlike = [found[0, 0], found[0, 1], found[1, 0], found[1, 1]]
    for i, one in enumerate(unlike):
        assert float(one.norm()) > 0
        assert all(abs(float(torch.cosine_similarity(one.flatten(), o.flatten(), 0))) < 0.5 for o in unlike[:i])


@pytest.mark.parametrize("rule", RULES)
def test_an_image_steps_the_same_alone_and_among_rows_that_shrink(rule):
    together, alone = step_of(rule), step_of(rule, (1, 3, 5, 6))
    for i, gradient in enumerate(gradients(6, seed=2)):
        rows = ROWS if i < 2 else torch.tensor([0, 2]) if i < 4 else torch.tensor([2])
        change = together.step(gradient[rows], rows, 0.1)
        expected = alone.step(gradient[2:3], torch.tensor([0]), 0.1)
        at = rows.tolist().index(2)
        torch.testing.assert_close(change[at : at + 1], expected, rtol=1e-12, atol=0)


def test_every_preset_has_a_step_rule_and_only_the_control_no_iterations():
    assert {attack.step for attack in PRESETS.values()} <= set(STEPS)
    assert [name for name, attack in PRESETS.items() if STEPS[attack.step].make is None] == ["noise"]
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
    torch.testing.assert_close(step_of("half").step(gradient, ROWS, 0.2), -0.1 * gradient)
    with pytest.raises(InputError, match="'half': is registered already"):
        register_step("half", help="again")(Half)
    with pytest.raises(InputError, match="unknown step rule 'hlaf': did you mean 'half'"):
        make_step(Attack("t", "hlaf", 1.0), gradient)
    with pytest.raises(InputError, match="not for iterations"):
        make_step(PRESETS["noise"], gradient)
