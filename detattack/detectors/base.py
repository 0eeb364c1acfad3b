"""The contract of a detector: all that an attack needs to know of one. A stable interface for third parties.

A third party writes `file.py` with `factory(device: str) -> Detector`, using nothing but this module and
`detattack.types`, and names it `--model path/to/file.py:factory`. docs/adapters.md is a whole one in 60 lines;
`detattack models check` tells whether it keeps this contract.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from detattack.core.types import Candidates, Category, Detections

__all__ = ["Candidates", "Category", "Detections", "Detector"]


@runtime_checkable
class Detector(Protocol):
    """A frozen object detector that takes float RGB images `[N,3,H,W]` in [0,1] at native size.

    Everything the model does to an image (resize, pad, BGR, mean and std) happens inside, differentiably.
    Adapters keep the dtype they are given. Parameters are never touched.

    name: what reports call it. categories: its classes; labels are indices into them. device: where it lives.
    eval_threshold: the lowest score its own inference keeps (RetinaNet .05, FCOS .2, SSD .01, DETR 0).
    An adapter may also have `expected_ap`, the COCO val2017 AP in [0,1] that its weights' card states, or None; `note`,
    what people should know of it, said before a run; `has_gradient`, False where it has none, so that it judges images
    and only random search attacks it; and,
    where a class is detected if and only if one of its logits is above the threshold, `logits(images) -> [N,A,K]`:
    those of `candidates` at less cost, for goals that ask for no box.
    """

    name: str
    categories: tuple[Category, ...]
    device: torch.device
    eval_threshold: float

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Everything before thresholding and NMS, differentiable to the images.

        extra_boxes `[N,E,4]`: two-stage heads score these as well, so that an injected object has a gradient
        where no proposal is; `select` ignores them. One-stage adapters ignore the argument.
        """
        ...

    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Apply the model's own clipping, thresholding (score > score_threshold) and NMS. No gradient."""
        ...

    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        """Run the model's official inference, in float32. No gradient."""
        ...
