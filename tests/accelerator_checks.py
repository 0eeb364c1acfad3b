"""On a device that is not the CPU: no tensors of both are mixed, nothing is float64, and the host hardly waits.

The device is `tests/fake_accelerator.py`, whose operations run on the CPU: so every byte has to be that of the CPU. A
device has to be there before torch computes its first gradient, and it stays: `test_accelerator.py` runs this in a
process of its own.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from classify.methods import PRESETS as CLASSIFIER_PRESETS
from classify.models.registry import load_classifier
from detattack.api import attack, load_detector, scene
from detattack.cli import main
from detattack.detectors.registry import EMBEDDED
from detattack.engine import PRESETS
from detattack.tasks.detection.goals.base import GOALS
from tests.fake_accelerator import DEVICE, LOG, NAME, OnDevice, fake_accelerator

PAIRS = {
    "demo": "suppress:all",
    "demo-fcos": "inject:car@center",
    "demo-ssd": "degrade:all",
    "demo-fasterrcnn": "flood:60",
    "demo-detr": "mislabel:car->person",
}
"""Every head and every goal once; `benchmarks/accelerator.py` runs all with all."""
OF_EACH_STEP = list({attack.step: name for name, attack in PRESETS.items()}.values())
OF_EACH_CLASSIFIER_STEP = list({attack.step: name for name, attack in CLASSIFIER_PRESETS.items()}.values())
SPENDING = ("ensemble",)
UNBOUNDED = ("noise",)
SHORT = Path(__file__).with_name("ranking") / "short.yaml"
ROUNDED_OTHERWISE = ("demo-detr",)
"""Heads whose attention torch computes by another kernel on other devices."""


@pytest.fixture(scope="module")
def device():
    with fake_accelerator() as made:
        yield made


@pytest.fixture(scope="module")
def on_device(device):
    """Detectors by name, on the device and on the CPU."""
    known = {}

    def load(name: str, where: str):
        if (name, where) not in known:
            known[name, where] = load_detector(name, device=where)
        return known[name, where]

    return load


def picture(number: int = 8) -> np.ndarray:
    return np.ascontiguousarray(scene(number).image[::2, ::2])


def both(on_device, head: str, goal: str, method: str, **options):
    """Attack on the CPU and on the device; the outcome there, and how often the host waited and copied."""
    if method in SPENDING:
        options = {"budget": "linf:2"} | options
    on_cpu = attack(picture(), on_device(head, "cpu"), goal, method, **options)
    LOG.clear()
    there = attack(picture(), on_device(head, DEVICE), goal, method, **options)
    waits = LOG.waits.copy()
    assert there.record.status == on_cpu.record.status != "error", there.record.reason
    if head in ROUNDED_OTHERWISE:
        assert there.record.trace["loss"][0] == pytest.approx(on_cpu.record.trace["loss"][0], rel=1e-5)
    else:
        assert np.array_equal(there.pixels, on_cpu.pixels)
        assert there.record.trace["loss"] == on_cpu.record.trace["loss"]
    return there.record, waits


def test_the_device_is_as_strict_as_an_accelerator(device):
    there = torch.ones(3, device=device)
    with pytest.raises(RuntimeError, match="same device"):
        there + torch.ones(3)
    with pytest.raises(TypeError, match="float64"):
        there.double()
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()
    assert isinstance(there + 1, OnDevice)
    assert (there * 2).device.type == NAME
    LOG.clear()
    assert float(there.sum()) == 3
    assert there.tolist() == [1, 1, 1]
    assert len(there.nonzero()) == 3
    assert len(there[there > 0]) == 3
    assert sum(LOG.waits.values()) == 4
    assert not sum(LOG.copies.values())
    assert torch.ones(3).to(device)[[0, 2]].device.type == NAME
    assert sum(LOG.copies.values()) == 2


def test_every_head_has_a_goal():
    assert set(PAIRS) | {"demo-robust"} == set(EMBEDDED)
    assert {goal.partition(":")[0] for goal in PAIRS.values()} == set(GOALS)


@pytest.mark.parametrize(("head", "goal"), PAIRS.items())
def test_every_head_and_every_goal(on_device, head, goal):
    record, waits = both(on_device, head, goal, "jnd", max_iterations=3)
    assert record.backwards == 3, "it has to go on to the end, for iterations to be counted"
    inside = {line: n for line, n in waits.items() if line.startswith(("engine/", "tasks/detection/objective"))}
    assert sum(inside.values()) <= record.forwards, inside


@pytest.mark.parametrize("method", OF_EACH_STEP)
def test_every_step_rule(on_device, method):
    # of the control a goal that its reference has soon reached
    options = {"score_threshold": 0.9} if method == "noise" else {"max_iterations": 3}
    both(on_device, "demo-ssd", "suppress:all", method, **options)


def test_floats_and_what_has_to_stay(on_device):
    both(on_device, "demo-ssd", "suppress:car", "jnd-min", max_iterations=3, levels=None, keep_others=True)


def test_the_loop_waits_once_an_iteration(on_device):
    """All waits, those of the detector too: none but that of `judge`."""
    counted = []
    for iterations in (1, 4):
        _, waits = both(on_device, "demo", "suppress:all", "jnd", max_iterations=iterations)
        counted.append(sum(waits.values()))
    assert counted[1] - counted[0] == 3


def test_a_data_set_and_its_verification(device, tmp_path):
    options = ["--model", "demo-ssd", "--scenes", "1", "--device", NAME, "--quiet"]
    ended(main, "evaluate", *options, "--goal", "suppress:all", "--max-iterations", "3", "--out", str(tmp_path / "jnd"))
    spending = ["--goal", "degrade:all", "--method", "ensemble", "--passes", "4", "--budget", "linf:1,2"]
    ended(main, "evaluate", *options, *spending, "--out", str(tmp_path / "budgets"))
    ended(main, "verify", str(tmp_path / "jnd"), "--device", NAME, "--survive", "jpeg:90")


def test_what_has_to_survive_and_where(on_device):
    both(
        on_device,
        "demo-ssd",
        "suppress:all",
        "jnd",
        max_iterations=2,
        robust_to="jpeg:60..90,resize:0.5+blur:1,noise:4",
    )
    both(on_device, "demo-ssd", "suppress:all", "jnd", max_iterations=2, within="box:0.5")


def test_a_universal_change_and_a_patch(device, tmp_path):
    options = ["--model", "demo-ssd", "--scenes", "4", "--device", NAME, "--quiet", "--passes", "1"]
    ended(main, "universal", *options, "--budget", "linf:8", "--out", str(tmp_path / "change"))
    ended(main, "universal", *options, "--patch", "16", "--on", "car", "--out", str(tmp_path / "patch"))


def test_several_models_a_defense_and_transfer(device, tmp_path):
    options = ["--scenes", "1", "--device", NAME, "--quiet", "--max-iterations", "2", "--goal", "suppress:all", "--out"]
    ended(main, "evaluate", "--through-models", "demo-ssd,demo-fcos", *options, str(tmp_path / "several"))
    ended(main, "evaluate", "--model", "demo-ssd", "--defense", "resize:0.5..1", *options, str(tmp_path / "defense"))
    ended(main, "verify", str(tmp_path / "several"), "--model", "demo", "--device", NAME)


def test_a_ranking(device, tmp_path):
    options = ["--scenes", "1", "--protocol", str(SHORT), "--device", NAME, "--quiet", "--out", str(tmp_path / "rank")]
    ended(main, "rank", "demo-ssd", *options)


@pytest.mark.parametrize("method", OF_EACH_CLASSIFIER_STEP)
def test_classifiers(device, method):
    """Three images at once, one of them attacked while another waits."""
    pictures = list(np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8))
    options = {} if method in UNBOUNDED else {"max_iterations": 4}
    on_cpu, there = (
        attack(pictures, load_classifier("vgg16_cifar10", device=where), method=method, batch=2, **options).outcomes
        for where in ("cpu", NAME)
    )
    assert [one.record.status for one in there] == [one.record.status for one in on_cpu]
    assert "error" not in {one.record.status for one in there}
    assert all(np.array_equal(one.pixels, two.pixels) for one, two in zip(there, on_cpu, strict=True))


def test_models_check(device):
    ended(main, "models", "check", "demo-ssd", "--device", NAME)


def ended(command, *arguments: str) -> None:
    """Run the command line; it has to end well."""
    with pytest.raises(SystemExit) as end:
        command(list(arguments))
    assert not end.value.code
