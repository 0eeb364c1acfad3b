"""How often the host waits for the device in an iteration, counted on a device that Python plays.

    python benchmarks/accelerator.py [--heads demo,demo-ssd] > waits.md

Every goal by `jnd` and every method by `suppress:all`, on every embedded head; see `tests/fake_accelerator.py`. Waits
are those of the second half of a run beyond those of its first half, and so without what a run costs once.
"""

import argparse
from itertools import chain, product

import numpy as np

from detattack.api import attack, load_detector, scene
from detattack.engine import PRESETS
from tests.fake_accelerator import DEVICE, LOG, fake_accelerator

GOALS = ("suppress:all", "inject:car@center", "mislabel:car->person", "degrade:all", "flood:60")
SPENDING = {"ensemble": {"budget": "linf:2"}}
UNBOUNDED = ("deepfool", "noise")
"""Methods that take no number of iterations."""
SHORT, LONG = 4, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", default="demo,demo-fcos,demo-ssd,demo-fasterrcnn,demo-detr")
    heads = parser.parse_args().heads.split(",")
    rows = list(chain(product(GOALS, ["jnd"]), product(GOALS[:1], [name for name in PRESETS if name != "jnd"])))
    print(f"| goal | method | {' | '.join(heads)} |\n|---|---|{'---|' * len(heads)}")
    with fake_accelerator():
        detectors = [load_detector(name, device=DEVICE) for name in heads]
        for one in detectors:  # what is made once for a model
            counted(one, GOALS[0], "jnd", max_iterations=1)
        for goal, method in rows:
            print(
                f"| `{goal}` | `{method}` | {' | '.join(waits(one, goal, method) for one in detectors)} |", flush=True
            )


def waits(detector: object, goal: str, method: str) -> str:
    """Waits an iteration, and copies to the device."""
    if method in UNBOUNDED:
        (count, copies), _ = counted(detector, goal, method)
        return f"{count} in all, {copies} copies"
    (fewer, few_copies), begun = counted(detector, goal, method, max_iterations=SHORT)
    (more, more_copies), ended = counted(detector, goal, method, max_iterations=LONG)
    passes = ended - begun
    return f"{(more - fewer) / passes:.3g}, {(more_copies - few_copies) / passes:.3g} copies" if passes else "-"


def counted(detector: object, goal: str, method: str, **options: object) -> tuple[tuple[int, int], int]:
    """Waits and copies of an attack, and its forward passes."""
    image = np.ascontiguousarray(scene(8).image[::2, ::2])
    LOG.clear()
    outcome = attack(image, detector, goal, method, **SPENDING.get(method, {}), **options)
    assert outcome.record.status != "error", outcome.record.reason
    return (sum(LOG.waits.values()), sum(LOG.copies.values())), outcome.record.forwards


if __name__ == "__main__":
    main()
