"""Difference maps by hand."""

import numpy as np
import pytest

from detattack.metrics.difference import DIFFERENCE_GAIN, difference_map, heatmap


def test_the_l2_over_channels_of_pixels_and_of_floats():
    original = np.zeros((2, 3, 3), np.uint8)
    adversarial = original.copy()
    adversarial[1, 2] = (3, 4, 0)
    expected = np.zeros((2, 3))
    expected[1, 2] = DIFFERENCE_GAIN * 5 / 255
    np.testing.assert_allclose(difference_map(original, adversarial), expected, rtol=1e-6)
    floats = difference_map(original / 255, adversarial / 255)
    np.testing.assert_allclose(floats, expected, rtol=1e-6)
    assert floats.dtype == np.float32


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="cannot compare"):
        difference_map(np.zeros((2, 3, 3)), np.zeros((3, 2, 3)))


def test_the_heatmap_gets_brighter_up_to_1_and_stays_there():
    shown = heatmap(np.array([[0.0, 0.5, 1.0, 7.0]]))
    assert (shown.shape, shown.dtype) == ((1, 4, 3), np.uint8)
    brightness = shown.astype(int).sum(-1)[0].tolist()
    assert brightness[0] < brightness[1] < brightness[2] == brightness[3]
