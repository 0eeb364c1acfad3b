"""Match two lists of detections of one image, up to a tolerance: how `models check` compares two inferences."""

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from detattack.core.types import Detections

Tolerance = tuple[float, float]
"""Pixels and score by which a detection may differ."""


@dataclass(frozen=True)
class MatchResult:
    """How far two lists of detections match; results of several images can be added.

    - compared: Detections compared.
    - matched: How many of them have a match.
    - pixels: Largest difference of a coordinate among the matched ones.
    - score: Largest difference of scores among the matched ones.
    - example: An unmatched detection, in words; "" where all match.
    """

    compared: int = 0
    matched: int = 0
    pixels: float = 0.0
    score: float = 0.0
    example: str = ""

    def __add__(self, other: "MatchResult") -> "MatchResult":
        return MatchResult(
            self.compared + other.compared,
            self.matched + other.matched,
            max(self.pixels, other.pixels),
            max(self.score, other.score),
            self.example or other.example,
        )

    def differences(self) -> str:
        """Return the largest differences as text."""
        return f"boxes ≤ {self.pixels:.2g} px, scores ≤ {self.score:.1g} apart"


def match_detections(ours: Detections, theirs: Detections, tolerance: Tolerance, threshold: float) -> MatchResult:
    """Match each detection of either side with one of its own on the other side, in whatever order.

    A detection at the threshold may be on one side only, and so may the last of equally many: there the model cuts.

    - ours: Detections of one inference.
    - theirs: Detections of the other.
    - tolerance: Pixels and score by which two that match may differ.
    - threshold: Score threshold of both inferences.
    """
    pixels, score = differences(ours, theirs)
    same = (pixels <= tolerance[0]) & (score <= tolerance[1]) & (ours.labels[:, None] == theirs.labels[None])
    rows, columns = (torch.from_numpy(i) for i in linear_sum_assignment(same.cpu().numpy(), maximize=True))
    paired = same.cpu()[rows, columns]
    rows, columns = rows[paired], columns[paired]
    full = len(ours) == len(theirs) > 0
    cut = max(float(ours.scores.min()), float(theirs.scores.min())) if full else threshold
    lonely, strangers = (
        _unmatched(found, matched, cut + tolerance[1]) for found, matched in ((ours, rows), (theirs, columns))
    )
    example = ""
    if strangers:
        example = _described(theirs, strangers[0], ours, pixels.T)
    elif lonely:
        example = _described(ours, lonely[0], theirs, pixels)
    return MatchResult(
        compared=len(rows) + max(len(lonely), len(strangers)),
        matched=len(rows),
        pixels=float(pixels[rows, columns].max()) if len(rows) else 0.0,
        score=float(score[rows, columns].max()) if len(rows) else 0.0,
        example=example,
    )


def differences(ours: Detections, theirs: Detections) -> tuple[Tensor, Tensor]:
    """Return the largest difference of a coordinate, and the difference of the scores, `[M,L]` each."""
    pixels = (ours.boxes[:, None] - theirs.boxes[None]).abs().amax(-1)
    return pixels, (ours.scores[:, None] - theirs.scores[None]).abs()


def _unmatched(found: Detections, matched: Tensor, lowest: float) -> list[int]:
    """Return the indices of detections above `lowest` that are not among the matched ones."""
    alone = found.scores > lowest
    alone[matched] = False
    return alone.nonzero().flatten().tolist()


def _described(found: Detections, row: int, others: Detections, pixels: Tensor) -> str:
    """Describe a detection that the other side does not have."""
    said = f"one with score {float(found.scores[row]):.4f} has none like it"
    if not len(others):
        return said
    near = int(pixels[row].argmin())
    return f"{said}, the nearest is {float(pixels[row, near]):.2g} px away with score {float(others.scores[near]):.4f}"
