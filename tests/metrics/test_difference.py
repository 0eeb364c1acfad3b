"""Difference maps and their colors."""

import matplotlib
import numpy as np
import pytest

from detattack.metrics.difference import COLOR_MAP, difference_map, fitting_gain, heatmap, levels_of, rescaled


def test_difference_map_by_hand():
    original = np.zeros((2, 3, 3), np.uint8)
    adversarial = original.copy()
    adversarial[1, 2] = (3, 0, 4)
    difference = difference_map(original, adversarial)
    assert difference.shape == (2, 3)
    assert difference.dtype == np.float32
    assert difference[1, 2] == pytest.approx(10 * 5 / 255)
    assert np.count_nonzero(difference) == 1
    np.testing.assert_allclose(difference_map(original / 255, adversarial / 255), difference, rtol=1e-6)


def test_difference_map_is_not_clipped_and_the_heatmap_has_a_fixed_range():
    black, white = np.zeros((4, 5, 3), np.uint8), np.full((4, 5, 3), 255, np.uint8)
    difference = difference_map(black, white)
    assert difference[0, 0] == pytest.approx(10 * 3**0.5)
    colors = matplotlib.colormaps[COLOR_MAP]
    shown = heatmap(np.array([[0, 0.5, 1, 17.3]]))[0] / 255
    expected = [colors(0)[:3], colors(128)[:3], colors(255)[:3], colors(255)[:3]]
    np.testing.assert_allclose(shown, expected, atol=0.5 / 255)
    # The same value has the same color, whatever else is in the picture.
    np.testing.assert_array_equal(heatmap(np.array([[0.3]]))[0, 0], heatmap(np.array([[0.3, 5]]))[0, 0])


def test_the_color_map_gets_lighter_all_the_way():
    luminance = heatmap(np.linspace(0, 1, 64)[None])[0] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all()


@pytest.mark.parametrize("shapes", [((4, 5, 3), (5, 4, 3)), ((4, 5), (4, 5))])
def test_difference_map_wants_two_images_of_one_shape(shapes):
    with pytest.raises(ValueError):
        difference_map(*(np.zeros(shape, np.uint8) for shape in shapes))


def test_a_heatmap_tells_its_levels_and_is_drawn_anew_at_another_factor():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    drawn = heatmap(levels / 255)
    np.testing.assert_array_equal(levels_of(drawn), levels)
    np.testing.assert_array_equal(rescaled(levels, 10), drawn)
    np.testing.assert_array_equal(rescaled(np.full((2, 2), 51, np.uint8), 50), heatmap(np.ones((2, 2))))


@pytest.mark.parametrize(("level", "gain"), [(255, 10), (51, 50), (10, 255)])
def test_the_factor_makes_the_largest_change_bright(level, gain):
    levels = np.zeros((8, 8), np.uint8)
    levels[2:4] = level
    assert fitting_gain(levels) == gain
    assert fitting_gain(np.zeros((2, 2), np.uint8)) == 10
