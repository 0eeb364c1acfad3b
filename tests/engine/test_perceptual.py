"""Weights of the distance by local contrast."""

import torch

from detattack.engine import Attack, run
from detattack.engine.perceptual import FLOOR, POWER, SIDE, contrast_weights
from tests.engine.halfspace import HalfSpace


def test_the_weight_is_the_formula_around_each_pixel():
    images = torch.rand(2, 3, 16, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = contrast_weights(images)
    assert weights.shape == (2, 1, 16, 20)
    torch.testing.assert_close(weights.mean((1, 2, 3)), torch.ones(2, dtype=torch.float64))
    half = SIDE // 2
    windows = [(5, 7), (8, 12)]
    values = []
    for y, x in windows:
        window = images[0].mean(0)[y - half : y + half + 1, x - half : x + half + 1]
        values.append((window.std(correction=0) + FLOOR) ** -POWER)
    ratio = weights[0, 0, 5, 7] / weights[0, 0, 8, 12]
    torch.testing.assert_close(ratio, values[0] / values[1])


def test_a_perceptual_attack_changes_busy_places_more():
    generator = torch.Generator().manual_seed(1)
    image = torch.full((1, 3, 16, 32), 0.5)
    image[..., 16:] += 0.3 * (torch.rand(1, 3, 16, 16, generator=generator) - 0.5)
    problem = HalfSpace(image, torch.ones_like(image[0]), distance=0.5)
    attack = Attack("t", "normalized", 0.05, l2_weight=1e-3, levels=None, max_iterations=60)
    shares = []
    for perceptual in (False, True):
        result = run(Attack(**{**vars(attack), "perceptual": perceptual}), image, problem)
        assert result.success.all()
        squared = (result.images - image).square()
        shares.append(float(squared[..., 16:].sum() / squared.sum()))
    assert abs(shares[0] - 0.5) < 0.01
    assert shares[1] > 0.6
