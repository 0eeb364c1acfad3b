"""The small set-prediction detector: where its queries look, and one query for one object."""

import pytest
import torch
from torchvision.ops import box_convert

from detattack.detectors.demo.detr import _DeformableAttention, _first_boxes, _losses, _match
from detattack.detectors.demo.network import build_network

WIDTH, HEIGHT = 200, 100


@pytest.fixture
def truth() -> dict[str, torch.Tensor]:
    return {"boxes": torch.tensor([[10.0, 10, 50, 40], [120, 20, 180, 90]]), "labels": torch.tensor([2, 5])}


def answers(truth: dict[str, torch.Tensor], score: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Five queries; numbers 3 and 1 are the two objects, exactly."""
    boxes = torch.full((1, 5, 4), 0.3)
    shapes = box_convert(truth["boxes"], "xyxy", "cxcywh") / torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    boxes[0, 3], boxes[0, 1] = shapes
    logits = torch.full((1, 5, 8), -score)
    logits[0, 3, 2] = logits[0, 1, 5] = score
    return logits, boxes


def test_each_object_is_matched_to_the_query_that_says_it(truth):
    logits, boxes = answers(truth, 3.0)
    shares = truth["boxes"] / torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    query, thing = _match(logits[0], boxes[0], box_convert(boxes[0], "cxcywh", "xyxy"), shares, truth["labels"])
    assert dict(zip(thing.tolist(), query.tolist(), strict=True)) == {0: 3, 1: 1}


def test_the_right_answer_costs_nothing_and_a_second_query_for_an_object_costs(truth):
    sure = _losses([answers(truth, 20.0)], [truth], WIDTH, HEIGHT)
    assert sum(sure.values()) == pytest.approx(0, abs=1e-5)
    logits, boxes = answers(truth, 20.0)
    logits[0, 0, 2], boxes[0, 0] = 20.0, boxes[0, 3]
    doubled = _losses([(logits, boxes)], [truth], WIDTH, HEIGHT)
    assert doubled["classification"] > 1


def test_an_image_without_objects_has_a_finite_loss():
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    losses = _losses([(torch.zeros(1, 5, 8), torch.full((1, 5, 4), 0.3))], [nothing], WIDTH, HEIGHT)
    assert losses["classification"] > 0
    assert losses["bbox_l1"] == losses["bbox_iou"] == 0


def test_attention_reads_the_map_where_the_box_and_its_offsets_point():
    """On maps whose channels hold the coordinates of their places, with the value passed on as it is."""
    attention = _DeformableAttention().double()
    with torch.no_grad():
        for linear in (attention.value, attention.output):
            linear.weight.copy_(torch.eye(len(linear.weight)))
            linear.bias.zero_()
        attention.offsets.bias.zero_()
    x, y = ((torch.arange(n, dtype=torch.float64) + 0.5) / n for n in (30, 20))
    coordinates = torch.stack((x.expand(20, 30), y[:, None].expand(20, 30))).repeat(48, 1, 1)[None]
    boxes = torch.tensor([[[0.4, 0.6, 0.2, 0.2], [0.7, 0.3, 0.1, 0.4]]], dtype=torch.float64)
    seen = attention(torch.zeros(1, 2, 96, dtype=torch.float64), boxes, [coordinates] * 3)
    assert torch.allclose(seen[0, :, :2], boxes[0, :, :2])
    with torch.no_grad():  # all points one half-box to the right
        attention.offsets.bias.view(-1, 2)[:, 0] = 4.0
    moved = attention(torch.zeros(1, 2, 96, dtype=torch.float64), boxes, [coordinates] * 3)
    assert torch.allclose(moved[0, :, 0], boxes[0, :, 0] + boxes[0, :, 2] / 2)
    assert torch.allclose(moved[0, :, 1], boxes[0, :, 1])


def test_queries_start_at_the_places_of_the_map():
    boxes = _first_boxes(torch.zeros(2, 96, 2, 4))
    assert boxes.shape == (2, 8, 4)
    assert torch.allclose(boxes[0, 5, :2], torch.tensor([1.5 / 4, 1.5 / 2]))


def test_the_gradient_of_the_last_layer_goes_through_the_boxes_of_those_before():
    """In training each layer's boxes are cut off from the next; an attack must see all of it."""
    network = build_network("detr").eval()
    with torch.no_grad():
        network.boxes[0][-1].weight.normal_(0, 0.1)
    network.predict(torch.rand(1, 3, 64, 64))[-1][1].sum().backward()
    assert network.boxes[0][-1].weight.grad.abs().max() > 0
