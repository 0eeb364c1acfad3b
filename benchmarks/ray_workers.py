"""Images a second of one process, of one of Ray's workers and of several, one thread each, over the same scenes; and
whether all of them left the same bytes.

    OMP_NUM_THREADS=1 python benchmarks/ray_workers.py [--scenes N] [--workers N ...] [--warm-up N] [--max-iterations N]

Workers have attacked the first scenes, and so are there, before the clock starts; the clock runs until the last image
is committed.
"""

import argparse
import json
import tempfile
import time
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch

from detattack.datasets.rendered import rendered_scenes
from detattack.detectors.registry import load_detector
from detattack.engine.config import resolve_attack
from detattack.runs.ray_workers import RayPool, Workers
from detattack.runs.runner import InProcess, execute
from detattack.tasks.detection.goals import parse_goal
from detattack.tasks.detection.record import DetectionRecord
from detattack.tasks.detection.task import DETECTION
from detattack.tasks.experiment import Experiment

GOAL = "suppress:car"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--warm-up", type=int, default=8)
    parser.add_argument("--max-iterations", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(1)
    attack = resolve_attack("jnd", max_iterations=given.max_iterations)
    config = DETECTION.make_config(goal=GOAL, attack=attack, seed=1, device="cpu", batch=1)
    run = Experiment(
        DETECTION, load_detector("demo", "cpu"), config, rendered_scenes(given.scenes, 1, parse_goal(GOAL).suits)
    )
    found: dict[str, Any] = {"scenes": given.scenes}
    with tempfile.TemporaryDirectory(dir=".") as parent:
        made = []
        for count in (None, *given.workers):
            out = Path(parent) / str(count)
            found["one process" if count is None else f"{count} workers"] = _measured(run, count, out, given.warm_up)
            made.append(_made(out))
    found["same_bytes"] = all(one == made[0] for one in made)
    print(json.dumps(found, indent=1))


def _measured(run: Experiment, count: int | None, out: Path, warm_up: int) -> dict[str, float]:
    workers = nullcontext(InProcess()) if count is None else RayPool(Workers(count=count), run.loader(), print)
    start = time.perf_counter()
    with workers as executor, closing(run.open_folder(out)) as folder:
        for _ in executor.attack(run, DetectionRecord, run.batches()[: warm_up * (count or 1)]):
            pass
        ready = time.perf_counter()
        execute(run, folder, lambda outcome, done, total: None, executor=executor)
        seconds = time.perf_counter() - ready
    return {"images_per_s": round(len(run.dataset.samples) / seconds, 3), "warm_up_s": round(ready - start, 1)}


def _made(folder: Path) -> dict[str, bytes]:
    """The files that a run made, but for what is of the clock."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}
    found |= {name: (folder / name).read_bytes() for name in ("clean.json", "adversarial.json", "annotations.json")}
    summary = json.loads((folder / "summary.json").read_text())
    return found | {"summary.json": json.dumps({**summary, "timing": None}).encode()}


if __name__ == "__main__":
    main()
