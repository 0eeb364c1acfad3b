"""Image corruptions against what they stand for, their spelling, and their gradients."""

import io
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from detattack.core.errors import InputError
from detattack.datasets.corruptions import (
    CORRUPTIONS,
    UNCORRUPTED,
    Corruption,
    parse_corruption,
    parse_corruptions,
    register_corruption,
)
from detattack.datasets.corruptions.chain import Step
from detattack.datasets.corruptions.compression import jpeg
from detattack.datasets.corruptions.cosine import TO_YCC, nearness, pull_jpeg, tables, transformed
from detattack.datasets.corruptions.differentiable import corrupted
from detattack.datasets.image_io import to_tensor
from detattack.datasets.scenes import render, scene_seed

ONE_OF_EACH = (
    *("jpeg:90", "webp:80", "resize:0.5", "blur:1", "shift:3", "crop:4", "brightness:1.2", "contrast:0.8", "gamma:1.5"),
    *("bits:4", "noise:5", "screen"),
)
EXACT = ("resize:0.5", "resize:0.37", "blur:1", "blur:2.5", "shift:3", "shift:-2", "crop:4", "resize:0.6+blur:0.7")


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (37, 52, 3), np.uint8)


def encoded_by_pillow(pixels, format, quality):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, quality=quality)
    return np.array(Image.open(buffer).convert("RGB"))


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_codecs_are_pillows(pixels, name):
    assert np.array_equal(parse_corruption(f"{name}:70")(pixels), encoded_by_pillow(pixels, name.upper(), 70))


def test_jpeg_is_opencvs_as_well(pixels):
    encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 70])[1]
    theirs = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(parse_corruption("jpeg:70")(pixels).astype(int) - theirs).max() <= 2


def test_blur_is_a_gaussian(pixels):
    assert np.array_equal(parse_corruption("blur:1.5")(pixels), cv2.GaussianBlur(pixels, (0, 0), 1.5))


def test_resizing_by_half_keeps_the_means_of_blocks_and_the_size():
    blocks = np.random.default_rng(1).integers(0, 256, (10, 8, 3), np.uint8)
    whole = blocks.repeat(2, 0).repeat(2, 1)
    half = parse_corruption("resize:0.5")
    assert half(whole).shape == whole.shape
    assert np.array_equal(half(whole), cv2.resize(blocks, (16, 20), interpolation=cv2.INTER_LINEAR))
    assert np.array_equal(half(np.full((21, 33, 3), 90, np.uint8)), np.full((21, 33, 3), 90, np.uint8))


def test_light_in_closed_form():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    values = np.arange(256.0)
    expected = {
        "brightness:1.5": 1.5 * values,
        "contrast:2": 127.5 + 2 * (values - 127.5),
        "gamma:2": 255 * (values / 255) ** 2,
        "bits:1": np.where(values > 127.5, 255.0, 0.0),
    }
    for name, table in expected.items():
        found = parse_corruption(name)(ramp)[..., 0].ravel()
        assert np.abs(found - table.clip(0, 255)).max() <= 0.5, name
    opencvs = cv2.convertScaleAbs(ramp, alpha=1.5)
    assert np.abs(parse_corruption("brightness:1.5")(ramp).astype(int) - opencvs).max() <= 1
    assert np.array_equal(parse_corruption("bits:8")(ramp), ramp)


def test_a_shift_moves_and_a_crop_enlarges(pixels):
    shifted = parse_corruption("shift:3")(pixels)
    assert np.array_equal(shifted[3:, 3:], pixels[:-3, :-3])
    assert np.array_equal(shifted[0], shifted[3])
    cropped = parse_corruption("crop:5")(pixels)
    inner = pixels[5:-5, 5:-5]
    assert np.array_equal(cropped, cv2.resize(inner, (52, 37), interpolation=cv2.INTER_LINEAR))
    with pytest.raises(InputError, match="crop:19: nothing is left of an image of 52x37"):
        parse_corruption("crop:19")(pixels)


def test_boxes_move_with_what_is_in_them():
    size = (64, 48)
    assert parse_corruption("shift:-3").moved((10, 10, 20, 30), size) == (7, 7, 17, 27)
    assert parse_corruption("crop:8").moved((8, 8, 56, 40), size) == pytest.approx((0, 0, 64, 48))
    assert parse_corruption("shift:4+jpeg:50").moved((50, 10, 62, 46), size) == (54, 14, 64, 48)
    assert UNCORRUPTED.moved((1, 2, 3, 4), size) == (1, 2, 3, 4)


def test_noise_is_of_its_size_and_the_same_for_a_seed(pixels):
    gray = np.full((200, 200, 3), 128, np.uint8)
    noise = parse_corruption("noise:6")
    assert (noise(gray).astype(float) - 128).std() == pytest.approx(6, rel=0.02)
    assert np.array_equal(noise(pixels), noise(pixels))
    assert not np.array_equal(noise.drawn(1)(pixels), noise.drawn(2)(pixels))
    assert np.array_equal(noise.drawn(1)(pixels), noise.drawn(1)(pixels))


@pytest.mark.parametrize("corruption", parse_corruptions(",".join(ONE_OF_EACH)), ids=str)
def test_every_corruption_keeps_shape_and_type_and_changes_noise(corruption, pixels):
    before = pixels.copy()
    changed = corruption(pixels)
    assert (changed.shape, changed.dtype) == (pixels.shape, pixels.dtype)
    assert not np.array_equal(changed, pixels)
    assert np.array_equal(pixels, before)


def test_one_of_each_is_all():
    assert {name.partition(":")[0] for name in ONE_OF_EACH} == {*CORRUPTIONS, "screen"}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(ONE_OF_EACH), min_size=1, max_size=3), st.integers(9, 40), st.integers(9, 40))
def test_a_chain_does_one_after_the_other(names, height, width):
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    expected = pixels
    for name in names:
        expected = parse_corruption(name)(expected)
    chain = parse_corruption("+".join(names))
    assert np.array_equal(chain(pixels), expected)
    assert parse_corruption(str(chain)) == chain


def test_their_spelling():
    assert [str(one) for one in parse_corruptions("jpeg:90, resize:0.50,blur:1.0,,none")] == [
        "jpeg:90",
        "resize:0.5",
        "blur:1",
    ]
    assert parse_corruptions("jpeg:75,jpeg:75.0") == [parse_corruption("jpeg:75")]
    assert str(parse_corruption(" resize:0.5 + jpeg:75")) == "resize:0.5+jpeg:75"
    assert str(parse_corruption("screen")) == "resize:0.7+blur:0.7+jpeg:75"
    assert str(UNCORRUPTED) == "none"


def test_ranges_draw_inside_and_reach_their_ends():
    jpeg, resize = parse_corruptions("jpeg:60..62,resize:0.5..0.7", ranges=True)
    assert jpeg.varies
    assert not parse_corruption("jpeg:60").varies
    assert {one.drawn(1, seed).steps[0].low for seed in range(40) for one in [jpeg]} == {60, 61, 62}
    shares = [resize.drawn(seed).steps[0].low for seed in range(40)]
    assert all(0.5 <= share <= 0.7 for share in shares)
    assert len(set(shares)) == 40
    assert [str(end) for end in jpeg.ends()] == ["jpeg:60", "jpeg:62"]
    assert str(resize) == "resize:0.5..0.7"
    assert parse_corruption(str(resize), ranges=True) == resize


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jpg:90", "did you mean 'jpeg'"),
        ("jpeg", "a quality, from 1 to 100"),
        ("jpeg:0", "a quality"),
        ("jpeg:nan", "a quality"),
        ("jpeg:75.5", "a quality"),
        ("resize:2", "a share of the sides"),
        ("blur:-1", "σ in pixels"),
        ("bits:9", "bits a channel, from 1 to 8"),
        ("screen:2", "screen takes no strength"),
        ("resize:0.5+", "unknown corruption ''"),
        ("jpeg:60..95", "a range goes with --robust-to"),
    ],
)
def test_bad_ones(text, message):
    with pytest.raises(InputError, match=message):
        parse_corruptions(text)


@pytest.mark.parametrize("text", ["jpeg:95..60", "jpeg:60..", "jpeg:..60", "jpeg:60..101", "jpeg:1..2..3"])
def test_bad_ranges(text):
    with pytest.raises(InputError, match=r"corruption 'jpeg"):
        parse_corruptions(text, ranges=True)


def test_a_plugins_corruption_is_used_by_name_and_checked(pixels, monkeypatch):
    monkeypatch.setattr(CORRUPTIONS, "_entries", dict(CORRUPTIONS._entries))

    @register_corruption("half", what="nothing", low=0, high=1)
    def half(pixels, strength):
        return pixels[::2] if strength else pixels // 2

    assert np.array_equal(parse_corruption("half:0")(pixels), pixels // 2)
    with pytest.raises(InputError, match=r"half:1: makes uint8 \[19, 52, 3\] of an image uint8 \[37, 52, 3\]"):
        parse_corruption("half:1")(pixels)
    with pytest.raises(InputError, match="registered already"):
        register_corruption("jpeg", what="", low=0, high=1)(half)


# Inside an attack


@pytest.mark.parametrize("corruption", parse_corruptions(",".join(ONE_OF_EACH)), ids=str)
def test_inside_an_attack_the_values_are_the_real_ones(corruption, pixels):
    images = torch.stack([to_tensor(pixels), to_tensor(pixels[::-1])]).requires_grad_()
    found = corrupted(images, corruption)
    for image, original in zip(found.detach(), (pixels, pixels[::-1]), strict=True):
        assert torch.equal(image, to_tensor(corruption(original)))
    (gradient,) = torch.autograd.grad(found.square().sum(), images)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("corruption", parse_corruptions(",".join(EXACT)), ids=str)
def test_gradients_of_linear_ones_are_their_finite_differences(corruption):
    """Over a difference of 64 levels rounding is small; a linear map has the same difference quotient everywhere."""
    rng = np.random.default_rng(3)
    low = rng.integers(60, 120, (24, 30, 3)).astype(np.uint8)
    weights = torch.from_numpy(rng.normal(size=(3, 24, 30))).float()
    images = to_tensor(low)[None].requires_grad_()
    (gradient,) = torch.autograd.grad((corrupted(images, corruption)[0] * weights).sum(), images)
    for _ in range(5):
        step = rng.integers(0, 2, low.shape) * 100
        high = (low + step).astype(np.uint8)
        difference = ((to_tensor(corruption(high)) - to_tensor(corruption(low))) * weights).sum()
        predicted = (gradient[0] * (to_tensor(high) - to_tensor(low))).sum()
        noise = 5 * (2 * weights.square().sum() / 12).sqrt() / 255 * len(corruption.steps)
        assert abs(difference - predicted) < noise


@pytest.mark.parametrize("text", ["brightness:1.3", "contrast:0.7", "contrast:1.5", "gamma:1.7", "gamma:0.6"])
def test_slopes_are_the_differences_of_a_curve(text):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    images = to_tensor(levels)[None].requires_grad_()
    found = corrupted(images, parse_corruption(text))
    (gradient,) = torch.autograd.grad(found.sum(), images)
    curve, slope = (values[0, 0].detach().flatten().numpy() * scale for values, scale in ((found, 255), (gradient, 1)))
    around = (curve[32:] - curve[:-32]) / 32
    inside = (curve[32:] < 255) & (curve[:-32] > 0) & (np.arange(224) >= 32)
    assert np.abs(around - slope[16:-16])[inside].max() < 0.06


def test_through_a_codec_the_gradient_passes_unchanged(pixels):
    images = to_tensor(pixels)[None].requires_grad_()
    weights = torch.randn(images.shape)
    (gradient,) = torch.autograd.grad((corrupted(images, parse_corruption("webp:75+bits:5")) * weights).sum(), images)
    assert torch.equal(gradient, weights)


def test_names_are_read_without_torch():
    code = "import sys, detattack.datasets.corruptions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_step_is_the_image_itself(pixels):
    images = to_tensor(pixels)[None]
    assert corrupted(images, UNCORRUPTED) is images
    assert UNCORRUPTED(pixels) is pixels
    assert Corruption((Step("bits", 8, 8),))(pixels).tolist() == pixels.tolist()


# The gradient through JPEG


def test_the_cosine_transform_is_orthonormal():
    plane = np.random.default_rng(0).normal(size=(16, 24)).astype(np.float32)
    assert np.linalg.norm(transformed(plane)) == pytest.approx(np.linalg.norm(plane), rel=1e-5)
    assert transformed(transformed(plane), back=True) == pytest.approx(plane, abs=1e-5)
    assert transformed(np.full((8, 8), 3.0, np.float32))[0, 0] == pytest.approx(24)


@pytest.mark.parametrize("quality", [50, 75, 90])
def test_what_jpeg_keeps_is_whole_steps_of_its_tables(quality):
    """Of luma: chroma is interpolated when it is decoded."""
    decoded = jpeg(render(scene_seed(0, 8)).image, quality)
    luma = (decoded.astype(np.float32) - 128) @ TO_YCC[0]
    steps = transformed(luma) / np.tile(tables(quality)[0], [side // 8 for side in luma.shape])
    assert np.abs(steps - steps.round()).mean() < 0.05


def test_a_coefficient_counts_by_how_near_its_next_step_is_downhill():
    table = np.full((8, 8), 10, np.float32)
    coefficients = np.zeros((8, 8), np.float32)
    coefficients[0, :4] = 4, -4, 14, 0
    near = nearness(coefficients, -np.ones((8, 8), np.float32), table)
    assert near[0, 0] == near[0, 2] > near[0, 3] > near[0, 1] > 0
    assert nearness(coefficients, np.ones((8, 8), np.float32), table)[0, 1] == near[0, 0]


@pytest.mark.parametrize("size", [(32, 48), (33, 50), (7, 9)])
def test_the_gradient_through_jpeg_leads_down(size):
    """It never points against the straight one, on sides that are no multiple of a block either."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    for _ in range(5):
        gradient = rng.normal(size=(*size, 3)).astype(np.float32)
        pulled = pull_jpeg(pixels, 75, gradient)
        assert pulled.shape == gradient.shape
        assert (pulled * gradient).sum() > 0
