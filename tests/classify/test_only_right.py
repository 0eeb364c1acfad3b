"""Which images count as those that a classifier gets right."""

import numpy as np
import pytest
from PIL import Image

from classify.datasets import class_folders, only_right
from detattack.core.faults import DeviceBroken
from tests.toy_classifier import NAMES, Channels


class Failing(Channels):
    """Fails on images that are not bright."""

    error = "no kernel for this image"

    def logits(self, images):
        if images.mean() < 0.2:
            raise RuntimeError(self.error)
        return super().logits(images)


@pytest.fixture
def data(tmp_path):
    for channel, name in enumerate(NAMES):
        (tmp_path / name).mkdir()
        for number, value in enumerate((90, 200)):
            pixels = np.zeros((8, 8, 3), np.uint8)
            pixels[..., channel] = value
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return class_folders(tmp_path)


def test_an_image_that_the_classifier_fails_on_is_left_out_and_said(data, caplog):
    right = only_right(Failing(), data)
    assert len(right.samples) == 3
    assert {sample.source[-5:] for sample in right.samples} == {"1.png"}
    assert caplog.text.count("left out, channels fails on it (RuntimeError: no kernel for this image)") == 3


def test_a_device_that_is_lost_is_no_property_of_an_image(data, monkeypatch):
    monkeypatch.setattr(Failing, "error", "CUDA error: an illegal memory access was encountered")
    with pytest.raises(DeviceBroken, match="lost to this process"):
        only_right(Failing(), data)
