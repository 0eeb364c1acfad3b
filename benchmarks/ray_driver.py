"""How many results a second the process that writes the run folder can take in: workers that attack nothing, and
return at once what an attack of a picture would.

    python benchmarks/ray_driver.py [--images FOLDER] [--results N] [--batch N] [--workers N] [--goal-rate RATE]

Prints the results a second that are written by one process with and without workers between, the bytes of one through
Ray, and how many accelerators that attack RATE images a second each would saturate the driver.
"""

import argparse
import json
import pickle
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from detattack.datasets.base import Dataset, Picture, Sample, folder_dataset
from detattack.datasets.rendered import rendered_scenes
from detattack.runs.batching import Batch, plan
from detattack.runs.folder import RunFolder
from detattack.runs.manifest import make_manifest
from detattack.runs.ray_workers import RayPool, Workers
from detattack.runs.record import Outcome, packed, untouched
from detattack.runs.runner import Executor, InProcess, execute
from detattack.tasks.detection.record import DetectionRecord


@dataclass(frozen=True)
class Idle:
    """A run whose attack is done already: each image gets the one outcome."""

    dataset: Dataset
    outcome: Outcome[DetectionRecord]
    batch: int
    all_measures: bool = False

    def batches(self) -> list[Batch]:
        return plan(self.dataset.samples, self.batch)

    def attack(self, pictures: list[tuple[DetectionRecord, Picture]]) -> list[Outcome[DetectionRecord]]:
        return returned(self.outcome, pictures)

    def job(
        self,
    ) -> Callable[[Outcome[DetectionRecord], list[tuple[DetectionRecord, Picture]]], list[Outcome[DetectionRecord]]]:
        return returned

    def loader(self) -> Callable[[], Outcome[DetectionRecord]]:
        return partial(replace, self.outcome)

    def write_figures(self, folder: Path, outcomes: Sequence[Outcome[DetectionRecord]]) -> None:
        pass

    def complete(self, folder: Any) -> None:
        pass


def returned(
    outcome: Outcome[DetectionRecord], pictures: list[tuple[DetectionRecord, Picture]]
) -> list[Outcome[DetectionRecord]]:
    """The outcome, as that of each picture: with bytes of its own, since what is shared is sent only once."""
    return [
        replace(
            outcome,
            record=replace(outcome.record, id=record.id, stem=record.stem),
            png=bytes(bytearray(outcome.png)),
            heatmap=bytes(bytearray(outcome.heatmap)),
        )
        for record, _ in pictures
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=Path, help="a folder, whose first image is what returns; else a scene")
    parser.add_argument("--results", type=int, default=300)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--goal-rate", type=float, default=5000 / 900, help="images a second of one accelerator")
    given = parser.parse_args()
    run = Idle(_data(given.results), _outcome(given.images), given.batch)
    record = run.outcome.record
    found: dict[str, Any] = {
        "image": f"{record.width}x{record.height}",
        "bytes_through_driver": len(pickle.dumps(run.outcome, protocol=5)),
        "bytes_written": len(run.outcome.png) + len(run.outcome.heatmap),
        "written_per_s_without_workers": _rate(run, InProcess()),
    }
    with RayPool(Workers(count=given.workers), run.loader(), print) as pool:
        next(pool.attack(run, DetectionRecord, run.batches()[:1]))  # starts the workers
        found["written_per_s_with_workers"] = _rate(run, pool)
        found["received_per_s"] = given.results / _seconds(
            lambda: list(pool.attack(run, DetectionRecord, run.batches()))
        )
    found["saturated_by"] = found["written_per_s_with_workers"] / given.goal_rate
    print(json.dumps(found, indent=1))


def _data(count: int) -> Dataset:
    load = partial(Picture, np.zeros((1, 1, 3), np.uint8))  # what a worker reads costs nothing
    return Dataset(tuple(Sample(i, f"image{i:06d}", "", (0, 0), load) for i in range(1, count + 1)), "none")


def _outcome(folder: Path | None) -> Outcome[DetectionRecord]:
    """A picture with every value changed by at most two levels, which compresses as an attacked one does."""
    dataset = folder_dataset(folder) if folder else rendered_scenes(1, 0)
    original = dataset.samples[0].load()
    noise = np.random.default_rng(0).integers(-2, 3, original.pixels.shape)
    changed = Picture((original.pixels + noise).clip(0, 255).astype(np.uint8))
    found = untouched(DetectionRecord(0, "", "", status="success"), changed)
    return packed(replace(found, original=original.pixels))


def _rate(run: Idle, executor: Executor) -> float:
    with tempfile.TemporaryDirectory(dir=".") as parent:
        folder = RunFolder.create(Path(parent) / "run", DetectionRecord, make_manifest({}, "", ""))
        return len(run.dataset.samples) / _seconds(lambda: execute(run, folder, _ignore, executor=executor))


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _ignore(outcome: Outcome[Any], done: int, total: int) -> None:
    pass


if __name__ == "__main__":
    main()
