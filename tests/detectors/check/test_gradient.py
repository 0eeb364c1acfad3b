"""The check of the gradient on networks that bend quickly, as deep ones without training do."""

import pytest
import torch

from detattack.detectors.base import Candidates
from detattack.detectors.check import check_pictures
from detattack.detectors.check.findings import Failed
from detattack.detectors.check.gradient import check_gradient
from tests.detectors.home_made import HomeMade

FREQUENCY, AMPLITUDE = 75.0, 5.0


class Bending(HomeMade):
    """Logits with a sine of the image along a fixed direction: a step of 0.1 is half of a wave, one of 0.01 is not."""

    scale = 1.0

    def candidates(self, images, extra_boxes=None):
        direction = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(0))
        wave = torch.sin(FREQUENCY * (images * direction / direction.norm()).sum((1, 2, 3)))
        found = super().candidates(images)
        logits = found.logits + AMPLITUDE * wave[:, None, None]
        return Candidates(found.boxes, logits.detach() + self.scale * (logits - logits.detach()), state=found.state)


class Scaled(Bending):
    scale = 5.0


class Reversed(Bending):
    scale = -1.0


PICTURES = check_pictures(2, torch.device("cpu"))


@pytest.mark.parametrize("seed", range(5))
def test_short_steps_tell_that_it_is_right(seed):
    assert "in steps of 0.01" in check_gradient(Bending("cpu"), *PICTURES, seed)


@pytest.mark.parametrize("kind", [Scaled, Reversed])
@pytest.mark.parametrize("seed", range(5))
def test_and_that_it_is_wrong(kind, seed):
    with pytest.raises(Failed, match="off by a factor"):
        check_gradient(kind("cpu"), *PICTURES, seed)
