"""`benchmarks/quality.py`: its rows for each method, and those it adds when it is called again."""

import csv
import json
from pathlib import Path

import pytest

from tests.coco_squares import write_data
from tests.scripts import benchmark_script
from tests.toy_pictures import write_left

ROOT = Path(__file__).parents[1]
TOY, LINEAR = (ROOT / "tests" / name for name in ("toy_detector.py", "linear_classifier.py"))


@pytest.fixture(scope="module")
def main():
    """The script's `main`, in this process."""
    with benchmark_script("quality") as module:
        yield module.main


@pytest.fixture
def benchmark(main, tmp_path, monkeypatch):
    """Runs the script with the folder `out`, and gives the rows of one of its tables."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, table="minimal.csv"):
        main([*map(str, arguments), "--out", "out"])
        return list(csv.DictReader((tmp_path / "out" / table).read_text().splitlines()))

    return call


def test_a_detector_and_the_same_clean_up_for_all(benchmark, tmp_path):
    data = write_data(tmp_path, 3)[1]
    asked = ("toy", "--model", f"{TOY}:Toy", "--goal", "suppress:all", "--images", Path(data) / "0", "--limit", 1)
    methods = ("--methods", "jnd-min-76,pgd-linf,ddn-200")
    rows = benchmark(*asked, *methods)
    assert [row["method"] for row in rows] == ["jnd-min-76", "pgd-linf", "ddn-200"]
    assert all(row["success"] == "True" for row in rows)
    assert [row["backwards"] for row in rows] == ["77", rows[1]["backwards"], "200"]
    least = min(rows, key=lambda row: float(row["l2"]))
    assert least["method"] == "jnd-min-76"
    for row in rows:
        assert float(least["cleaned"]) - 1e-6 <= float(row["cleaned"]) <= float(row["l2"]) + 1e-6
    assert float(rows[1]["cleaned"]) < 0.9 * float(rows[1]["l2"])  # signs leave much to take back
    summary = {row["method"]: row for row in benchmark(table="summary.csv")}
    assert float(summary["jnd-min-76"]["ratio"]) == 1
    assert float(summary["ddn-200"]["ratio"]) == pytest.approx(float(rows[2]["l2"]) / float(rows[0]["l2"]))


@pytest.fixture
def pictures(tmp_path):
    return write_left(tmp_path / "pictures", 2)


def test_a_batch_finds_what_its_images_find_alone(benchmark, pictures):
    asked = ("--model", f"{LINEAR}:factory", "--images", pictures, "--methods", "jnd,fmn-200,deepfool")
    alone = benchmark("alone", *asked)
    together = benchmark("together", *asked, "--batch", 2)[len(alone) :]
    assert len(alone) == len(together) == 6
    found = [{(r["method"], r["image"]): r["l2"] for r in rows} for rows in (alone, together)]
    assert found[0] == found[1]


def test_a_classifier_is_added_to_and_summed_up(benchmark, pictures, tmp_path):
    asked = ("line", "--model", f"{LINEAR}:factory", "--images", pictures, "--methods", "jnd-min-76,deepfool")
    first = benchmark(*asked, "--limit", 1)
    assert len(first) == 2
    second = benchmark(*asked, "--limit", 2)
    assert second[:2] == first
    assert len(second) == 4
    assert benchmark(*asked, "--limit", 2) == second
    summary = benchmark(table="summary.csv")
    assert [(row["method"], row["images"], row["success"]) for row in summary] == [
        ("jnd-min-76", "2", "2"),
        ("deepfool", "2", "2"),
    ]
    assert (tmp_path / "out" / "minimal.png").stat().st_size > 5000
    assert json.loads((tmp_path / "out" / "environment.json").read_text())["versions"]["torch"]
