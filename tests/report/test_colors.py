"""One color for a class, everywhere."""

import pytest

from detattack.report.colors import class_color, hex_color, ink_on


def test_class_colors_are_fixed_and_apart():
    assert class_color("car") == pytest.approx((0xE6 / 255, 0x55 / 255, 0x0D / 255))
    assert class_color("zebra") == class_color("zebra") != class_color("giraffe")
    assert len({class_color(name) for name in ("car", "person", "truck", "bus", "dog", "cat", "bird")}) == 7
    assert all(0 <= c <= 1 for name in ("zebra", "", "été") for c in class_color(name))


def test_colors_as_css_has_them_and_what_is_read_on_them():
    assert hex_color(class_color("car")) == "#e6550d"
    assert ink_on((1.0, 1.0, 1.0)) == (0.08, 0.08, 0.08)
    assert ink_on((0.0, 0.0, 0.5)) == (1.0, 1.0, 1.0)
