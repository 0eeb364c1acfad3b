"""The batch size of `--batch auto`: what fits the free memory of an accelerator."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from detattack.core.faults import check_device, out_of_memory
from detattack.core.precision import fixed_numerics
from detattack.core.types import Detections
from detattack.datasets.base import Sample
from detattack.detectors.base import Detector
from detattack.tasks.detection.config import DetectionConfig
from detattack.tasks.detection.goals import CleanImage, parse_goal
from detattack.tasks.detection.judges import objective_for

LARGEST_BATCH = 64


MEMORY_SHARE = 0.8
"""Of the free memory of an accelerator that `auto` lets a batch fill."""


def fitting_batch(detector: Detector, config: DetectionConfig, samples: Sequence[Sample]) -> int:
    """Find the batch size of `--batch auto`: on CUDA what fits its free memory at the largest image, else 1.

    One pass forward and backward each with one and with two images tells what an image takes.
    """
    if detector.device.type != "cuda":
        return 1
    width, height = max((sample.size for sample in samples), key=lambda size: size[0] * size[1])
    if not width:
        return 1
    try:
        one, two = (_peak(detector, config, count, width, height) for count in (1, 2))
    except Exception as error:  # a model that cannot take a gray image will say so on the real ones
        check_device(error, f"model {detector.name}")
        if not out_of_memory(error):
            return 1
        torch.cuda.empty_cache()
        return 1
    free, _ = torch.cuda.mem_get_info(detector.device)
    held = torch.cuda.memory_reserved(detector.device) - torch.cuda.memory_allocated(detector.device)
    room = MEMORY_SHARE * (free + held) - one
    return max(1, min(LARGEST_BATCH, 1 + int(room / max(two - one, 1))))


@fixed_numerics()
def _peak(detector: Detector, config: DetectionConfig, count: int, width: int, height: int) -> int:
    """Bytes that an iteration of the attack takes for `count` gray images."""
    goal = parse_goal(config.goal)
    goal.check(detector.categories)
    empty = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))
    road = (width / 4, height / 4, width / 2, height / 2)
    target = goal.resolve(detector.categories, CleanImage(width, height, empty, road=road))
    labels = (target.label or 0,) if goal.of_objects else ()
    target = replace(target, objects=(road,), object_labels=labels)  # a goal about objects takes the memory of one
    objective = objective_for(detector, config, [target] * count)
    torch.cuda.reset_peak_memory_stats(detector.device)
    before = torch.cuda.memory_allocated(detector.device)
    images = torch.full((count, 3, height, width), 0.5, device=detector.device, requires_grad=True)
    loss = objective(images, torch.arange(count)).loss.sum()
    torch.autograd.grad(loss, images, allow_unused=True)
    return torch.cuda.max_memory_allocated(detector.device) - before
