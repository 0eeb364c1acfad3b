"""Check that an adapter's candidates are what it reports: scores, columns and places."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from detattack.core.boxes import iou
from detattack.core.types import Candidates, Detections
from detattack.detectors.base import Detector
from detattack.detectors.check.findings import Failed, NotCompared

SCORE = 1e-5
"""Largest difference of a reported score from the sigmoid of its logit."""
LEAST_SCORE = 1e-3
"""Lowest score of the detections that are compared: below, all scores are alike."""
HIGH, LOW = (3.0, 6.0), -10.0
"""Logits of candidates that are to be reported, all different, and of all others."""
AT_ONCE, TRIES = 32, 4
"""Columns tried together, each at another candidate, and candidates tried for one alone."""
LEAST_SIDE = 2.0
"""Sides of a box within the image, in pixels: smaller ones may well be dropped."""
SHORTCUT = 1e-3
"""Relative difference that `logits(images)`, and its gradient, may have from the candidates'."""
STRETCHES = ((2, 2), (1, 2))
"""By which the height and width of a picture are multiplied to see whether boxes follow."""
GRAY = 114 / 255
"""Value that a picture is padded with."""
TOP, ALIKE, FOLLOWING = 50, 0.9, 0.5
"""Candidates compared, IoU from which on two have one place, and the share of them that tells."""


def score_fault(candidates: Candidates, found: Detections, who: str) -> str:
    """Return what is wrong with the scores of an image's detections; "" where all are sigmoids of its logits.

    who: the method that reports them, for the text.
    """
    known = torch.sort(_scores(candidates).flatten()).values
    own = found.scores[found.scores > LEAST_SCORE].to(known)
    if not len(own) or not len(known):
        return ""
    after = torch.searchsorted(known, own)
    near = torch.stack([known[index.clamp(0, len(known) - 1)] for index in (after, after - 1)])
    apart, which = (near - own).abs().min(0)
    worst = int(apart.argmax())
    if float(apart[worst]) <= SCORE:
        return ""
    nearest = float(near[which[worst], worst])
    return f"{who} reports a score of {float(own[worst]):.4f}, the nearest sigmoid of a logit is {nearest:.4f}"


def hidden_column(detector: Detector, candidates: Candidates, found: Detections, size: tuple[int, int]) -> str:
    """Return what is wrong with the highest logit of an image `(H,W)`; "" where it is reported or at most 1/2.

    No rule of suppression can leave out the best candidate of all.
    """
    scores = _scores(candidates)
    if not scores.numel():
        return ""
    best = int(scores.argmax())
    row, label = divmod(best, scores.shape[1])
    score = float(scores.flatten()[best])
    if score <= 0.5 or not _reportable(candidates, size)[row, label]:
        return ""
    if bool((found.of(label).scores >= score - SCORE).any()):
        return ""
    return (
        f"{detector.categories[label].name!r} has the highest logit of an image, score {score:.4f}, and is not reported"
    )


@torch.no_grad()
def check_columns(detector: Detector, image: Tensor) -> str:
    """Check that each column of an image `[1,3,H,W]` is reported as its category where only its logit is high.

    Raises `Failed`, `NotCompared` where no candidate lies in the image.
    """
    candidates = detector.candidates(image)
    columns = candidates.logits.shape[2]
    if len(detector.select(replace(candidates, logits=torch.full_like(candidates.logits, LOW)), 0.5)[0]):
        return "not tried out: select reads its scores elsewhere"
    reportable = _reportable(candidates, (image.shape[-2], image.shape[-1]))
    if not reportable.any():
        raise NotCompared("no candidate has a box within the image")
    rows = [reportable[:, column].nonzero().flatten().tolist() for column in range(columns)]
    seen: set[int] = set()
    for group in torch.arange(columns).split(AT_ONCE):
        among = {column: rows[column] for column in group.tolist() if rows[column]}
        places = {column: own[i * (len(own) - 1) // len(among)] for i, (column, own) in enumerate(among.items())}
        seen |= {column for column, label in _reported(detector, candidates, places) if column == label}
    for column in sorted(set(range(columns)) - seen):
        _demand_reported(detector, candidates, column, rows[column])
    return f"each of {columns} is reported as its category where it is the only one that is high"


def _demand_reported(detector: Detector, candidates: Candidates, column: int, rows: list[int]) -> None:
    labels: list[int] = []
    for attempt in range(TRIES if rows else 0):
        place = {column: rows[attempt * (len(rows) - 1) // TRIES]}
        labels = [label for _, label in _reported(detector, candidates, place)]
        if column in labels:
            return
    name = detector.categories[column].name
    instead = f"is reported as {detector.categories[labels[0]].name!r}" if labels else "is never reported"
    raise Failed(f"{name!r} {instead} where its logit is the only one that is high")


def _reported(detector: Detector, candidates: Candidates, places: dict[int, int]) -> list[tuple[int, int]]:
    """Return pairs of a column and the label that it is reported as. places: the row of the high logit, by column."""
    levels = torch.linspace(*HIGH, len(places))
    logits = torch.full_like(candidates.logits, LOW)
    logits[0, list(places.values()), list(places)] = levels.to(logits)
    found = detector.select(replace(candidates, logits=logits), 0.5)[0].cpu()
    apart, which = (found.scores[:, None] - levels.sigmoid()[None]).abs().min(1)
    columns, same = list(places), apart <= SCORE
    return [(columns[i], label) for i, label in zip(which[same].tolist(), found.labels[same].tolist(), strict=True)]


def check_shortcut(detector: Any, image: Tensor) -> str:
    """Check that `logits(images)` and its gradient are those of `candidates`, for an image `[1,3,H,W]`.

    Raises `Failed`.
    """
    results = []
    for logits_of in (detector.logits, lambda images: detector.candidates(images).logits):
        seen = image.clone().requires_grad_()
        logits = logits_of(seen)
        results.append((logits.detach(), torch.autograd.grad(logits.cpu().double().logsumexp((1, 2)).sum(), seen)[0]))
    for what, ours, theirs in zip(("they", "their gradients"), *results, strict=True):
        if ours.shape != theirs.shape:
            raise Failed(f"logits() gives {list(ours.shape)}, candidates() {list(theirs.shape)}")
        apart = float((ours - theirs).norm() / theirs.norm())
        if not apart <= SHORTCUT:
            raise Failed(f"logits() is not what candidates() has: {what} differ by {apart:.1%}")
    return "logits() and its gradient are those of candidates()"


@torch.no_grad()
def check_boxes(detector: Detector, image: Tensor) -> str:
    """Check that boxes are in pixels of the given image `[1,3,S,S]`. Raises `Failed`.

    Nothing is judged where the model sees something else once the image is stretched or padded. Boxes that are not
    taken back from a resize stay where they are when the image grows; those that are not taken back from a letterbox
    move with its margin, which is above or beside the picture.
    """
    side = image.shape[-1]
    grown = [_resized(image, height * side, width * side) for height, width in STRETCHES]
    flat, tall = (F.pad(image, margin, value=GRAY) for margin in ((0, side, 0, 0), (0, 0, 0, side)))
    still, half = (1.0, 1.0, 0.0, 0.0), side / 2
    views = [
        (image, grown[0], (2.0, 2.0, 0.0, 0.0), {"stay where they are": still}),
        (image, grown[1], (2.0, 1.0, 0.0, 0.0), {"stay where they are": still, "swap x and y": (1.0, 2.0, 0.0, 0.0)}),
        (flat, tall, still, {"move with the margins of a letterbox": (1.0, 1.0, half, -half)}),
    ]
    followed = 0
    for before, after, expected, faults in views:
        for (who, ours), (_, theirs) in zip(_best(detector, before), _best(detector, after), strict=True):
            right = _following(ours, theirs, expected)
            followed += right >= FOLLOWING
            for fault, wrong in faults.items():
                if _following(ours, theirs, wrong) >= FOLLOWING > 2 * right:
                    size = f"{after.shape[-1]}×{after.shape[-2]}"
                    raise Failed(f"those of {who} are in pixels of another image: they {fault} in one of {size}")
    return f"follow the image in {followed} of {2 * len(views)} comparisons; none goes elsewhere"


def _resized(image: Tensor, height: int, width: int) -> Tensor:
    return (F.interpolate(image, (height, width), mode="bilinear") * 255).round() / 255


def _best(detector: Detector, image: Tensor) -> Iterator[tuple[str, Detections]]:
    """Yield the best candidates and the best detections, each with their source."""
    candidates = detector.candidates(image)
    scores = _scores(candidates)
    best = scores.flatten().topk(min(TOP, scores.numel())).indices
    row, label = best // scores.shape[1], best % scores.shape[1]
    yield "candidates", Detections(_boxes(candidates)[row, label], scores[row, label], label)
    found = detector.detect(image, 0.0)[0]
    best = found.scores.argsort(descending=True)[:TOP]
    yield "detect", Detections(found.boxes[best], found.scores[best], found.labels[best])


def _following(ours: Detections, theirs: Detections, moved: tuple[float, float, float, float]) -> float:
    """Return the share of our boxes that are among theirs once moved, with the same label and nearly the same score.

    moved: factors of x and y, then shifts of x and y in pixels.
    """
    if not len(ours) or not len(theirs):
        return 0.0
    scale, shift = ours.boxes.new_tensor(moved).split(2)
    boxes = ours.boxes * scale.repeat(2) + shift.repeat(2)
    same = (iou(boxes[:, None], theirs.boxes[None]) >= ALIKE) & (ours.labels[:, None] == theirs.labels[None])
    spread = float(ours.scores.max() - ours.scores.min())
    same &= (ours.scores[:, None] - theirs.scores[None]).abs() <= max(0.1 * float(ours.scores.max()), 0.5 * spread)
    return float(same.any(1).cpu().double().mean())


def _scores(candidates: Candidates) -> Tensor:
    """Return the scores `[A,K]` of the first image; 0 for padding."""
    scores = candidates.logits[0].detach().float().sigmoid()
    return scores if candidates.valid is None else scores * candidates.valid[0][:, None]


def _boxes(candidates: Candidates) -> Tensor:
    """Return the boxes `[A,K,4]` of the first image."""
    boxes = candidates.boxes[0].detach()
    return boxes if boxes.dim() == 3 else boxes[:, None].expand(-1, candidates.logits.shape[2], -1)


def _reportable(candidates: Candidates, size: tuple[int, int]) -> Tensor:
    """Return bool `[A,K]`: not padding, and a box large enough within the image `(H,W)`."""
    boxes = _boxes(candidates)
    limit = boxes.new_tensor([size[1], size[0]] * 2)
    inside = torch.minimum(boxes.clamp_min(0), limit)
    large = (inside[..., 2:] - inside[..., :2]).amin(-1) >= LEAST_SIDE
    return large if candidates.valid is None else large & candidates.valid[0][:, None]
