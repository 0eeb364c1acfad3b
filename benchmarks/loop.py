"""What an iteration takes beside the network: processor time of the loop with an objective that costs next to nothing.

    OMP_NUM_THREADS=1 python benchmarks/loop.py [METHOD ...] [--size 640x480]

The objective is the scalar product of an image with fixed random weights, whose own pass forward and backward is
printed first and taken off. The median of the iterations is told, in milliseconds.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor

from detattack.core.types import Evaluation
from detattack.engine import PRESETS, run

METHODS = ("jnd", "jnd-paper", "jnd-min", "fgsm", "pgd-linf", "pgd-l2", "ddn", "fmn", "cw")
ITERATIONS = 20


class Product:
    """⟨w, x⟩, which never succeeds. Notes when it is called."""

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights
        self.called: list[float] = []

    def __call__(self, images: Tensor, index: Tensor) -> Evaluation:
        """Evaluate `[n,3,H,W]`."""
        self.called.append(time.process_time())
        loss = (images * self.weights).flatten(1).sum(1)
        return Evaluation(loss, torch.zeros(len(images), dtype=torch.bool), loss.detach())

    def confirm(self, image: Tensor, index: int) -> bool:
        """Is never asked."""
        return False


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print. arguments: None: those of the process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("methods", nargs="*", default=METHODS)
    parser.add_argument("--size", default="640x480")
    given = parser.parse_args(arguments)
    width, height = map(int, given.size.split("x"))
    random = torch.Generator().manual_seed(0)
    images = (torch.rand(1, 3, height, width, generator=random) * 255).round() / 255
    objective = Product(torch.randn(1, 3, height, width, generator=random))
    alone = median(_timed(lambda: _pass(objective, images)) for _ in range(ITERATIONS))
    print(f"the objective itself: {1000 * alone:.1f} ms")
    for name in given.methods:
        attack = replace(PRESETS.find(name), max_iterations=ITERATIONS, refine=0, undo=0)
        objective.called.clear()
        run(attack, images, objective)
        laps = [after - before for before, after in pairwise(objective.called)]
        print(f"{name:10} {1000 * (median(laps) - alone):5.1f} ms")


def _pass(objective: Product, images: Tensor) -> None:
    seen = images.clone().requires_grad_()
    torch.autograd.grad(objective(seen, torch.tensor([0])).loss.sum(), seen)


def _timed(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
