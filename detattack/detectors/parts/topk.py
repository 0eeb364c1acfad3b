"""Top-k selection before the NMS of dense detectors, level by level."""

import torch
from torch import Tensor

Kept = tuple[Tensor, Tensor, Tensor]
"""Boxes `[M,4]`, scores `[M]` and head columns `[M]` that go into NMS."""


def best_of_levels(boxes: Tensor, scores: Tensor, sizes: list[int], score_threshold: float, most: int) -> Kept:
    """Return the best candidates above the threshold of each level, all columns together.

    - boxes: `[A,4]`, by level.
    - scores: `[A,C]`, by level.
    - sizes: Candidates of each level.
    - score_threshold: Scores must be above it.
    - most: Candidates to keep of each level.
    """
    parts = []
    for level_boxes, level in zip(boxes.split(sizes), scores.split(sizes), strict=True):
        flat = level.flatten()
        above = (flat > score_threshold).nonzero().flatten()
        best, order = flat[above].topk(min(most, len(above)))
        row, column = above[order] // level.shape[1], above[order] % level.shape[1]
        parts.append((level_boxes[row], best, column))
    kept_boxes, kept_scores, columns = (torch.cat(part) for part in zip(*parts, strict=True))
    return kept_boxes, kept_scores, columns
