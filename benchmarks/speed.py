"""What an iteration takes here, and in other attack libraries, on the same models and images in one process.

    python benchmarks/speed.py [retinanet] [vgg16] --out DIR

Needs the libraries beside this package: pip install adversarial-robustness-toolbox foolbox torchattacks. Each way of
attacking runs a few and some more steps, in turns with all others; an iteration is the difference over the steps, so
that what an attack does once does not count. Medians over the repetitions. `bare` is one pass of the network forward,
with all its outputs, and one backward from the sum of its class logits: float32, contiguous, eager, parameters frozen.
A goal that moves a box needs the gradient of the boxes too, which is `bare, boxes too`; ratios are to `bare`.

bfloat16 is measured where the processor multiplies it. Writes speed.csv, speed.png and environment.json.
"""

import argparse
import copy
import csv
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from classify.methods import PRESETS as CLASSIFIER_PRESETS
from classify.models.fast import fast_classifier
from classify.models.network import NetworkClassifier
from classify.models.registry import load_classifier
from classify.objective import ClassificationObjective
from classify.types import ClassGoal
from detattack.core.precision import Precision
from detattack.detectors.fast import AcceleratedDetector
from detattack.detectors.registry import load_detector
from detattack.detectors.torchvision.base import maps_of
from detattack.engine import PRESETS, run
from detattack.tasks.detection.benchmark import scenes
from detattack.tasks.detection.goals import Inject, Target, parse_goal
from detattack.tasks.detection.objective import DetectionObjective

PACKAGES = ("torch", "torchvision", "adversarial-robustness-toolbox", "foolbox", "torchattacks", "numpy")
RADIUS, STEP = 8 / 255, 2 / 255
Way = Callable[[int], object]
"""Attacks with so many steps."""


@dataclass(frozen=True)
class Row:
    """An implementation on a model: seconds an iteration (median, least, most), and its ratio to bare."""

    model: str
    way: str
    iteration_s: float
    least_s: float
    most_s: float
    ratio: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}; default: all")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--repetitions", type=int, default=5)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows = [row for name in given.models or MODELS for row in measured(name, *MODELS[name](), given.repetitions)]
    with (given.out / "speed.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(vars(rows[0])))
        writer.writeheader()
        writer.writerows(vars(row) for row in rows)
    (given.out / "environment.json").write_text(json.dumps(environment(), indent=1) + "\n")
    plot(rows, given.out / "speed.png")


def measured(model: str, ways: Mapping[str, Way], few: int, more: int, repetitions: int) -> list[Row]:
    """All ways in turns; the first turn only warms up."""
    laps: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(1 + repetitions):
        for name, way in ways.items():
            short, long = (_seconds(way, steps) for steps in (few, more))
            if turn:
                laps[name].append((long - short) / (more - few))
    bare = median(laps["bare"])
    rows = [Row(model, name, median(ts), min(ts), max(ts), median(ts) / bare) for name, ts in laps.items()]
    for row in rows:
        print(f"{model:28} {row.way:32} {1000 * row.iteration_s:9.1f} ms  {row.ratio:.2f}", flush=True)
    return rows


def _seconds(way: Way, steps: int) -> float:
    start = time.perf_counter()
    way(steps)
    return time.perf_counter() - start


def _multiplies_bf16() -> bool:
    """Whether oneDNN has instructions of this processor for bfloat16; without them an iteration takes a minute."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def retinanet() -> tuple[dict[str, Way], int, int]:
    """torchvision's RetinaNet-R50-FPN with random weights on one picture of 640×640 pixels."""
    detector = load_detector("torchvision/retinanet_resnet50_fpn", "cpu", "none")
    images = scenes(1, 640, 640, detector.device)
    everything = Target(parse_goal("suppress:all"))
    place = (160.0, 160.0, 480.0, 480.0)
    car = Target(Inject("car", place), (2,), place)

    def ours(target: Target, precision: Precision = "fp32") -> Way:
        objective = DetectionObjective(AcceleratedDetector(detector, precision), [target], 0.05)
        attack = replace(PRESETS["jnd"], stop="budget", refine=0)
        return lambda steps: run(replace(attack, max_iterations=steps), images, objective)

    def bare(*outputs: str) -> Way:
        def passes(steps: int) -> None:
            network = detector.network
            for _ in range(steps):
                seen = images.clone().requires_grad_()
                batch, _ = network.transform(list(seen))
                found = network.head(list(maps_of(network.backbone, batch.tensors).values()))
                torch.autograd.grad(sum(found[output].sum() for output in outputs), seen)

        return passes

    ways = {
        "bare": bare("cls_logits"),
        "bare, boxes too": bare("cls_logits", "bbox_regression"),
        "detattack, suppress:all": ours(everything),
        "detattack, inject:car": ours(car),
        **({"detattack bf16, suppress:all": ours(everything, "bf16")} if _multiplies_bf16() else {}),
        "ART PGD": _art_on_detector(copy.deepcopy(detector.network).requires_grad_(True), images),
        "ART PGD, parameters frozen": _art_on_detector(detector.network, images),
    }
    return ways, 1, 2


def _art_on_detector(network: nn.Module, images: Tensor) -> Way:
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.object_detection import PyTorchObjectDetector

    estimator = PyTorchObjectDetector(
        network,
        input_shape=tuple(images.shape[1:]),
        clip_values=(0, 1),
        channels_first=True,
        attack_losses=("classification", "bbox_regression"),
        device_type="cpu",
    )
    boxes = np.array([[160, 160, 480, 480], [40, 300, 200, 420]], dtype=np.float32)
    labels = [{"boxes": boxes, "labels": np.array([3, 1]), "scores": np.ones(2, dtype=np.float32)}]

    def attack(steps: int) -> None:
        pgd = ProjectedGradientDescent(estimator, eps=RADIUS, eps_step=STEP, max_iter=steps, verbose=False)
        pgd.generate(images.numpy(), labels)
        network.eval()  # ART leaves it in training mode

    return attack


def vgg16() -> tuple[dict[str, Way], int, int]:
    """The embedded VGG16 on 64 pictures of 32×32 pixels, all by PGD within 8/255, away from their labels."""
    classifier = load_classifier("vgg16_cifar10", "cpu")
    images = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        labels = classifier.logits(images).argmax(1)
    goals = [ClassGoal(label, (label + 1) % 10) for label in labels.tolist()]

    def ours(method: str, precision: Precision = "fp32") -> Way:
        objective = ClassificationObjective(classifier, goals, "true", attacked=fast_classifier(classifier, precision))
        attack = replace(CLASSIFIER_PRESETS[method], stop="budget", refine=0)
        return lambda steps: run(replace(attack, max_iterations=steps), images, objective)

    def bare(steps: int) -> None:
        for _ in range(steps):
            seen = images.clone().requires_grad_()
            torch.autograd.grad(F.cross_entropy(classifier.logits(seen), labels, reduction="sum"), seen)

    ways = {
        "bare": bare,
        "detattack, pgd-linf": ours("pgd-linf"),
        "detattack, jnd": ours("jnd"),
        **({"detattack bf16, pgd-linf": ours("pgd-linf", "bf16")} if _multiplies_bf16() else {}),
        **_other_libraries(_Whole(classifier), images, labels),
    }
    return ways, 10, 30


class _Whole(nn.Module):
    """A classifier as other libraries take it: images in [0,1] to logits; parameters as a user has them."""

    def __init__(self, classifier: NetworkClassifier):
        super().__init__()
        self.preprocessing = classifier.preprocessing
        self.network = copy.deepcopy(classifier.network).requires_grad_(True)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.preprocessing(images))


def _other_libraries(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Way]:
    import foolbox
    import torchattacks
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    network.eval()
    estimator = PyTorchClassifier(
        network, nn.CrossEntropyLoss(), (3, 32, 32), 10, clip_values=(0, 1), device_type="cpu"
    )
    wrapped = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")

    def art(steps: int) -> None:
        pgd = ProjectedGradientDescent(
            estimator, eps=RADIUS, eps_step=STEP, max_iter=steps, batch_size=len(images), verbose=False
        )
        pgd.generate(images.numpy(), labels.numpy())

    def with_foolbox(steps: int) -> None:
        pgd = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=steps, random_start=False)
        pgd(wrapped, images, labels, epsilons=RADIUS)

    def with_torchattacks(steps: int) -> None:
        torchattacks.PGD(network, eps=RADIUS, alpha=STEP, steps=steps, random_start=False)(images, labels)

    return {"ART PGD": art, "foolbox LinfPGD": with_foolbox, "torchattacks PGD": with_torchattacks}


MODELS: dict[str, Callable[[], tuple[dict[str, Way], int, int]]] = {"retinanet": retinanet, "vgg16": vgg16}


def environment() -> dict[str, object]:
    """What the figures depend on."""
    return {
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "variables": {name: os.environ[name] for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY") if name in os.environ},
    }


def plot(rows: Sequence[Row], path: Path) -> None:
    """A bar for each way: its ratio to bare."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    models = list(dict.fromkeys(row.model for row in rows))
    figure, axes = plt.subplots(1, len(models), figsize=(6 * len(models), 3.5), squeeze=False, layout="constrained")
    for axis, model in zip(axes[0], models, strict=True):
        own = [row for row in rows if row.model == model][::-1]
        colors = ["tab:blue" if row.way.startswith("detattack") else "lightgray" for row in own]
        bars = axis.barh([row.way for row in own], [row.ratio for row in own], color=colors)
        axis.bar_label(bars, fmt="%.2f", padding=2)
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set(title=model, xlabel="time of an iteration / bare")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
