"""Map the columns of a classification head to categories."""

from collections.abc import Sequence

import torch
from torch import Tensor

from detattack.core.types import Category, Detections

UNNAMED = ("__background__", "N/A")
"""Columns of a 91-id COCO head that stand for no category."""


class Columns:
    """The columns of a head: named, unnamed and the background.

    Unnamed columns stand for no category but take part in the model's own ranking; the background is no class at all.
    """

    def __init__(self, of_head: Sequence[Category | None], device: torch.device, background: int | None = None) -> None:
        """Index the columns.

        - of_head: The category of each column, None for an unnamed one.
        - device: Where the head's outputs live.
        - background: The column that is never a detection; its category is None.
        """
        self.categories = tuple(c for c in of_head if c is not None)
        self.count = len(of_head)
        named = [i for i, c in enumerate(of_head) if c is not None]
        unnamed = [i for i, c in enumerate(of_head) if c is None and i != background]
        self._named = torch.tensor(named, dtype=torch.long, device=device)
        self._unnamed = torch.tensor(unnamed, dtype=torch.long, device=device)
        self._label_of_column = torch.full((self.count,), -1, device=device)
        self._label_of_column[self._named] = torch.arange(len(named), device=device)

    def split(self, head: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        """Return the named columns, in the order of labels, and the unnamed ones."""
        return head.index_select(dim, self._named), head.index_select(dim, self._unnamed)

    def join(self, named: Tensor, unnamed: Tensor, dim: int = -1, background: float = -torch.inf) -> Tensor:
        """Return all columns in the order of the head, from the results of `split`; the background is filled."""
        shape = list(named.shape)
        shape[dim] = self.count
        head = named.new_full(shape, background)
        return head.index_copy_(dim, self._named, named).index_copy_(dim, self._unnamed, unnamed)

    def detections(self, boxes: Tensor, scores: Tensor, columns: Tensor) -> Detections:
        """Return detections of boxes `[M,4]`, scores `[M]` and head columns `[M]`, without unnamed columns."""
        labels = self._label_of_column[columns]
        named = labels >= 0
        return Detections(boxes[named].float(), scores[named].float(), labels[named])
