"""Detectors of colored squares that only look more robust than `Toy`, one that is, and one that fails on an image."""

from dataclasses import replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from detattack.detectors.base import Category
from tests.toy_detector import SHARPNESS, Raising, Toy, is_marked


class Firm(Toy):
    """Not an impostor: a square may fade further before it is no longer seen."""

    name = "firm"

    def __init__(self, device):
        super().__init__(device)
        self.network.bias[:] = -SHARPNESS * 0.25


class Rounded(Toy):
    """Scores have two digits."""

    name = "rounded"

    def candidates(self, images, extra_boxes=None):
        found = super().candidates(images, extra_boxes)
        return replace(found, logits=torch.logit((found.logits.sigmoid() * 100).round() / 100, 1e-6))


class Saturated(Toy):
    """Logits are a thousand times larger, and made small again where detections are selected."""

    name = "saturated"

    def candidates(self, images, extra_boxes=None):
        found = super().candidates(images, extra_boxes)
        return replace(found, logits=found.logits * 1000)

    def select(self, candidates, score_threshold):
        return super().select(replace(candidates, logits=candidates.logits / 1000), score_threshold)


class Coarse(Toy):
    """The input has 16 gray levels."""

    name = "coarse"

    def candidates(self, images, extra_boxes=None):
        return super().candidates((images * 15).round() / 15, extra_boxes)


class Resized(Toy):
    """The input is made a little smaller and larger again, by chance."""

    name = "resized"

    def candidates(self, images, extra_boxes=None):
        size = images.shape[-2:]
        scale = 0.8 + 0.2 * float(torch.rand(()))
        small = F.interpolate(images, scale_factor=scale, mode="bilinear")
        return super().candidates(F.interpolate(small, size, mode="bilinear"), extra_boxes)


class Jpeg(Toy):
    """The input is compressed, which lets no gradient through."""

    name = "jpeg"

    def candidates(self, images, extra_boxes=None):
        return super().candidates(torch.stack([_jpeg(image) for image in images.detach()]), extra_boxes)


def _jpeg(image):
    pixels = (image.permute(1, 2, 0) * 255).round().byte().numpy()[..., ::-1]
    data = cv2.imencode(".jpg", np.ascontiguousarray(pixels), [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    return torch.from_numpy(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].copy()).permute(2, 0, 1).float() / 255


class Hidden(Toy):
    """Says itself that it has no gradient."""

    name, has_gradient = "hidden", False

    def candidates(self, images, extra_boxes=None):
        raise RuntimeError("there are none")

    def detect(self, images, score_threshold):
        return Toy.select(self, Toy.candidates(self, images.float()), score_threshold)


class Picky(Toy):
    """Reports nothing of an image that is not 8-bit."""

    name = "picky"

    def candidates(self, images, extra_boxes=None):
        found = super().candidates(images, extra_boxes)
        levels = images.detach() * 255
        held = (levels - levels.round()).abs().amax((1, 2, 3)) < 1e-3
        return replace(found, logits=torch.where(held.view(-1, 1, 1), found.logits, found.logits - 20))


class Frail(Raising):
    """Fails on marked images."""

    name = "frail"


class Keyless(Toy):
    """Fails on marked images by an error of another kind."""

    name = "keyless"

    def candidates(self, images, extra_boxes=None):
        if is_marked(images):
            raise KeyError("boxes")
        return super().candidates(images, extra_boxes)


class Trained(Toy):
    """Fails on marked images where a gradient is asked for."""

    name = "trained"

    def candidates(self, images, extra_boxes=None):
        if images.requires_grad and is_marked(images.detach()):
            raise RuntimeError("no backward pass")
        return super().candidates(images, extra_boxes)


class Overflowing(Toy):
    """Fails on images of 96 pixels that are changed much: by the largest budgets alone."""

    name = "overflowing"

    def candidates(self, images, extra_boxes=None):
        if images.shape[-1] == 96 and float(images.detach().max()) < 140 / 255:
            raise RuntimeError("overflow")
        return super().candidates(images, extra_boxes)


class DogOnly(Toy):
    """Knows one class of the data."""

    name, categories = "dogonly", (Category("cat", 3), Category("dog", 18), Category("yak", 1))


class Shaded(Toy):
    """Another detector of the name and the weights of `Toy`."""

    def candidates(self, images, extra_boxes=None):
        return super().candidates(images * 0.9 + 0.05, extra_boxes)
