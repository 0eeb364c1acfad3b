"""The terms of Eq. 2 against hand-computed values and naive loops, and their gradients."""

import pytest
import torch

from detattack.core.types import Evaluation
from detattack.engine.cost import bounded_range, squared_l2, total_variation
from detattack.engine.loop import run
from detattack.engine.presets import Attack

SHAPES = [(1, 3, 4, 4), (3, 3, 2, 5), (2, 3, 1, 6), (2, 3, 6, 1)]


def images(shape, seed=0, low=0.0, high=1.0):
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


def naive_range(image):
    total = sum(-p if p <= 0 else p - 1 if p >= 1 else 0.0 for p in image.flatten().tolist())
    return total / (image.shape[1] * image.shape[2])


def naive_variation(image):
    channels, height, width = image.shape
    total = 0.0
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                if j + 1 < width:
                    total += float(image[c, i, j + 1] - image[c, i, j]) ** 2
                if i + 1 < height:
                    total += float(image[c, i + 1, j] - image[c, i, j]) ** 2
    return total / image.numel()


def test_values_by_hand():
    x = torch.zeros(1, 3, 2, 2, dtype=torch.float64)
    x[0, 0] = torch.tensor([[0.5, -0.25], [1.5, 1.0]])
    assert squared_l2(x, torch.zeros_like(x)).item() == 0.5**2 + 0.25**2 + 1.5**2 + 1
    assert bounded_range(x).item() == (0.25 + 0.5) / 4
    assert total_variation(x).item() == pytest.approx((0.75**2 + 0.5**2 + 1.0**2 + 1.25**2) / 12)


@pytest.mark.parametrize("shape", SHAPES)
def test_values_against_naive_loops(shape):
    x, original = images(shape, 1, -0.5, 1.5), images(shape, 2)
    assert bounded_range(x).tolist() == pytest.approx([naive_range(one) for one in x])
    assert total_variation(x).tolist() == pytest.approx([naive_variation(one) for one in x])
    by_hand = [sum(float(v) ** 2 for v in (a - b).flatten()) for a, b in zip(x, original, strict=True)]
    assert squared_l2(x, original).tolist() == pytest.approx(by_hand)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_by_finite_differences(shape):
    x, original = images(shape, 3, -0.5, 1.5).requires_grad_(), images(shape, 4)
    for term in (bounded_range, total_variation, lambda v: squared_l2(v, original)):
        assert torch.autograd.gradcheck(term, (x,), eps=1e-7, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_in_closed_form_is_added_to_what_is_there(shape):
    x, original = images(shape, 3, -0.5, 1.5).requires_grad_(), images(shape, 4)
    x.data[..., 0, 0], x.data[..., -1, -1] = 0.0, 1.0  # the corners of the range
    scale, there = images((shape[0], 1, *shape[2:]), 5, 0.5, 2), images(shape, 6)
    for term, arguments in (
        (bounded_range, ()),
        (total_variation, ()),
        (squared_l2, (original, None)),
        (squared_l2, (original, scale)),
    ):
        slope = there.clone()
        value = term(x.detach(), *arguments, slope, 0.7)
        (gradient,) = torch.autograd.grad(term(x, *arguments).sum(), x)
        torch.testing.assert_close(slope, there + 0.7 * gradient, rtol=0, atol=1e-12)
        assert torch.equal(value, term(x.detach(), *arguments))


@pytest.mark.parametrize(("value", "direction"), [(0.0, 1), (1.0, -1), (-0.2, 1), (1.2, -1), (0.5, 0)])
def test_descent_on_the_range_term_moves_inwards_from_the_bounds(value, direction):
    x = torch.full((1, 3, 2, 2), value, dtype=torch.float64, requires_grad=True)
    bounded_range(x).sum().backward()
    assert torch.equal(-x.grad.sign(), torch.full_like(x, direction))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_saturated_values_cost_nothing(value):
    assert bounded_range(torch.full((2, 3, 4, 4), value)).tolist() == [0, 0]


@pytest.mark.parametrize("term", [bounded_range, total_variation, lambda v: squared_l2(v, v.flip(-1))])
def test_an_image_does_not_depend_on_its_neighbors(term):
    x = images((3, 3, 4, 5), 5, -0.5, 1.5)
    spoiled = torch.cat([x[:1], torch.full_like(x[1:2], torch.nan), 100 * x[2:]])
    assert term(spoiled)[0] == term(x)[0] == term(x[:1])[0]


@pytest.mark.parametrize("weight", ["loss", "l2", "range", "tv"])
def test_a_weight_of_zero_removes_exactly_its_term(weight):
    """Two steps of Eq. 4 with all four terms but one, against the update written out."""
    weights = {"loss": 0.7, "l2": 0.3, "range": 2.0, "tv": 1.1} | {weight: 0.0}
    x0 = images((2, 3, 4, 4), 6)
    x0[:, :, 0] = 0.0
    direction = images((3, 4, 4), 7, -1, 1)

    def linear(x, index):
        return Evaluation((x * direction).flatten(1).sum(1), torch.zeros(len(x), dtype=torch.bool), torch.zeros(len(x)))

    attack = Attack("t", "gd", 0.05, max_iterations=2, levels=None, **{f"{k}_weight": v for k, v in weights.items()})
    result = run(attack, x0, linear)
    x = x0
    for _ in range(2):
        seen = x.clone().requires_grad_()
        terms = {"loss": (seen * direction).sum(), "l2": squared_l2(seen, x0).sum()}
        terms |= {"range": bounded_range(seen).sum(), "tv": total_variation(seen).sum()}
        cost = sum(weights[name] * value for name, value in terms.items() if name != weight)
        x = (x - 0.05 * torch.autograd.grad(cost, seen)[0]).clamp(0, 1)
    torch.testing.assert_close(result.images, x, rtol=0, atol=1e-14)
    assert torch.equal(getattr(result.trace, f"{weight}_cost"), torch.zeros(3, 2, dtype=torch.float64))
