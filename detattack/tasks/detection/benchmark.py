"""How long an iteration of an attack takes here, against the least that plain PyTorch takes.

*Bare* is the model as it is loaded, in float32, contiguous and eager: one pass forward and one backward to the same
images, and nothing else. *Ours* is a whole iteration of the loop: passes, cost, decision, step and books.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor

from detattack.core.precision import Precision, fixed_numerics
from detattack.core.types import Evaluation
from detattack.datasets.image_io import to_tensor
from detattack.datasets.scenes import render, scene_seed
from detattack.detectors.base import Detector
from detattack.detectors.fast import AcceleratedDetector
from detattack.engine import Attack, Objective, run
from detattack.engine.budget import Budget
from detattack.tasks.detection.goals import Goal, Target, parse_goal
from detattack.tasks.detection.matching import as_boxes
from detattack.tasks.detection.objective import DetectionObjective

ITERATIONS = 4
"""Of the loop, for each time that bare is taken: the two are measured in turns."""
REPETITIONS = 7
"""After one that only warms up."""
ATTACK = Attack(
    "bench", "normalized", 0.15, l2_weight=0.05, range_weight=1, tv_weight=1, max_iterations=ITERATIONS, stop="budget"
)
"""`jnd`, which goes on when it has succeeded."""
SPENDING = Budget("linf", 2).spent_by(Attack("bench", "sign", 0.0, max_iterations=ITERATIONS))
"""An attack that spends a budget, for goals that are about objects."""
GOAL = parse_goal("suppress:all")
OBJECTS = 8
"""Of each image, at places drawn once, for goals that are about objects."""


@dataclass(frozen=True)
class Speed:
    """What was measured on a batch.

    bare_s, ours_s: medians in seconds of one pass forward and backward, and of one iteration. prepare_s: what it
    takes to make the model ready, once. iterations, forwards, backwards: of the loop, and by its own books the
    image-passes that they took. peak_bytes: memory, of ours on an accelerator, of the whole process on a CPU.
    """

    bare_s: float
    ours_s: float
    prepare_s: float
    iterations: int
    forwards: int
    backwards: int
    peak_bytes: int | None

    @property
    def ratio(self) -> float:
        """Ours over bare."""
        return self.ours_s / self.bare_s


def measure_speed(detector: Detector, images: Tensor, precision: Precision = "fp32", goal: Goal = GOAL) -> Speed:
    """Measure bare and ours in turns on images `[N,3,H,W]`."""

    def now() -> float:
        if detector.device.type == "cuda":
            torch.cuda.synchronize(detector.device)
        return time.perf_counter()

    started = now()
    fast = AcceleratedDetector(detector, precision)
    prepare_s = now() - started
    target = _target(goal, detector, images)
    threshold = detector.eval_threshold
    objective = _Timed(DetectionObjective(fast, [target] * len(images), threshold, worst=goal.of_objects), now)
    bare, ours, results = [], [], []
    for _ in range(1 + REPETITIONS):
        started = now()
        bare_pass(detector, images)
        bare.append(now() - started)
        _forget_peak(detector.device)
        with fixed_numerics(tf32=precision == "bf16"):
            results.append(run(SPENDING if goal.of_objects else ATTACK, images, objective))
        ours.append(objective.laps())
    return Speed(
        bare_s=median(bare[1:]),
        ours_s=median(lap for laps in ours[1:] for lap in laps),
        prepare_s=prepare_s,
        iterations=ITERATIONS * len(results),
        forwards=sum(int(result.forwards.sum()) for result in results),
        backwards=sum(int(result.backwards.sum()) for result in results),
        peak_bytes=_peak(detector.device),
    )


def _target(goal: Goal, detector: Detector, images: Tensor) -> Target:
    """Make a target of a goal without a box; its objects, if it has any, are at places drawn once."""
    labels = goal.labels(detector.categories)
    if not goal.of_objects:
        return Target(goal, labels)
    random = torch.Generator().manual_seed(0)
    corners = torch.rand((OBJECTS, 2, 2), generator=random).sort(1).values * torch.tensor(images.shape[:-3:-1])
    kinds = torch.randint(len(detector.categories), (OBJECTS,), generator=random)
    return Target(goal, labels, objects=as_boxes(corners.flatten(1)), object_labels=tuple(kinds.tolist()))


def scenes(count: int, width: int, height: int, device: torch.device) -> Tensor:
    """`[count,3,height,width]`: rendered scenes."""
    return torch.stack([to_tensor(render(scene_seed(0, i + 1), width, height).image) for i in range(count)]).to(device)


def bare_pass(detector: Detector, images: Tensor) -> Tensor:
    """Compute the gradient of the sum of all logits."""
    seen = images.clone().requires_grad_()
    with fixed_numerics():
        return torch.autograd.grad(detector.candidates(seen).logits.sum(), seen)[0]


class _Timed:
    """An objective that notes when it is asked: an iteration is from one time to the next."""

    def __init__(self, objective: Objective, now: Callable[[], float]) -> None:
        self._objective, self._now = objective, now
        self._asked: list[float] = []

    def __call__(self, images: Tensor, index: Tensor) -> Evaluation:
        self._asked.append(self._now())
        evaluation: Evaluation = self._objective(images, index)
        if evaluation.harm is None:
            return evaluation
        harm = evaluation.harm
        return evaluation._replace(harm=lambda: harm().clamp_max(0))  # wholly wrong, it would end the measuring

    def confirm(self, image: Tensor, index: int) -> bool:
        """Ask the objective."""
        return self._objective.confirm(image, index)

    def laps(self) -> list[float]:
        """List the iterations since the last time, in seconds."""
        asked, self._asked = self._asked, []
        return [end - start for start, end in pairwise(asked)]


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> int | None:
    """Bytes; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
