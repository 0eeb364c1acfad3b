"""Where pixels may change: masks in closed form, what they are called, and methods that keep to them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from detattack.core.errors import InputError
from detattack.engine import PRESETS, run, run_control, run_ensemble, run_random_search
from detattack.engine.budget import Budget
from detattack.tasks.within import parse_within
from tests.engine.halfspace import HalfSpace
from tests.engine.worst import Valleys, on_gray_levels

SIZE = (20, 10)


def test_masks_in_closed_form(tmp_path):
    boxes = [(2, 1, 6, 5), (10, 2, 18, 10)]
    inside = np.zeros((10, 20), bool)
    inside[1:5, 2:6] = inside[2:10, 10:18] = True
    middle = np.zeros((10, 20), bool)
    middle[2:4, 3:5] = middle[4:8, 12:16] = True
    border = np.ones((10, 20), bool)
    border[3:7, 3:17] = False
    place = np.zeros((10, 20), bool)
    place[0:4, 1:3] = True
    Image.fromarray((place * 255).astype(np.uint8)).save(tmp_path / "m.png")
    expected = {"box": inside, "box:0.5": middle, "outside": ~inside, "border:3": border, "0.6,0,3,4": place}
    expected[str(tmp_path / "m.png")] = place
    for text, mask in expected.items():
        within = parse_within(text)
        assert np.array_equal(within.mask(SIZE, boxes), mask), text
        assert parse_within(str(within)) == within
    assert parse_within("border:5").mask(SIZE, []).all()
    assert parse_within("outside").mask(SIZE, []).all()


@settings(max_examples=50, deadline=None)
@given(st.tuples(st.floats(-5, 20), st.floats(-5, 10), st.floats(0.1, 15), st.floats(0.1, 15)))
def test_outside_is_all_that_is_not_inside(box):
    x, y, w, h = box
    boxes = [(x, y, x + w, y + h)]
    inside, outside = (parse_within(text).mask(SIZE, boxes) for text in ("box", "outside"))
    assert np.array_equal(inside, ~outside)
    assert not (parse_within("box:0.5").mask(SIZE, boxes) & outside).any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("box:0", "a number above 0, at most 1"),
        ("box:1.5", "a number above 0, at most 1"),
        ("border:2.5", "whole pixels"),
        ("1,2,3", "x1,y1,x2,y2"),
        ("1,2,1,3", "x1,y1,x2,y2"),
        ("boxes", "--within boxes: neither box, box:SHARE"),
        ("", "--within : neither"),
    ],
)
def test_bad_ones(text, message):
    with pytest.raises(InputError, match=message):
        parse_within(text)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_of_a_mask_are_not_white(tmp_path, mode):
    shape = np.zeros((10, 20), np.uint8)
    shape[2:5, 3:9] = 255
    mask = Image.new("RGBA", SIZE, "white")
    mask.putalpha(Image.fromarray(shape))
    if mode == "P":
        mask = Image.frombytes("P", SIZE, (shape // 255).tobytes())
        mask.putpalette([255] * 6)
        mask.info["transparency"] = 0
    (mask if mode == "P" else mask.convert(mode)).save(tmp_path / "m.png")
    assert np.array_equal(parse_within(str(tmp_path / "m.png")).mask(SIZE, ()), shape > 0)


def test_an_opaque_alpha_channel_is_no_matter_and_a_turned_one_is_turned(tmp_path):
    shape = np.zeros((20, 10), np.uint8)
    shape[2:5, 3:9] = 255
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(shape).convert("RGBA").save(tmp_path / "m.png", exif=turned)
    assert np.array_equal(parse_within(str(tmp_path / "m.png")).mask(SIZE, ()), np.rot90(shape, -1) > 0)


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x89PNG\r\n\x1a\nnothing"])
def test_a_mask_that_is_no_image(tmp_path, content):
    (tmp_path / "m.png").write_bytes(content)
    with pytest.raises(InputError, match=r"m\.png: neither box"):
        parse_within(str(tmp_path / "m.png"))


def test_images_that_they_do_not_fit(tmp_path):
    with pytest.raises(InputError, match="0,0,21,5: is not inside an image of 20x10"):
        parse_within("0,0,21,5").mask(SIZE, [])
    with pytest.raises(InputError, match="the goal is about no object here"):
        parse_within("box").mask(SIZE, [])
    Image.fromarray(np.full((5, 6), 255, np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="is 6x5, the image 20x10"):
        parse_within(str(tmp_path / "m.png")).mask(SIZE, [])


# Methods keep to a mask, whatever they do


def where_of(images, seed):
    mask = torch.rand(len(images), 1, *images.shape[2:], generator=torch.Generator().manual_seed(seed)) < 0.5
    mask[:, :, 0, 0] = True
    return mask


@pytest.mark.parametrize(
    "name",
    ["jnd", "jnd-paper", "jnd-min", "baseline", "fgsm", "fgv", "pgd-linf", "pgd-l2", "ddn", "fmn", "cw", "deepfool"],
)
@pytest.mark.parametrize("levels", [256, None])
def test_pixels_outside_stay_bit_for_bit(name, levels):
    images = torch.randint(60, 200, (2, 3, 9, 11), generator=torch.Generator().manual_seed(1)) / 255
    where = where_of(images, 2)
    problem = HalfSpace(images, torch.randn(3, 9, 11, generator=torch.Generator().manual_seed(3)), 0.05)
    attack = replace(PRESETS[name], levels=levels, max_iterations=25, perceptual=name == "jnd-min")
    result = run(attack, images, problem, where=where)
    for found in (result.images, result.first_images):
        outside = ~where.expand_as(images)
        assert torch.equal(found[outside], images[outside])
        assert not torch.equal(found, images)


def test_the_smallest_change_inside_is_as_far_as_the_plane_inside():
    images = torch.full((1, 3, 16, 16), 0.5)
    where = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    where[..., :8] = True
    normal = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(4))
    problem = HalfSpace(images, normal, 0.5)
    attack = replace(PRESETS["jnd-min"], levels=None)
    result = run(attack, images, problem, where=where)
    inside = float((problem.normal * where[0]).norm())
    assert float((result.images - images).norm()) == pytest.approx(0.5 / inside, rel=0.02)


@pytest.mark.parametrize(("method", "norm"), [("ensemble", "linf"), ("ensemble", "rms"), ("pgd-l2", "l2")])
def test_budgets_are_spent_inside(method, norm):
    images, where = on_gray_levels(3), where_of(on_gray_levels(3), 5)
    attack = replace(Budget(norm, 0.3 if norm == "l2" else 8).spent_by(PRESETS[method]), max_iterations=20)
    spend = run_ensemble if method == "ensemble" else run
    result = spend(attack, images, Valleys(3), where=where)
    outside = ~where.expand_as(images)
    assert torch.equal(result.images[outside], images[outside])
    assert not torch.equal(result.images, images)


class Bright:
    """The darker, the worse; it holds where the change is large."""

    def __call__(self, images, index):
        raise AssertionError("no gradient is asked for")

    def answer(self, image, index):
        return -float(image.mean()), False

    def confirm(self, image, index):
        return False


def test_search_and_noise_stay_inside():
    images = torch.randint(60, 200, (2, 3, 12, 14), generator=torch.Generator().manual_seed(1)) / 255
    where = torch.zeros(2, 1, 12, 14, dtype=torch.bool)
    where[:, :, 3:8, 4:11] = True
    outside = ~where.expand_as(images)
    searched = run_random_search(replace(PRESETS["square"], max_iterations=40), images, Bright(), [3, 4], where=where)
    noisy = run_control(PRESETS["noise"], images, Bright(), [0.3, 0.3], [0, 1], PRESETS["jnd"], where=where)
    for result in (searched, noisy):
        assert torch.equal(result.images[outside], images[outside])
        assert (result.images != images).flatten(1).any(1).all()
    assert (noisy.images - images).flatten(1).norm(dim=1).min() >= 0.3
    inside = where.expand_as(images)
    assert (searched.images - images)[inside].mean() < -0.01
