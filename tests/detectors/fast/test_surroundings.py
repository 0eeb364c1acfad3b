"""An attack is that of the model as it is now, whatever the caller has switched on: compared byte for byte."""

from contextlib import contextmanager, nullcontext
from dataclasses import replace

import pytest
import torch
from torch import nn

from classify.methods import METHODS
from classify.models.network import NetworkClassifier, Preprocessing
from classify.record import ClassificationRecord
from classify.task import CLASSIFICATION
from detattack.api import attack, load_detector
from detattack.core.precision import fixed_numerics
from detattack.datasets.base import Picture
from detattack.datasets.scenes import render, scene_seed
from detattack.tasks.attack_batch import attack_batch

CROP = slice(64, 256), slice(120, 376)


@pytest.fixture(scope="module")
def scene():
    return render(scene_seed(0, 8)).image[CROP].copy()


def attacked(image, detector):
    outcome = attack(image, detector, goal="suppress:car", method="jnd", max_iterations=2, refine=0)
    assert outcome.record.status in ("success", "failure")
    return outcome.png, outcome.record.trace


@pytest.fixture(scope="module")
def expected(scene):
    return attacked(scene, load_detector("demo", "cpu"))


def test_after_each_step_of_a_training_an_attack_is_that_of_a_fresh_copy(scene):
    detector = load_detector("demo", "cpu")
    network = detector.network
    seen = [attacked(scene, detector)]
    images = [torch.from_numpy(scene).permute(2, 0, 1).float() / 255]
    targets = [{"boxes": torch.tensor([[40.0, 60.0, 120.0, 110.0]]), "labels": torch.tensor([0])}]
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    for _ in range(2):
        network.train().requires_grad_(True)
        sum(network(images, targets).values()).backward()
        optimizer.step()
        optimizer.zero_grad()
        network.eval().requires_grad_(False)
        fresh = load_detector("demo", "cpu")
        fresh.network.load_state_dict(network.state_dict())
        seen.append(attacked(scene, detector))
        assert seen[-1] == attacked(scene, fresh)
        assert seen[-1] != seen[-2]


@contextmanager
def set_to(read, write, value):
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


def precision(switch, value):
    return set_to(lambda: switch.fp32_precision, lambda one: setattr(switch, "fp32_precision", one), value)


SURROUNDINGS = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "set_grad_enabled": lambda: torch.set_grad_enabled(False),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64": lambda: set_to(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "device": lambda: torch.device("meta"),
    "deterministic": lambda: set_to(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ),
    "matmul": lambda: set_to(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"),
    "ieee": lambda: precision(torch.backends, "ieee"),
    "bf16": lambda: precision(torch.backends.mkldnn.conv, "bf16"),
}


def surroundings(name):
    if name in ("ieee", "bf16") and not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this torch has no fp32_precision")
    return SURROUNDINGS[name]()


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_what_surrounds_a_call_changes_nothing(name, scene, expected):
    with surroundings(name):
        assert attacked(scene, load_detector("demo", "cpu")) == expected


def classified(image, classifier):
    attack = replace(METHODS["jnd-min"].attack, max_iterations=4)
    config = CLASSIFICATION.make_config(attack=attack, device="cpu", seed=1)
    record = ClassificationRecord(1, "image", "image", status="")
    (outcome,) = attack_batch(CLASSIFICATION, config, {}, None, classifier, [(record, Picture(image))])
    assert outcome.record.status in ("success", "failure")
    return outcome.png, outcome.record.trace


def small_classifier():
    torch.manual_seed(3)
    features = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()
    network = nn.Sequential(*features, nn.Linear(128, 3))
    place, prepared = torch.device("cpu"), Preprocessing(mean=(0.5, 0.4, 0.3))
    return NetworkClassifier("small", network, ("a", "b", "c"), place, prepared, smallest=8)


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_nor_does_it_for_a_classifier(name, scene):
    image, classifier = scene[:40, :48].copy(), small_classifier()
    expected = classified(image, small_classifier())
    with surroundings(name):
        assert classified(image, classifier) == expected


def test_a_classifier_is_attacked_as_it_is_now(scene):
    image, classifier, other = scene[:40, :48].copy(), small_classifier(), small_classifier()
    before = classified(image, classifier)
    for one in (classifier, other):
        one.network[5].weight.data.mul_(-3)
    assert classified(image, classifier) == classified(image, other) != before


def state():
    newer = (
        [torch.backends.mkldnn.conv, torch.backends.mkldnn.matmul] if hasattr(torch.backends, "fp32_precision") else []
    )
    return [
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        *(one.fp32_precision for one in newer),
    ]


@pytest.mark.parametrize("name", [None, *SURROUNDINGS])
def test_all_of_it_is_fixed_inside_and_put_back_afterwards(name):
    with surroundings(name) if name else nullcontext():
        before = state()
        for gradient in (True, False):
            with fixed_numerics(gradient):
                inside = state()
                assert inside[:7] == [gradient, False, False, torch.float32, torch.device("cpu"), False, "highest"]
                assert {"tf32", "bf16"}.isdisjoint(inside[7:])
        with pytest.raises(ZeroDivisionError), fixed_numerics():
            raise ZeroDivisionError
        assert state() == before
