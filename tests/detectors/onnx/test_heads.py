"""Which kind of head the outputs of an ONNX file are taken for."""

import pytest
import torch

from detattack.core.errors import InputError
from detattack.detectors.onnx.heads import Finished, Yolo, recognized


def raw(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def finished(rows):
    """Rows of corners, score and class, filled up with zeros, as exporters do."""
    found = torch.zeros(1, rows, 6)
    found[0, :2] = torch.tensor([[10.0, 20, 60, 80, 0.9, 1], [5, 5, 9, 30, 0.4, 0]])
    return found


@pytest.mark.parametrize("classes", [1, 2, 3, 80])
def test_detections_are_known_by_their_values_however_few_classes_there_are(classes):
    for rows in (finished(300), finished(300)[0], torch.zeros(1, 300, 6), torch.zeros(0, 6)):
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
    assert recognized({"out": raw(*shape)}, classes, "a.onnx") == Yolo("out", columns_first, objectness)


def test_outputs_that_nobody_knows_are_refused():
    with pytest.raises(InputError, match=r"a\.onnx: outputs out \[1, 7, 9\] are of no known head with 80 classes"):
        recognized({"out": raw(1, 7, 9)}, 80, "a.onnx")
