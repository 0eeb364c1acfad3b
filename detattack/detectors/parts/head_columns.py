"""Which column of a classification head stands for which category."""

from collections.abc import Sequence

import torch
from torch import Tensor

from detattack.core.types import Category, Detections

UNNAMED = ("__background__", "N/A")
"""Columns of a 91-id COCO head that stand for no category."""


class Columns:
    """A head's columns: those that name a category, those that name nothing but take part in the model's own
    ranking, and the background, which is no class at all.

    of_head: by column, None for one that names nothing. background: the column that is never a detection.
    """

    def __init__(self, of_head: Sequence[Category | None], device: torch.device, background: int | None = None):
        self.categories = tuple(c for c in of_head if c is not None)
        self.count = len(of_head)
        named = [i for i, c in enumerate(of_head) if c is not None]
        unnamed = [i for i, c in enumerate(of_head) if c is None and i != background]
        self._named = torch.tensor(named, dtype=torch.long, device=device)
        self._unnamed = torch.tensor(unnamed, dtype=torch.long, device=device)
        self._label_of_column = torch.full((self.count,), -1, device=device)
        self._label_of_column[self._named] = torch.arange(len(named), device=device)

    def split(self, head: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        """The named columns, by label, and the unnamed ones."""
        return head.index_select(dim, self._named), head.index_select(dim, self._unnamed)

    def join(self, named: Tensor, unnamed: Tensor, dim: int = -1, background: float = -torch.inf) -> Tensor:
        """All columns in the head's order, from what `split` gave; the background filled."""
        shape = list(named.shape)
        shape[dim] = self.count
        head = named.new_full(shape, background)
        return head.index_copy_(dim, self._named, named).index_copy_(dim, self._unnamed, unnamed)

    def detections(self, boxes: Tensor, scores: Tensor, columns: Tensor) -> Detections:
        """Detections by label, from `[M,4]`, `[M]` and head columns `[M]`; those that name nothing left out."""
        labels = self._label_of_column[columns]
        named = labels >= 0
        return Detections(boxes[named].float(), scores[named].float(), labels[named])
