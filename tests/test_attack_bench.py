"""`benchmarks/attack_bench.py`: a linear model, whose smallest changes are known, in AttackBench's own harness."""

import json
from pathlib import Path

import pytest

from detattack.datasets.image_io import read_image, to_tensor
from tests.linear_classifier import distance
from tests.scripts import benchmark_script
from tests.toy_pictures import write_left

pytest.importorskip("attackbench", reason="AttackBench is not installed (attackbenchlib)")

ROOT = Path(__file__).parents[1]
LINEAR = ROOT / "tests" / "linear_classifier.py"


@pytest.fixture(scope="module")
def script():
    """The script as a module."""
    with benchmark_script("attack_bench") as module:
        yield module


@pytest.fixture
def benchmark(script, tmp_path, capsys):
    """Runs the script on two pictures, and gives its results by attack and budget, and what it said."""
    pictures = write_left(tmp_path / "pictures", 2)
    out = tmp_path / "out"

    def call(*arguments):
        asked = ("--model", f"{LINEAR}:factory", "--images", pictures, "--limit", 2, "--long", 60, "--out", out)
        script.main([*map(str, asked), *arguments])
        results = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
        return {(one["attack"], one["budget"]): one for one in results}, capsys.readouterr().out

    return call


def test_ours_find_the_smallest_change_within_the_passes_that_attackbench_counts(benchmark, tmp_path):
    results, said = benchmark("--attacks", "jnd-min,ddn", "--budgets", "40")
    smallest = [
        float(distance(to_tensor(read_image(tmp_path / "pictures" / "left" / f"{i}.png").pixels))) for i in range(2)
    ]
    assert results["jnd-min", 40]["l2"] == pytest.approx(smallest, rel=0.01)
    assert results["jnd-min", 40]["passes"] == 39  # 19 iterations, and one more forward
    assert list(results) == [("ddn", 40), ("jnd-min", 40), ("jnd-min", 60)]
    table = (tmp_path / "out" / "table.md").read_text()
    assert table.startswith("| attack | 40 |")
    assert "| jnd-min | **" in table
    assert table in said


def test_called_again_it_goes_on_and_leaves_out_what_is_not_there(benchmark):
    first, _ = benchmark("--attacks", "ddn", "--budgets", "20")
    again, said = benchmark("--attacks", "ddn,nobody/nothing", "--budgets", "20,30")
    assert "nobody/nothing is left out" in said
    assert "ddn 30 L2" in said
    assert "ddn 20 L2" not in said
    assert again["ddn", 20] == first["ddn", 20]


def test_an_attack_that_fails_is_left_out(benchmark, script, monkeypatch):
    def failing(name, budget):
        def attack(model, inputs, labels):
            raise ValueError("no")

        return attack

    monkeypatch.setattr(script, "ours_within", failing)
    results, said = benchmark("--attacks", "ddn", "--budgets", "20")
    assert not results
    assert "ddn 20 is left out" in said


def test_the_optimality_of_detectors_is_attackbench_s(script):
    from attackbench import eval_optimality

    found, envelope = [0.0, 2.0, 2.5, float("inf")], [0.0, 1.0, 2.0, 4.0]
    with benchmark_script("optimality") as module:
        assert module.optimality(found, envelope) == pytest.approx(eval_optimality(found, envelope))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--attacks", "jnd"), "jnd is none of jnd-min, "),
        (("--budgets", "many"), "--budgets: invalid"),
        (("--limit", "9"), "2 images that linear gets right"),
    ],
)
def test_bad_input_gets_one_line(benchmark, capsys, wrong, said):
    with pytest.raises(SystemExit, match="2"):
        benchmark(*wrong)
    assert said in capsys.readouterr().err.splitlines()[-1]
