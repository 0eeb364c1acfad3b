"""Overlap of boxes, by hand."""

import pytest
import torch

from detattack.core.boxes import area, giou, iou, iou_matrix, to_box

BOXES = torch.tensor([[0.0, 0, 2, 2], [1, 1, 3, 3], [4, 0, 5, 2], [2, 2, 1, 1]])


def test_area():
    assert area(BOXES).tolist() == [4, 4, 2, 0]


def test_iou():
    assert iou_matrix(BOXES[:1], BOXES).tolist() == [pytest.approx([1, 1 / 7, 0, 0])]
    assert torch.equal(iou(BOXES[0], BOXES), iou_matrix(BOXES[:1], BOXES)[0])


def test_giou_of_boxes_that_do_not_touch_has_a_gradient():
    assert giou(BOXES[0], BOXES[:3]).tolist() == pytest.approx([1, 1 / 7 - 2 / 9, -4 / 10])
    apart = BOXES[2].clone().requires_grad_()
    giou(BOXES[0], apart).backward()
    assert float(apart.grad.abs().sum()) > 0


def test_to_box():
    assert to_box(torch.tensor([1, 2, 3, 4])) == (1.0, 2.0, 3.0, 4.0)
    with pytest.raises(ValueError):
        to_box([1, 2, 3])
