"""Image corruptions against what they stand for, and their spelling."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from detattack.core.errors import InputError
from detattack.datasets.corruptions import Corruption, parse_corruptions


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (37, 52, 3), np.uint8)


def test_jpeg_is_pillows(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=70)
    assert np.array_equal(Corruption("jpeg", 70)(pixels), np.array(Image.open(buffer)))


def test_blur_is_a_gaussian(pixels):
    assert np.array_equal(Corruption("blur", 1.5)(pixels), cv2.GaussianBlur(pixels, (0, 0), 1.5))


def test_resizing_by_half_keeps_the_means_of_blocks_and_the_size():
    blocks = np.random.default_rng(1).integers(0, 256, (10, 8, 3), np.uint8)
    whole = blocks.repeat(2, 0).repeat(2, 1)
    changed = Corruption("resize", 0.5)(whole)
    assert changed.shape == whole.shape
    assert np.array_equal(cv2.resize(changed, (8, 10), interpolation=cv2.INTER_AREA).shape, blocks.shape)
    assert np.array_equal(
        Corruption("resize", 0.5)(np.full((21, 33, 3), 90, np.uint8)), np.full((21, 33, 3), 90, np.uint8)
    )


@pytest.mark.parametrize("corruption", parse_corruptions("jpeg:90,resize:0.5,blur:1"))
def test_every_corruption_keeps_shape_and_type_and_changes_noise(corruption, pixels):
    changed = corruption(pixels)
    assert (changed.shape, changed.dtype) == (pixels.shape, pixels.dtype)
    assert not np.array_equal(changed, pixels)


def test_their_spelling():
    assert [str(one) for one in parse_corruptions("jpeg:90, resize:0.50,blur:1.0")] == [
        "jpeg:90",
        "resize:0.5",
        "blur:1",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jpg:90", "did you mean 'jpeg'"),
        ("jpeg", "a quality, from 1 to 100"),
        ("jpeg:0", "a quality"),
        ("jpeg:nan", "a quality"),
        ("resize:2", "a share of the sides"),
        ("blur:-1", "σ in pixels"),
    ],
)
def test_bad_ones(text, message):
    with pytest.raises(InputError, match=message):
        parse_corruptions(text)
