"""PGD's projection: no iterate leaves the ball around the original; and what is shown of it on whole gray levels."""

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from detattack.core.types import Evaluation
from detattack.engine import PRESETS, run
from detattack.engine.budget import Budget
from detattack.engine.quantize import BISECTIONS, as_file, as_seen, l2_radius, within_ball, within_radius

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


@given(
    st.floats(0.01, 255).filter(lambda g: abs(g + 1e-3 - round(g + 1e-3)) > 1e-4),  # a tie: the last bit decides
    st.integers(0, 2**32),
)
def test_rounding_leads_out_of_no_ball_and_wastes_none_of_it(gray_levels, seed):
    """Off the grid of 8 bits as on it: the farthest image is the last gray level inside."""
    assume(abs(gray_levels % 1 - (1 - 1e-3)) > 1e-4)  # where the slack ends, the last bit decides
    generator = torch.Generator().manual_seed(seed)
    originals = torch.randint(0, 256, (1, 3, 4, 5), generator=generator) / 255
    wished = originals + 3 * torch.randn(originals.shape, generator=generator)
    rounded = as_file(within_radius(wished, originals, gray_levels / 255, 256).clamp(0, 1), 256)
    change = ((rounded - originals) * 255).round()
    assert change.abs().max() <= gray_levels + 1e-3
    wished_change = (wished.clamp(0, 1) - originals) * 255
    reach = int(gray_levels + 1e-3)
    assert torch.equal(change, wished_change.round().clamp(-reach, reach))


@given(st.floats(0.01, 255), st.integers(2, 256), st.integers(0, 2**32))
def test_with_fewer_levels_rounding_stays_inside_wherever_a_level_is(gray_levels, levels, seed):
    originals = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(seed))
    originals = as_file(originals, levels)
    radius = gray_levels / 255
    moved = as_file(within_radius(1 - originals, originals, radius, levels), levels)
    assert (moved - originals).abs().max() <= radius + 1.1e-3 / (levels - 1)


def test_floats_are_clamped_to_the_radius_itself(image):
    moved = within_radius(image + 1, image, 2.5 / 255, None)
    torch.testing.assert_close(moved, image + 2.5 / 255)


def test_a_radius_off_the_grid_is_kept_on_the_way(image):
    never = Sum(-1.0)
    run(replace(PGD, radius=2.5 / 255, max_iterations=12), image, never)
    distances = [float((seen - image).abs().max()) * 255 for seen in never.seen]
    assert max(distances) == pytest.approx(2, abs=1e-3)


# All of an L2 budget, on whole gray levels


def spending(norm: str, size: float, levels: int | None = 256):
    """size: of the change's root mean square, in gray levels, whatever the norm."""
    budget = Budget(norm, size if norm == "rms" else size / 255 * 60**0.5)
    return replace(budget.spent_by(PRESETS["pgd-l2"]), levels=levels)


def gray(images, originals):
    return ((images - originals) * 255).double()


norms = st.sampled_from(("l2", "rms"))
patient = settings(max_examples=60, deadline=None)


@patient
@given(norms, st.floats(0.02, 30), st.sampled_from((0.001, 0.3, 3.0)), st.integers(0, 2**32))
def test_the_ball_is_filled_as_far_as_whole_gray_levels_allow_and_never_left(norm, size, length, seed):
    """Along the line through the iterate; its rounded points are farther the farther they are on the line."""
    generator = torch.Generator().manual_seed(seed)
    originals = torch.randint(0, 256, (2, 3, 4, 5), generator=generator) / 255
    iterates = originals + length * size / 255 * torch.randn(originals.shape, generator=generator)
    attack = spending(norm, size)
    seen = as_seen(attack, iterates, originals)
    assert torch.equal(as_file(seen, 256), seen)
    assert 0 <= float(seen.min()) <= float(seen.max()) <= 1
    for one, original, iterate in zip(seen, originals, iterates, strict=True):
        target = size * 60**0.5
        reached = float(gray(one, original).round().norm())
        assert reached <= target * (1 + 1e-6)
        direction = gray(iterate, original) / gray(iterate, original).norm()
        whole = (original.double() * 255).round()

        def far(scale, whole=whole, direction=direction):
            return float(((whole + scale * direction).round().clamp(0, 255) - whole).norm())

        most = 2 * target + 0.6 / float(direction.abs().max())
        inside = [scale for i in range(401) if far(scale := i / 400 * most) <= target * (1 - 1e-6)]
        assert reached >= far(max(inside) - most / 2**BISECTIONS) - 1e-6


@patient
@given(norms, st.floats(0.3, 30), st.floats(0, 1), st.integers(0, 2**32))
def test_an_image_inside_that_a_file_holds_is_shown_as_it_is(norm, size, share, seed):
    """Such as what a smaller budget left: the larger one begins with its very output."""
    originals = torch.randint(0, 256, (2, 3, 4, 5), generator=torch.Generator().manual_seed(seed)) / 255
    smaller = as_seen(spending(norm, max(share * size, 0.02)), 1 - originals, originals)
    assert torch.equal(as_seen(spending(norm, size), smaller, originals), smaller)
    assert torch.equal(as_seen(spending(norm, size), originals, originals), originals)


@pytest.mark.parametrize("norm", ["l2", "rms"])
def test_an_image_that_a_file_holds_is_brought_back_where_it_is_outside(norm):
    originals = torch.full((1, 3, 4, 5), 100 / 255)
    seen = as_seen(spending(norm, 2.3), originals + 10 / 255, originals)
    assert gray(seen, originals).round().unique().tolist() == [2]


def test_floats_and_other_attacks_are_shown_as_ever(image):
    iterate = image + 0.3 / 255
    assert torch.equal(as_seen(spending("l2", 1.0, levels=None), iterate, image), iterate)
    assert torch.equal(as_seen(replace(spending("l2", 1.0), stop="first"), iterate, image), image)
    assert torch.equal(as_seen(replace(PGD, stop="worst"), iterate, image), image)


@patient
@given(norms, st.floats(0.1, 30), st.integers(0, 2**32))
def test_projection_leads_into_the_ball_and_leaves_what_is_inside(norm, size, seed):
    originals = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed))
    wished = originals + size / 255 * torch.tensor([0.5, 2.0]).view(2, 1, 1, 1) * torch.ones_like(originals)
    kept = within_ball(wished, originals, l2_radius(spending(norm, size), originals))
    torch.testing.assert_close(kept[0], wished[0])
    torch.testing.assert_close(kept[1], originals[1] + size / 255)
