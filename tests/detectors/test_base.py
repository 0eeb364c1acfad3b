"""The two addresses that third-party adapters import from: they stay, and are enough to write an adapter."""

import pytest
import torch

import detattack.types
from detattack.core import types
from detattack.detectors import base
from detattack.detectors.registry import load_detector

ADAPTER = """
import torch
IMPORTS


class Nothing:
    name = "nothing"
    categories = (Category("person", 1),)
    eval_threshold = 0.05

    def __init__(self, device):
        self.device = torch.device(device)

    def candidates(self, images, extra_boxes=None):
        return Candidates(images.new_zeros(len(images), 1, 4), images.mean((1, 2, 3)).view(-1, 1, 1))

    def select(self, candidates, score_threshold):
        none = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
        return [none] * len(candidates.boxes)

    def detect(self, images, score_threshold):
        return self.select(self.candidates(images), score_threshold)


factory = Nothing
"""


def test_the_types_are_the_same_at_each_address():
    for name in ("Candidates", "Category", "Detections"):
        assert getattr(detattack.types, name) is getattr(base, name) is getattr(types, name)
    assert set(detattack.types.__all__) == {"Candidates", "Category", "Detections", "DetectorCard", "Evaluation"}


@pytest.mark.parametrize(
    "imports",
    [
        "from detattack.types import Candidates, Category, Detections",
        "from detattack.detectors.base import Candidates, Category, Detections, Detector",
        "from detattack.detectors.base import Detector\nfrom detattack.types import Candidates, Category, Detections",
    ],
)
def test_an_adapter_written_against_them_alone_loads(tmp_path, imports):
    (tmp_path / "adapter.py").write_text(ADAPTER.replace("IMPORTS", imports))
    detector = load_detector(f"{tmp_path}/adapter.py:factory", "cpu")
    assert isinstance(detector, base.Detector)
    assert len(detector.detect(torch.zeros(2, 3, 8, 8), 0.5)) == 2
