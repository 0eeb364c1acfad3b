"""When two lists of detections count as the same."""

import pytest
import torch

from detattack.core.types import Detections
from detattack.detectors.check.matching import match_detections

TOLERANCE = (0.01, 1e-5)


def detections(count: int, seed: int = 0) -> Detections:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 200
    sides = torch.rand(count, 2, generator=generator) * 50 + 1
    scores = torch.rand(count, generator=generator) * 0.8 + 0.1
    labels = torch.randint(0, 5, (count,), generator=generator)
    return Detections(torch.cat((corners, corners + sides), 1), scores, labels)


def rows(found: Detections, index) -> Detections:
    return Detections(found.boxes[index], found.scores[index], found.labels[index])


@pytest.mark.parametrize("seed", range(5))
def test_order_says_nothing(seed):
    found = detections(30, seed)
    shuffled = rows(found, torch.randperm(30, generator=torch.Generator().manual_seed(seed)))
    moved = Detections(shuffled.boxes + 0.004, shuffled.scores - 4e-6, shuffled.labels)
    result = match_detections(found, moved, TOLERANCE, 0.05)
    assert (result.compared, result.matched, result.example) == (30, 30, "")
    assert result.pixels == pytest.approx(0.004, rel=0.01)
    assert result.score == pytest.approx(4e-6, rel=0.05)


def test_each_difference_counts():
    found = detections(30)
    best = int(found.scores.argmax())
    for change in (
        Detections(found.boxes + 0.02 * torch.eye(30)[best][:, None], found.scores, found.labels),
        Detections(found.boxes, found.scores + 2e-5 * torch.eye(30)[best], found.labels),
        Detections(found.boxes, found.scores, found.labels + torch.eye(30, dtype=torch.int64)[best]),
    ):
        result = match_detections(found, change, TOLERANCE, 0.05)
        assert (result.compared, result.matched) == (30, 29)
        assert f"one with score {float(change.scores[best]):.4f} has none like it" in result.example


@pytest.mark.parametrize("ours", [True, False])
def test_one_too_many_counts_also_where_it_is_a_copy(ours):
    found = detections(30)
    more = rows(found, [*range(30), int(found.scores.argmax())])
    result = match_detections(*((more, found) if ours else (found, more)), TOLERANCE, 0.05)
    assert (result.compared, result.matched) == (31, 30)


def test_what_lies_at_the_threshold_may_be_missing():
    found = detections(30)
    lowest = int(found.scores.argmin())
    others = rows(found, [i for i in range(30) if i != lowest])
    threshold = float(found.scores[lowest]) - 5e-6
    assert (
        match_detections(found, others, TOLERANCE, threshold).matched
        == 29
        == match_detections(found, others, TOLERANCE, threshold).compared
    )
    assert match_detections(found, others, TOLERANCE, threshold - 1e-4).compared == 30


def test_the_last_of_equally_many_may_be_another():
    found = detections(31)
    order = found.scores.argsort(descending=True)
    first, second = rows(found, order[:30]), rows(found, torch.cat((order[:29], order[30:])))
    result = match_detections(first, second, TOLERANCE, 0.05)
    assert (result.compared, result.matched) == (29, 29)


def test_nothing_and_something():
    none, some = detections(0), detections(3)
    assert match_detections(none, none, TOLERANCE, 0.05).compared == 0
    for pair in ((none, some), (some, none)):
        result = match_detections(*pair, TOLERANCE, 0.05)
        assert (result.compared, result.matched) == (3, 0)
        assert "has none like it" in result.example
