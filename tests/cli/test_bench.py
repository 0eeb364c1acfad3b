"""`detattack bench`: what it prints, and that it measures what it says."""

import pytest

from detattack.detectors.registry import load_detector
from detattack.tasks.detection import benchmark as speed


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(speed, "REPETITIONS", 1)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_bench_prints_one_object(cli, precision):
    said = cli("bench", "--size", "128x128", "--batch", 2, "--device", "cpu", "--precision", precision, "--json")
    assert said.status == 0, said.err
    found = said.json
    assert (found["model"], found["width"], found["height"], found["batch"]) == ("demo", 128, 128, 2)
    assert (found["device"], found["precision"]) == ("cpu", precision)
    assert found["ratio"] == found["ours_s"] / found["bare_s"] > 0
    assert found["iterations"] == 2 * speed.ITERATIONS
    assert found["backwards"] == 2 * found["iterations"]
    assert found["forwards"] >= found["backwards"] + 2 * 2  # the last iterates are judged too
    assert found["peak_bytes"] > 1e7
    assert found["threads"] >= 1


@pytest.mark.usefixtures("short")
def test_an_iteration_of_a_budget_is_measured_where_nothing_is_left_to_break(cli):
    said = cli("bench", "--size", "160x128", "--device", "cpu", "--goal", "degrade:all", "--json")
    assert said.status == 0, said.err
    assert said.json["goal"] == "degrade:all"
    assert said.json["backwards"] == said.json["iterations"] == 2 * speed.ITERATIONS
    assert said.json["ours_s"] > 0


@pytest.mark.usefixtures("short")
def test_bench_prints_a_table(cli):
    said = cli("bench", "--size", "160x128", "--device", "cpu")
    assert said.status == 0, said.err
    for word in ("demo", "160x128", "bare", "ours", "ratio", "forwards", "backwards", "peak memory"):
        assert word in said.out


def test_ours_are_the_times_between_iterations(monkeypatch):
    """By a clock that shows how many passes the model has made: bare is one, and so is an iteration."""
    detector, passes = load_detector("demo", "cpu"), []
    images = speed.scenes(1, 160, 128, detector.device)
    monkeypatch.setattr(speed, "REPETITIONS", 2)
    monkeypatch.setattr(speed.time, "perf_counter", lambda: float(len(passes)))
    for module in (detector.network.backbone, speed.AcceleratedDetector(detector)._copy.network.backbone):
        module.register_forward_hook(lambda *_: passes.append(None))
    measured = speed.measure_speed(detector, images)
    assert (measured.bare_s, measured.ours_s) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--size", "640"), ("--size '640'", "WIDTHxHEIGHT")),
        (("--size", "64x640"), ("--size '64x640'", "128")),
        (("--precision", "fp16"), ("--precision", "fp16", "bf16")),
        (("--model", "dema"), ("dema",)),
        (("--goal", "inject:car@center"), ("inject:car@center", "degrade")),
        (("--goal", "suppress:sphinx"), ("sphinx",)),
    ],
)
def test_bad_input(refused, arguments, words):
    refused("bench", *arguments, words=words)
