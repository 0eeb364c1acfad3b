"""The embedded detectors, one of each kind of head: they keep the contract, and both kinds of goal work on them."""

import pytest
import torch
from torchvision.ops import box_iou

from detattack.api import attack, load_detector, scene
from detattack.datasets.image_io import to_tensor
from detattack.detectors.check import check_detector
from detattack.detectors.registry import EMBEDDED

CARS, ROAD = 8, 1
"""A scene with cars, and one with a free road."""


@pytest.mark.parametrize("name", EMBEDDED)
def test_it_keeps_the_contract(name: str):
    findings = list(check_detector(load_detector(name, "cpu"), 3))
    assert [f"{f.name}: {f.detail}" for f in findings if not f.passed] == []


@pytest.mark.parametrize(("goal", "number"), [("suppress:car", CARS), ("inject:car@road", ROAD)])
@pytest.mark.parametrize("name", EMBEDDED)
def test_a_car_vanishes_and_one_appears(name: str, goal: str, number: int):
    record = attack(scene(number), load_detector(name, "cpu"), goal=goal).record
    assert record.status == "success"
    assert record.file_success
    assert record.quality["psnr"] > 40


def test_only_the_robust_one_keeps_its_cars_within_two_gray_levels():
    found = {
        name: attack(
            scene(CARS), load_detector(name, "cpu"), method="pgd-linf@2", goal="suppress:car", max_iterations=20
        )
        for name in ("demo", "demo-robust")
    }
    assert {name: one.record.status for name, one in found.items()} == {"demo": "success", "demo-robust": "failure"}


def test_the_box_asked_of_the_two_stage_head_has_no_proposal_near_it():
    """So that the success above is one where no proposal was."""
    detector = load_detector("demo-fasterrcnn", "cpu")
    box = attack(scene(ROAD), detector, goal="inject:car@road").record.box
    candidates = detector.candidates(to_tensor(scene(ROAD).image)[None])
    proposals = candidates.anchors[0, candidates.state.proposed[0]]
    assert box_iou(torch.tensor([box]), proposals).max() < 0.5
