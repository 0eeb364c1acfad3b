"""The batch size of `--batch auto` is measured on an iteration of the goal itself, whatever the goal."""

import pytest
import torch

from detattack.engine.config import resolve_attack
from detattack.tasks.detection import auto_batch
from detattack.tasks.detection.config import DetectionConfig
from tests.toy_detector import Toy


@pytest.mark.parametrize("goal", ["suppress:car", "inject:car@center", "mislabel:car->dog", "degrade:all", "flood:3"])
def test_what_an_image_takes_is_measured_for_every_goal(goal, monkeypatch):
    peaks = {"reset_peak_memory_stats": None, "memory_allocated": 100, "max_memory_allocated": 350}
    for name, value in peaks.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    config = DetectionConfig(model="toy", attack=resolve_attack("jnd"), goal=goal)
    assert auto_batch._peak(Toy("cpu"), config, 2, 64, 48) == 250
