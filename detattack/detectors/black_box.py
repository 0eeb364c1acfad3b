"""A detector that only says what it detects: it judges images, and is not attacked."""

from collections.abc import Callable, Sequence
from typing import NoReturn

import torch
from torch import Tensor

from detattack.core.errors import InputError
from detattack.core.types import Candidates, Category, Detections
from detattack.core.wording import counted


class BlackBox:
    """Adapter of an inference without a gradient, for `verify`, `--transfer-to` and AP."""

    has_gradient = False
    expected_ap = None

    def __init__(
        self,
        name: str,
        inference: Callable[[Tensor], Detections],
        categories: Sequence[Category],
        device: torch.device,
        eval_threshold: float = 0.0,
    ) -> None:
        """Wrap the inference.

        - name: what reports call the detector
        - inference: all detections of an image `[3,H,W]`, float32 in [0,1]
        - categories: of the labels
        - device: where the images are wanted
        - eval_threshold: the lowest score that counts for AP
        """
        self.name = name
        self.categories = tuple(categories)
        self.device = device
        self.eval_threshold = eval_threshold
        self._inference = inference

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {counted(len(self.categories), 'class')}, {self.device})"

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Raise `InputError`: there are none."""
        self._refuse()

    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Raise `InputError`: there is nothing to select from."""
        self._refuse()

    @torch.no_grad()
    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        """Run the inference, one image at a time."""
        return [self._inference(image).above(score_threshold) for image in images.to(self.device, torch.float32)]

    def _refuse(self) -> NoReturn:
        raise InputError(no_gradient(self.name))


def no_gradient(name: str) -> str:
    """Return what there is to say where such a detector is to be attacked."""
    return (
        f"model {name}: has no gradient here; it judges images (verify --model, --transfer-to), and --method square "
        "alone attacks it"
    )
