"""Detections as the rooms exchange them."""

import torch

from detattack.core.types import Candidates, Detections

FOUND = Detections(torch.arange(12.0).view(3, 4), torch.tensor([0.9, 0.5, 0.4]), torch.tensor([1, 0, 1]))


def test_above_is_strict_and_of_takes_one_class():
    assert FOUND.above(0.5).scores.tolist() == FOUND.scores[:1].tolist()
    assert FOUND.of(1).boxes.tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert FOUND.of(None) is FOUND
    assert (len(FOUND), len(FOUND.above(0.9)), FOUND.cpu().labels.tolist()) == (3, 0, [1, 0, 1])


def test_they_are_shown_in_a_line():
    assert repr(FOUND) == "Detections(3, scores 0.40 to 0.90)"
    assert repr(FOUND.of(7)) == "Detections(0)"
    assert (
        repr(Candidates(torch.zeros(1, 5, 4), torch.zeros(1, 5, 2))) == "Candidates(boxes [1, 5, 4], logits [1, 5, 2])"
    )
