"""Base class of the adapters of torchvision's detectors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from detattack.core.types import Candidates, Category, Detections
from detattack.core.wording import counted
from detattack.detectors.parts.head_columns import Columns
from detattack.detectors.parts.settings import with_setting


class TorchvisionDetector(ABC):
    """An adapter of one of torchvision's detectors, frozen."""

    BACKGROUND: int | None = None
    """The head's column that is never a detection."""
    THRESHOLD = "score_thresh"
    """Where the network holds its threshold."""

    def __init__(
        self,
        name: str,
        network: Any,
        columns: Sequence[Category | None],
        device: torch.device,
        expected_ap: float | None = None,
    ) -> None:
        """Freeze the network and read its settings.

        - name: What reports call the detector.
        - network: The torchvision model; it is set to eval mode and moved to `device`.
        - columns: The category of each head column, None for one that names nothing.
        - device: Where the detector is to live.
        - expected_ap: COCO AP in [0,1] that the card of the weights states.
        """
        self.name = name
        self.network = network.eval().requires_grad_(False).to(device)
        self.device = device
        self.eval_threshold = float(attrgetter(self.THRESHOLD)(self.network))
        self.expected_ap = expected_ap
        self._columns = Columns(columns, device, self.BACKGROUND)
        self.categories = self._columns.categories

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {counted(len(self.categories), 'class')}, {self.device})"

    @abstractmethod
    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return all candidates; see `Detector`."""

    @abstractmethod
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Post-process candidates; see `Detector`."""

    @torch.no_grad()
    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        """Run the model's own forward."""
        network = with_setting(self.network, self.THRESHOLD, score_threshold)
        found = network(list(images.to(self.device, torch.float32)))
        return [self._columns.detections(one["boxes"], one["scores"], one["labels"]) for one in found]


def maps_of(backbone: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    """Return the backbone's feature maps by name; a backbone may return a single map."""
    features = backbone(batch)
    return {"0": features} if isinstance(features, Tensor) else features


def scale_of(to_size: tuple[int, int], from_size: tuple[int, int], like: Tensor) -> Tensor:
    """Return the factors `[4]` that scale xyxy boxes from an image of `from_size` `(H,W)` to one of `to_size`."""
    y, x = (new / old for new, old in zip(to_size, from_size, strict=True))
    return like.new_tensor([x, y, x, y])
