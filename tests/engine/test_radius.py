"""PGD's projection: no iterate leaves the ball of radius `radius` around the original, in L∞."""

from dataclasses import replace

import pytest
import torch

from detattack.engine import PRESETS, run
from detattack.types import Evaluation

PGD = PRESETS["pgd-linf"]


class Sum:
    """Wants the sum of all values as small as it gets; done below `bound`."""

    def __init__(self, bound):
        self.bound, self.seen = bound, []

    def __call__(self, images, index):
        self.seen.append(images.detach().clone())
        total = images.flatten(1).sum(1)
        return Evaluation(total, total < self.bound, total.detach())

    def confirm(self, image, index):
        return bool(image.sum() < self.bound)


@pytest.fixture
def image():
    return torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255


@pytest.mark.parametrize("budget", [2, 4, 8])
def test_no_iterate_leaves_the_ball_and_its_border_is_reached(image, budget):
    never = Sum(-1.0)
    result = run(replace(PGD, radius=budget / 255, max_iterations=12), image, never)
    distances = [float((seen - image).abs().max()) * 255 for seen in never.seen]
    assert max(distances) == pytest.approx(budget, abs=1e-3)
    assert not result.success.any()
    expected = (image - budget / 255).clamp(0, 1)
    torch.testing.assert_close(result.images, expected, atol=1e-6, rtol=0)


def test_it_stops_at_the_first_success_inside(image):
    result = run(PGD, image, Sum(float(image.sum()) - 0.3))
    assert result.first_iteration.tolist() == [1]
    assert float((result.images - image).abs().max()) * 255 == pytest.approx(2, abs=1e-3)


def test_without_a_radius_it_goes_on(image):
    never = Sum(-1.0)
    run(replace(PGD, radius=None, max_iterations=12), image, never)
    assert float((never.seen[-1] - image).abs().max()) * 255 > 20


def test_the_preset_is_the_field_s():
    assert (PGD.step, PGD.step_size, PGD.radius, PGD.stop) == ("sign", 2 / 255, 8 / 255, "first")
