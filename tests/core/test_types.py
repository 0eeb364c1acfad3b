"""Detections as the rooms exchange them, checked where they are made; harm that has no end."""

import pytest
import torch

from detattack.core.types import WHOLLY_WRONG, Candidates, Detections, Evaluation, short_of_wrong

FOUND = Detections(torch.arange(12.0).view(3, 4), torch.tensor([0.9, 0.5, 0.4]), torch.tensor([1, 0, 1]))
BOXES, SCORES, LABELS = torch.rand(3, 4), torch.rand(3), torch.tensor([0, 1, 0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("count", [0, 3])
def test_lists_of_one_length_are_detections(dtype: torch.dtype, count: int) -> None:
    assert len(Detections(BOXES[:count].to(dtype), SCORES[:count].to(dtype), LABELS[:count])) == count


@pytest.mark.parametrize(
    ("boxes", "scores", "labels", "got"),
    [
        (BOXES[:2], SCORES, LABELS, "float32 [2, 4], float32 [3], int64 [3]"),
        (BOXES[0], SCORES, LABELS, "float32 [4], float32 [3], int64 [3]"),
        (BOXES, SCORES[:2], LABELS, "float32 [3, 4], float32 [2], int64 [3]"),
        (BOXES, SCORES[0], LABELS, "float32 [3, 4], float32 [], int64 [3]"),
        (BOXES[:1], SCORES[:1, None], LABELS[:1], "float32 [1, 4], float32 [1, 1], int64 [1]"),
        (BOXES, SCORES, LABELS[:0], "float32 [3, 4], float32 [3], int64 [0]"),
        (BOXES, SCORES, LABELS.float(), "float32 [3, 4], float32 [3], float32 [3]"),
        (BOXES, SCORES, LABELS.int(), "float32 [3, 4], float32 [3], int32 [3]"),
        (BOXES.long(), SCORES, LABELS, "int64 [3, 4], float32 [3], int64 [3]"),
        (torch.empty(0), torch.empty(0), torch.empty(0).long(), "float32 [0], float32 [0], int64 [0]"),
    ],
)
def test_anything_else_is_refused(boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, got: str) -> None:
    with pytest.raises(ValueError, match="boxes, scores and labels are not") as refused:
        Detections(boxes, scores, labels)
    assert str(refused.value).endswith(f"but {got}")


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


def test_a_harm_without_an_end_keeps_its_order_and_is_never_wholly_wrong():
    harms = torch.tensor([-1e9, -3.0, 0.0, 499.0, 500.0, 501.0, 999.0, 1000.0, 1e6], dtype=torch.float64)
    found = short_of_wrong(harms)
    assert torch.equal(found[:5], harms[:5])
    assert (found.diff() > 0).all()
    assert found[-1] < WHOLLY_WRONG


def test_a_loss_far_below_0_is_no_output_that_is_wholly_wrong():
    two = Evaluation(torch.tensor([-5e4, -6e4]), torch.zeros(2, dtype=torch.bool), torch.zeros(2))
    first, second = two.worst_is().tolist()
    assert first < second < WHOLLY_WRONG
