"""What the adapters' tests share: pictures, comparisons, and small networks with random weights."""

import torch
import torch.nn.functional as F

from detattack.core.types import Detections


def pictures(count, height, width, seed=0, dtype=torch.float32):
    """Smooth at several scales, so that all levels have something to see."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(count, 3, height, width)
    for cells in (3, 9, 30):
        noise = torch.rand(count, 3, cells, cells, generator=generator)
        total += F.interpolate(noise, (height, width), mode="bilinear")
    return (total / 3).to(dtype)


def resizing(network, short: int, long: int):
    """Smaller inputs than torchvision's network is made for: quicker."""
    network.transform.min_size, network.transform.max_size = (short,), long
    return network


def assert_same(ours: Detections, theirs: Detections):
    assert torch.equal(ours.labels, theirs.labels)
    torch.testing.assert_close(ours.scores, theirs.scores, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.boxes, theirs.boxes, rtol=0, atol=0.01)


def enough(detector, candidates, least=20) -> float:
    """The highest threshold of a few at which each image has `least` detections."""
    for threshold in (detector.eval_threshold, 0.02, 0.01, 1e-3, 1e-4, 0.0):
        if all(len(found) >= least for found in detector.select(candidates, threshold)):
            return threshold
    raise AssertionError("too few detections at any threshold")


def assert_alike(ours: Detections, theirs: Detections):
    """The same detections, where scores that nearly tie may come in another order."""
    assert len(ours) == len(theirs)
    assert share_alike(ours, theirs, 0.01, 1e-5) == share_alike(theirs, ours, 0.01, 1e-5) == 1


def share_alike(ours: Detections, theirs: Detections, pixels: float, score: float) -> float:
    """The share of their detections that ours have too, in whatever order."""
    near = (ours.boxes[:, None] - theirs.boxes[None]).abs().amax(-1) <= pixels
    near &= (ours.scores[:, None] - theirs.scores[None]).abs() <= score
    return float((near & (ours.labels[:, None] == theirs.labels[None])).any(0).float().mean())
