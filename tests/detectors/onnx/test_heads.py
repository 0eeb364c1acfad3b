"""Which kind of head the outputs of an ONNX file are taken for."""

import pytest
import torch

from detattack.core.errors import InputError
from detattack.detectors.onnx.heads import BoxesAndScores, Finished, Queries, Yolo, recognized


def raw(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def raw_yolo(*shape, columns_first, largest=400.0):
    """Boxes in pixels and scores."""
    found = raw(*shape)
    found.narrow(1 if columns_first else 2, 0, 4).mul_(largest)
    return found


def finished(rows):
    """Rows of corners, score and class, filled up with zeros, as exporters do."""
    found = torch.zeros(1, rows, 6)
    found[0, :2] = torch.tensor([[10.0, 20, 60, 80, 0.9, 1], [5, 5, 9, 30, 0.4, 0]])
    return found


@pytest.mark.parametrize("classes", [1, 2, 3, 80])
def test_detections_are_known_by_their_values_however_few_classes_there_are(classes):
    swapped = finished(300)
    swapped[0, 2] = torch.tensor([60.0, 20, 10, 80, 0.01, 0])
    for rows in (finished(300), finished(300)[0], torch.zeros(1, 300, 6), torch.zeros(0, 6), swapped):
        assert isinstance(recognized({"out": rows}, classes, "a.onnx"), Finished)


@pytest.mark.parametrize(
    ("shape", "classes", "columns_first", "objectness"),
    [
        ((1, 5, 8400), 1, True, False),
        ((1, 6, 8400), 2, True, False),
        ((1, 8400, 6), 2, False, False),
        ((1, 25200, 6), 1, False, True),
        ((1, 8400, 85), 80, False, True),
    ],
)
def test_raw_scores_of_a_yolo(shape, classes, columns_first, objectness):
    outputs = {"out": raw_yolo(*shape, columns_first=columns_first)}
    assert recognized(outputs, classes, "a.onnx") == Yolo("out", columns_first, objectness)


def test_a_yolo_that_is_not_decoded_is_refused():
    """As YOLOX's authors export it unless they are asked not to."""
    with pytest.raises(InputError, match=r"boxes that are not in pixels; export them decoded"):
        recognized({"out": raw_yolo(1, 3549, 85, columns_first=False, largest=1.5)}, 80, "a.onnx")
    with pytest.raises(InputError, match=r"scores that are not in \[0,1\]"):
        recognized({"out": raw_yolo(1, 3549, 85, columns_first=False) * 2}, 80, "a.onnx")


@pytest.mark.parametrize("columns", [3, 4])
def test_boxes_in_shares_beside_scores(columns):
    boxes, scores = raw(1, 100, 4), raw(1, 100, columns)
    head = recognized({"boxes": boxes, "scores": scores}, 3, "a.onnx")
    assert head == BoxesAndScores("boxes", "scores", background=columns == 4, in_shares=True)
    found, logits = head.read({"boxes": boxes, "scores": scores}, (40, 60))
    torch.testing.assert_close(found, boxes * torch.tensor([60.0, 40, 60, 40]))
    torch.testing.assert_close(logits.sigmoid(), scores[..., columns - 3 :])
    in_pixels = recognized({"boxes": 400 * boxes, "scores": scores}, 3, "a.onnx")
    assert in_pixels == BoxesAndScores("boxes", "scores", background=columns == 4, in_shares=False)


def test_logits_are_no_scores_whatever_they_are_called():
    """RF-DETR calls them labels; what stands in a column more is not known."""
    boxes, logits = raw(1, 300, 4), 8 * raw(1, 300, 7) - 6
    assert recognized({"dets": boxes, "labels": logits}, 7, "a.onnx") == Queries("dets", "labels", softmax=False)
    assert recognized({"dets": boxes, "logits": logits}, 6, "a.onnx") == Queries("dets", "logits", softmax=True)
    for outputs, classes in (
        ({"dets": boxes, "labels": logits}, 6),
        ({"boxes": 400 * boxes, "scores": logits}, 7),
        ({"boxes": 400 * boxes, "cls_logits": logits}, 7),
    ):
        with pytest.raises(InputError, match="are of no known head"):
            recognized(outputs, classes, "a.onnx")


def test_outputs_that_nobody_knows_are_refused():
    with pytest.raises(InputError, match=r"a\.onnx: outputs out \[1, 7, 9\] are of no known head with 80 classes"):
        recognized({"out": raw(1, 7, 9)}, 80, "a.onnx")
