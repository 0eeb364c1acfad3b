"""Whether two lists of detections of one image are the same, up to a tolerance: what `models check` judges by."""

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from detattack.core.types import Detections

Tolerance = tuple[float, float]
"""Pixels and score by which a detection may differ."""


@dataclass(frozen=True)
class Agreement:
    """Detections compared, how many of them agree, the largest differences of those, and one that does not."""

    compared: int = 0
    agreeing: int = 0
    pixels: float = 0.0
    score: float = 0.0
    example: str = ""

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(
            self.compared + other.compared,
            self.agreeing + other.agreeing,
            max(self.pixels, other.pixels),
            max(self.score, other.score),
            self.example or other.example,
        )

    def differences(self) -> str:
        """The largest ones, for people."""
        return f"boxes ≤ {self.pixels:.2g} px, scores ≤ {self.score:.1g} apart"


def agreement(ours: Detections, theirs: Detections, tolerance: Tolerance, threshold: float) -> Agreement:
    """Each detection of either side has one of its own on the other side, in whatever order.

    What lies at the threshold may be on one side only, and so may the last of equally many: there the model cuts.
    """
    pixels, score = differences(ours, theirs)
    same = (pixels <= tolerance[0]) & (score <= tolerance[1]) & (ours.labels[:, None] == theirs.labels[None])
    rows, columns = (torch.from_numpy(i) for i in linear_sum_assignment(same.cpu().numpy(), maximize=True))
    paired = same.cpu()[rows, columns]
    rows, columns = rows[paired], columns[paired]
    full = len(ours) == len(theirs) > 0
    cut = max(float(ours.scores.min()), float(theirs.scores.min())) if full else threshold
    of_ours, of_theirs = (
        _astray(one, matched, cut + tolerance[1]) for one, matched in ((ours, rows), (theirs, columns))
    )
    example = ""
    if of_theirs:
        example = _stranger(theirs, of_theirs[0], ours, pixels.T)
    elif of_ours:
        example = _stranger(ours, of_ours[0], theirs, pixels)
    return Agreement(
        compared=len(rows) + max(len(of_ours), len(of_theirs)),
        agreeing=len(rows),
        pixels=float(pixels[rows, columns].max()) if len(rows) else 0.0,
        score=float(score[rows, columns].max()) if len(rows) else 0.0,
        example=example,
    )


def differences(ours: Detections, theirs: Detections) -> tuple[Tensor, Tensor]:
    """Largest difference of a coordinate, and difference of the scores, `[M,L]` each."""
    pixels = (ours.boxes[:, None] - theirs.boxes[None]).abs().amax(-1)
    return pixels, (ours.scores[:, None] - theirs.scores[None]).abs()


def _astray(found: Detections, matched: Tensor, lowest: float) -> list[int]:
    """Which detections above `lowest` are not among the matched ones."""
    alone = found.scores > lowest
    alone[matched] = False
    return alone.nonzero().flatten().tolist()


def _stranger(found: Detections, row: int, others: Detections, pixels: Tensor) -> str:
    """What is said of a detection that the other side has not."""
    said = f"one with score {float(found.scores[row]):.4f} has none like it"
    if not len(others):
        return said
    near = int(pixels[row].argmin())
    return f"{said}, the nearest is {float(pixels[row, near]):.2g} px away with score {float(others.scores[near]):.4f}"
