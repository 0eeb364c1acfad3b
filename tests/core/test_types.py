"""Detections are checked where they are made."""

import pytest
import torch

from detattack.core.types import Detections

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
