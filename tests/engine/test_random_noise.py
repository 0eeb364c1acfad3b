"""The control: noise of a length, on the grid, the same for the same seed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detattack.core.types import Evaluation
from detattack.engine import PRESETS, noise_of_l2, run_control


def photo(shape=(3, 12, 16), seed=0):
    """Pixels of a file, saturated ones among them."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-40, 296, shape, generator=generator).clamp(0, 255) / 255


@settings(max_examples=40, deadline=None)
@given(st.floats(1e-3, 6), st.integers(0, 2**40), st.sampled_from([None, 256]))
def test_never_shorter_than_asked_and_hardly_longer(length, seed, levels):
    original = photo()
    noisy = noise_of_l2(original, length, seed, levels)
    distance = float((noisy - original).norm())
    assert length - 1e-6 <= distance
    assert distance <= length * 1.01 + (2 / 255 if levels else 1e-6)
    assert 0 <= float(noisy.min()) <= float(noisy.max()) <= 1


@pytest.mark.parametrize("levels", [2, 16, 256])
def test_on_the_grid(levels):
    grid = photo().mul(levels - 1).round() / (levels - 1)
    noisy = noise_of_l2(grid, 1.5, 3, levels) * (levels - 1)
    torch.testing.assert_close(noisy, noisy.round(), rtol=0, atol=1e-4)


def test_floats_are_not_rounded():
    noisy = noise_of_l2(photo(), 0.5, 3, None) * 255
    assert float((noisy - noisy.round()).abs().max()) > 0.1


def test_same_seed_same_bytes_and_another_seed_other_noise():
    first, again, other = (noise_of_l2(photo(), 1.0, seed, 256) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_global_randomness_is_left_alone():
    before = torch.random.get_rng_state()
    noise_of_l2(photo(), 1.0, 5, 256)
    assert torch.equal(before, torch.random.get_rng_state())


def test_length_zero_is_the_original():
    assert torch.equal(noise_of_l2(photo(), 0.0, 1, 256), photo())


def test_out_of_reach_goes_as_far_as_the_range_lets_it():
    original = torch.full((3, 4, 4), 0.5)
    noisy = noise_of_l2(original, 100.0, 1, None)
    assert float((noisy - original).norm()) == pytest.approx(0.5 * 48**0.5, rel=0.05)


class Brighter:
    """The goal holds where an image is brighter than it was by some amount of its own; notes how many it is shown."""

    def __init__(self, amounts=(0.01, 0.02, 0.03, 0.04)):
        self.images = torch.stack([photo(seed=seed) * 0.5 + 0.2 for seed in range(len(amounts))]).mul(255).round() / 255
        self.amounts = torch.tensor(amounts)
        self.most = 0

    def __call__(self, images, index):
        self.most = max(self.most, len(images))
        lacks = self.amounts[index] - (images - self.images[index]).flatten(1).mean(1)
        return Evaluation(lacks, lacks <= 0, torch.sigmoid(-lacks).detach())

    def confirm(self, image, index):
        return bool(self(image[None], torch.tensor([index])).success)


def l2(images, problem):
    return (images - problem.images).flatten(1).norm(dim=1)


def test_each_image_keeps_its_own_length_whatever_is_known_of_its_neighbors():
    problem = Brighter()
    seeds, reference = [1, 2, 3, 4], PRESETS["jnd"]
    mixed = run_control(PRESETS["noise"], problem.images, problem, [5.0, None, 4.0, None], seeds, reference)
    assert l2(mixed.images, problem)[[0, 2]].tolist() == pytest.approx([5.0, 4.0], rel=0.01)
    unknown = run_control(PRESETS["noise"], problem.images, problem, [None] * 4, seeds, reference)
    assert torch.equal(unknown.images[[1, 3]], mixed.images[[1, 3]])
    assert not torch.equal(unknown.images[0], mixed.images[0])


def test_the_reference_is_shown_no_more_images_at_a_time_than_are_allowed():
    problem = Brighter()
    run_control(PRESETS["noise"], problem.images, problem, [None] * 4, [0] * 4, PRESETS["jnd"], active=2)
    assert problem.most == 2
