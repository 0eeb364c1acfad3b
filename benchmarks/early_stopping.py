"""What a run over a data set takes beside its iterations: wall time over Σ K_i times the time of an iteration.

    OMP_NUM_THREADS=1 python benchmarks/early_stopping.py [--model MODEL] [--images FOLDER | --scenes N]
        [--method METHOD] [--goal GOAL] [--batch N]

The run is that of `detattack evaluate`, from the clean image to the committed files. K_i is what the image needed, or
the limit where it failed. The time of an iteration is that of the loop on the first batch of the run's images and
goals, when it is told not to stop: the difference of many iterations and few, the least of three trials.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

from detattack.datasets.base import folder_dataset
from detattack.datasets.image_io import to_tensor
from detattack.datasets.rendered import rendered_scenes
from detattack.detectors.fast import AcceleratedDetector
from detattack.detectors.registry import load_detector
from detattack.engine import run as attack_images
from detattack.engine.config import resolve_attack
from detattack.runs.runner import execute
from detattack.tasks.detection.goals import parse_goal
from detattack.tasks.detection.objective import DetectionObjective
from detattack.tasks.detection.record import DetectionRecord, target_of
from detattack.tasks.detection.task import DETECTION
from detattack.tasks.experiment import Experiment

FEW, MORE = 3, 13


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--method", default="jnd-paper")
    parser.add_argument("--goal", default="inject:car@road")
    parser.add_argument("--batch", type=int, default=1)
    given = parser.parse_args()
    detector = load_detector(given.model, "auto")
    attack = resolve_attack(given.method)
    config = DETECTION.make_config(
        goal=given.goal, attack=attack, model=given.model, seed=1, device="auto", batch=given.batch
    )
    dataset = rendered_scenes(given.scenes, 1, parse_goal(given.goal).suits)
    if given.images:
        dataset = folder_dataset(given.images)
    run = Experiment(DETECTION, detector, config, dataset)
    with tempfile.TemporaryDirectory(dir=".") as parent, closing(run.open_folder(Path(parent) / "run")) as folder:
        AcceleratedDetector(detector)  # made once, whatever the number of images
        start = time.perf_counter()
        execute(run, folder, lambda outcome, done, total: None)
        wall_s = time.perf_counter() - start
        records = list(folder.iterate())
    attacked = [record for record in records if record.status in ("success", "failure")]
    iterations = sum(record.backwards for record in attacked)
    iteration_s = _iteration_s(run, attacked)
    found = {
        "attacked": len(attacked),
        "iterations": iterations,
        "forwards": sum(record.forwards for record in attacked),
        "iteration_s": iteration_s,
        "wall_s": wall_s,
        "ratio": wall_s / (iterations * iteration_s),
    }
    print(json.dumps({name: str(value) for name, value in vars(given).items()} | found, indent=1))


def _iteration_s(run: Experiment, records: Sequence[DetectionRecord]) -> float:
    """Of one image, in a batch of those that have the size of the first."""
    samples = {sample.id: sample for sample in run.dataset.samples}
    chosen = [record for record in records if (record.width, record.height) == (records[0].width, records[0].height)]
    chosen = chosen[: run.config.batch]
    images = torch.stack([to_tensor(samples[record.id].load().pixels) for record in chosen]).to(run.model.device)
    targets = [target_of(record, run.model) for record in chosen]
    objective = DetectionObjective(AcceleratedDetector(run.model), targets, run.config.score_threshold)

    def seconds(count: int) -> float:
        start = time.perf_counter()
        attack_images(replace(run.config.attack, max_iterations=count, stop="budget", refine=0), images, objective)
        return time.perf_counter() - start

    return min((seconds(MORE) - seconds(FEW)) / (MORE - FEW) for _ in range(3)) / len(chosen)


if __name__ == "__main__":
    main()
