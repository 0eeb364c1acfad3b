"""How small a change each attack finds, and in how many passes through the model, judged from the saved PNG.

    python benchmarks/quality.py SET --model SPEC --out DIR --goal suppress:all [--images DIR]     a detector
    python benchmarks/quality.py SET --model SPEC --out DIR --images DIR [--labels FILE]           a classifier
    python benchmarks/quality.py --out DIR                                                         the table and plot

SET names the rows. Without --images a detector is shown rendered scenes. Beside this package's attacks a classifier
meets those of foolbox, torchattacks and adversarial-robustness-toolbox, a detector the PGD of the latter on the loss
that all have, as far as they are installed. Whatever an attack returns is rounded to 8 bits and saved; a success is
one that the model's own inference confirms on the file. Then every success is given the same clean-up, and confirmed
again: `cleaned`.

Forwards and backwards count images, whatever the batch; other libraries are given one image at a time. Interrupted, or
called again with a larger --limit or other --methods, the same command goes on. Writes minimal.csv (a row an image),
summary.csv, minimal.png and environment.json.
"""

import argparse
import csv
import itertools
import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from classify.datasets import open_labeled, resolve_labels
from classify.methods import METHODS
from classify.models.registry import load_classifier
from classify.objective import ClassificationObjective
from classify.types import ClassGoal, Classifier
from detattack.datasets.base import Picture, folder_dataset
from detattack.datasets.image_io import decode_png, png_bytes, to_pixels, to_tensor
from detattack.datasets.rendered import rendered_scenes
from detattack.detectors.fast import AcceleratedDetector
from detattack.detectors.registry import load_detector
from detattack.engine import PRESETS, Attack, run, run_deepfool
from detattack.engine.refine import finish
from detattack.engine.state import AttackState, Objective
from detattack.metrics.image_quality import measure, quick_measures
from detattack.tasks.detection.goals import CleanImage, Target, parse_goal
from detattack.tasks.detection.objective import DetectionObjective

PACKAGES = ("torch", "torchvision", "foolbox", "torchattacks", "adversarial-robustness-toolbox", "numpy")
STEPS = 200
"""Of the iterative references; C&W's are 5 searches of 40."""
QUICK, HALF, EQUAL = PRESETS["jnd-min-quick"].max_iterations, PRESETS["jnd-min"].max_iterations, 190
"""Iterations of the walk: of `jnd-min-quick`, of `jnd-min`, which takes less than half of the passes of DDN of `STEPS`,
and as many as take about as many passes as that."""
OURS = ("jnd-paper", "jnd", "jnd-min", "ddn", "fmn", "cw", "deepfool", "pgd-l2", "pgd-linf")
CLEAN_UP = Attack("clean-up", "gd", 0, undo=8)
MEASURE = f"jnd-min-{HALF}"
"""What the others' changes are divided by, image for image."""
Found = tuple[Tensor, Sequence[int], Sequence[int]]
"""Images `[N,3,H,W]`, and the forwards and backwards that each took."""
Way = Callable[[Tensor], Found]


@dataclass(frozen=True)
class Row:
    """What one method has found for one image. l2, linf and cleaned, the L2 after the clean-up, on [0,1]."""

    set: str
    method: str
    image: str
    success: bool
    l2: float
    linf: float
    psnr: float
    cleaned: float
    forwards: int
    backwards: int


@dataclass(frozen=True, eq=False)
class Problem:
    """Images `[N,3,H,W]`, who judges them, and the ways of attacking them."""

    images: Sequence[str]
    originals: Tensor
    judge: Objective
    ways: dict[str, Way]


def main(arguments: Sequence[str] | None = None) -> None:
    """Attack, add up and draw as the command line says. arguments: None: those of the process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("set", nargs="?", metavar="SET")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--weights")
    parser.add_argument("--preprocess")
    parser.add_argument("--goal", help="of a detector; without it the model is a classifier")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--limit", type=int, default=20, help="images that are to be attacked at most")
    parser.add_argument("--methods", help="names with commas between; default: all")
    parser.add_argument("--batch", type=int, default=1, help="images of one size that are attacked together")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    if given.set:
        attack_all(given)
    rows = read_rows(given.out / "minimal.csv")
    summary = summarized(rows)
    write_table(given.out / "summary.csv", summary)
    (given.out / "environment.json").write_text(json.dumps(environment(), indent=1) + "\n")
    plot(summary, given.out / "minimal.png")


def attack_all(given: argparse.Namespace) -> None:
    """Adds a row for each method and image that has none yet."""
    path = given.out / "minimal.csv"
    done = {(row.set, row.method, row.image) for row in read_rows(path)}
    problems = detector_problems(given) if given.goal else classifier_problems(given)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        if not file.tell():
            writer.writeheader()
        for problem in problems:
            for name, way in problem.ways.items():
                missing = [i for i, image in enumerate(problem.images) if (given.set, name, image) not in done]
                if not missing:
                    continue
                found = way(problem.originals)
                for i in missing:
                    row = judged(given.set, name, problem, i, found)
                    writer.writerow(asdict(row))
                    print(*asdict(row).values(), flush=True)
                file.flush()


def judged(rows_of: str, method: str, problem: Problem, i: int, found: Found) -> Row:
    """What a file of the `i`th image found is worth."""
    original, image = problem.originals[i], saved(found[0][i])
    success = problem.judge.confirm(image, i)
    quality = measure(to_pixels(original), to_pixels(image), quick_measures()).as_json()
    values: dict[str, Any] = {
        k: float("inf") if quality[k] is None else float(quality[k]) for k in ("l2", "linf", "psnr")
    }
    cleaned = float((cleaned_up(problem, i, image) - original).norm()) if success else float("inf")
    passes = {"forwards": int(found[1][i]), "backwards": int(found[2][i])}
    return Row(rows_of, method, problem.images[i], success, **values, cleaned=cleaned, **passes)


def cleaned_up(problem: Problem, i: int, image: Tensor) -> Tensor:
    """A success `[3,H,W]` after the clean-up, as its file has it."""
    state = AttackState(problem.originals)
    state.keep(i, image, (image - problem.originals[i]).norm())
    shrunk = saved(finish(CLEAN_UP, problem.judge, state).images[i])
    if not problem.judge.confirm(shrunk, i):
        raise SystemExit(f"{problem.images[i]}: the clean-up's result does not stand as a file")
    return shrunk


def saved(image: Tensor) -> Tensor:
    """`[3,H,W]` as a reader of its PNG has it."""
    return to_tensor(decode_png(png_bytes(to_pixels(image))))


def ours(name: str, preset: Attack, objective: Any, deepfool: bool = False) -> dict[str, Way]:
    """One of this package's attacks, in the sizes that are compared."""
    sizes = {"jnd-min": (QUICK, HALF, EQUAL), "ddn": (STEPS,), "fmn": (STEPS,), "cw": (STEPS,)}

    def way(attack: Attack) -> Way:
        def attacked(originals: Tensor) -> Found:
            found = (run_deepfool if deepfool else run)(attack, originals, objective())
            return found.images, found.forwards.tolist(), found.backwards.tolist()

        return attacked

    if name not in sizes:
        return {name: way(preset)}
    return {f"{name}-{count}": way(replace(preset, max_iterations=count)) for count in sizes[name]}


def detector_problems(given: argparse.Namespace) -> Iterator[Problem]:
    """Images on which there is something to do."""
    detector, goal = load_detector(given.model, "cpu", given.weights), parse_goal(given.goal)
    fast = AcceleratedDetector(detector)
    data = folder_dataset(given.images) if given.images else rendered_scenes(5 * given.limit, 2, goal.suits)

    def attackable() -> Iterator[tuple[str, Tensor, Target]]:
        for stem, picture in pictures(data.samples):
            image = to_tensor(picture.pixels)
            height, width = image.shape[-2:]
            clean = detector.detect(image[None], min(detector.eval_threshold, 0.5))[0].above(0.5)
            target = goal.resolve(detector.categories, CleanImage(width, height, clean, (0,), picture.road))
            if goal.initial_status(target, clean) is None:
                yield stem, image, target

    for images, originals, targets in batches(itertools.islice(attackable(), given.limit), given.batch):
        nearest = DetectionObjective(fast, targets, 0.5, nearest=True)
        plain = DetectionObjective(fast, targets, 0.5)
        ways: dict[str, Way] = {}
        for name in OURS:
            objective = nearest if PRESETS[name].stop == "budget" else plain
            ways |= ours(name, PRESETS[name], lambda objective=objective: objective)
        if _installed("art"):
            whole = _CountedLoss(plain)
            ways["ART PGD"] = counted(whole, _art_on_detector(whole, originals[0]), range(len(originals)))
        yield Problem(images, originals, nearest, wanted(ways, given.methods))


def classifier_problems(given: argparse.Namespace) -> Iterator[Problem]:
    """Images that the model gets right."""
    classifier = load_classifier(given.model, "cpu", given.weights, given.preprocess)
    data = open_labeled(given.images, given.labels)
    labels = resolve_labels(data, classifier.classes)
    whole = _Counted(classifier)

    def attackable() -> Iterator[tuple[str, Tensor, ClassGoal]]:
        for (stem, picture), sample in zip(pictures(data.samples), data.samples, strict=True):
            image, label = to_tensor(picture.pixels), labels[sample.id]
            with torch.no_grad():
                ranked = classifier.logits(image[None])[0].argsort(descending=True).tolist()
            if label is not None and ranked[0] == label:
                yield stem, image, ClassGoal(label, ranked[1])

    for images, originals, goals in batches(itertools.islice(attackable(), given.limit), given.batch):
        ways: dict[str, Way] = {}
        for name in OURS:

            def objective(loss: Any = METHODS[name].loss, goals: list = goals) -> ClassificationObjective:
                return ClassificationObjective(classifier, goals, loss, classes=10)

            ways |= ours(name, METHODS[name].attack, objective, name == "deepfool")
        theirs = other_libraries(whole, originals[:1])
        ways |= {way: counted(whole, attack, [goal.label for goal in goals]) for way, attack in theirs.items()}
        judge = ClassificationObjective(classifier, goals, "margin")
        yield Problem(images, originals, judge, wanted(ways, given.methods))


def batches(problems: Iterator[tuple[str, Tensor, Any]], size: int) -> Iterator[tuple[list[str], Tensor, list[Any]]]:
    """Up to `size` neighbors whose images `[3,H,W]` are of one size, at a time."""
    for _, alike in itertools.groupby(problems, lambda problem: problem[1].shape):
        while some := list(itertools.islice(alike, size)):
            names, images, goals = zip(*some, strict=True)
            yield list(names), torch.stack(images), list(goals)


def pictures(samples: Sequence[Any]) -> Iterator[tuple[str, Picture]]:
    return ((sample.stem, sample.load()) for sample in samples)


def wanted(ways: dict[str, Way], methods: str | None) -> dict[str, Way]:
    names = methods.split(",") if methods else list(ways)
    for name in names:
        if name not in ways:
            raise SystemExit(f"--methods: {name} is none of {', '.join(ways)}")
    return {name: ways[name] for name in names}


class _Counted(nn.Module):
    """A classifier as other libraries take it: images in [0,1] to logits. Counts images forwards and backwards."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.anchor = nn.Parameter(torch.zeros(1))  # a library may look for parameters, to find the device
        self.forwards = self.backwards = 0

    def forward(self, images: Tensor) -> Tensor:
        self.forwards += len(images)
        logits = self.classifier.logits(images)
        if logits.requires_grad:
            logits.register_hook(self._backward)
        return logits

    def _backward(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


class _CountedLoss(nn.Module):
    """A detector as ART takes one: images and what they are to show, to the losses that are to rise. That of the goal
    is to fall, for the image at `index`."""

    def __init__(self, objective: DetectionObjective) -> None:
        super().__init__()
        self.objective = objective
        self.index = torch.zeros(1, dtype=torch.long)
        self.forwards = self.backwards = 0

    def forward(self, images: Tensor, shown: object) -> dict[str, Tensor]:
        self.forwards += len(images)
        loss = self.objective(images, self.index).loss.sum()
        loss.register_hook(self._backward)
        return {"loss": -loss}

    def _backward(self, gradient: Tensor) -> None:
        self.backwards += 1


def counted(whole: _Counted | _CountedLoss, attack: Callable[[Tensor, Tensor], Tensor], labels: Sequence[int]) -> Way:
    """Another library's attack on one image after the other, with its passes counted."""

    def way(originals: Tensor) -> Found:
        images, forwards, backwards = [], [], []
        for original, label in zip(originals, labels, strict=True):
            torch.manual_seed(0)
            whole.eval()
            whole.forwards = whole.backwards = 0
            images.append(attack(original[None].clone(), torch.tensor([label])).detach().float().clamp(0, 1))
            forwards.append(whole.forwards)
            backwards.append(whole.backwards)
        return torch.cat(images), forwards, backwards

    return way


def other_libraries(whole: _Counted, image: Tensor) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Those that are installed, each with its own defaults beside the number of steps."""
    found: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
    for name, library in {"foolbox": _foolbox, "torchattacks": _torchattacks, "art": _art}.items():
        if _installed(name):
            found |= library(whole, image)
    return found


def _installed(name: str) -> bool:
    if find_spec(name):
        return True
    _say_once(f"{name} is not installed, its attacks are left out")
    return False


def _foolbox(whole: _Counted, image: Tensor) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    from foolbox import PyTorchModel, attacks

    model = PyTorchModel(whole.eval(), bounds=(0, 1), device="cpu")
    made = {
        f"foolbox DDN-{STEPS}": attacks.DDNAttack(steps=STEPS),
        f"foolbox FMN-{STEPS}": attacks.L2FMNAttack(steps=STEPS),
        f"foolbox C&W-{STEPS}": attacks.L2CarliniWagnerAttack(binary_search_steps=5, steps=STEPS // 5),
        "foolbox DeepFool": attacks.L2DeepFoolAttack(candidates=10),
        "foolbox PGD": attacks.LinfPGD(abs_stepsize=2 / 255, steps=40, random_start=False),
    }
    return {
        name: lambda x, y, attack=attack, name=name: attack(model, x, y, epsilons=8 / 255 if "PGD" in name else None)[0]
        for name, attack in made.items()
    }


def _torchattacks(whole: _Counted, image: Tensor) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    import torchattacks

    return {
        f"torchattacks C&W-{STEPS}": torchattacks.CW(whole, steps=STEPS),
        "torchattacks DeepFool": torchattacks.DeepFool(whole),
        "torchattacks PGD": torchattacks.PGD(whole, steps=40, random_start=False),
    }


def _art(whole: _Counted, image: Tensor) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

    classes = len(whole.classifier.classes)
    estimator = PyTorchClassifier(
        whole, nn.CrossEntropyLoss(), tuple(image.shape[1:]), classes, clip_values=(0, 1), device_type="cpu"
    )
    made = {
        f"ART C&W-{STEPS}": evasion.CarliniL2Method(
            estimator, binary_search_steps=5, max_iter=STEPS // 5, verbose=False
        ),
        "ART DeepFool": evasion.DeepFool(estimator, nb_grads=10, verbose=False),
        "ART PGD": evasion.ProjectedGradientDescent(
            estimator, eps=8 / 255, eps_step=2 / 255, max_iter=40, verbose=False
        ),
    }
    return {
        name: lambda x, y, attack=attack: torch.from_numpy(attack.generate(x.numpy(), y.numpy()))
        for name, attack in made.items()
    }


def _art_on_detector(whole: _CountedLoss, image: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.object_detection import PyTorchObjectDetector

    estimator = PyTorchObjectDetector(
        whole, tuple(image.shape), clip_values=(0, 1), attack_losses=("loss",), device_type="cpu"
    )
    pgd = ProjectedGradientDescent(estimator, eps=8 / 255, eps_step=2 / 255, max_iter=40, verbose=False)
    shown = [
        {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64), "scores": np.zeros(0, np.float32)}
    ]

    def attack(image: Tensor, index: Tensor) -> Tensor:
        whole.index = index
        return torch.from_numpy(pgd.generate(image.numpy(), shown))

    return attack


_said: set[str] = set()


def _say_once(line: str) -> None:
    if line not in _said:
        print(line, flush=True)
        _said.add(line)


def read_rows(path: Path) -> list[Row]:
    if not path.exists():
        return []
    kinds = {"success": lambda text: text == "True", "forwards": int, "backwards": int}
    kinds |= dict.fromkeys(("l2", "linf", "psnr", "cleaned"), float)
    with path.open(newline="") as file:
        return [
            Row(**{name: kinds.get(name, str)(value) for name, value in row.items()}) for row in csv.DictReader(file)
        ]


def summarized(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A row for each set and method: medians of what the successes have changed, and of the passes of all. ratio: of
    its L2 to that of `MEASURE` on the same image, median; methods may have attacked different numbers of images."""
    found = []
    measures = {(row.set, row.image): row.l2 for row in rows if row.method == MEASURE and row.success}
    for rows_of, method in dict.fromkeys((row.set, row.method) for row in rows):
        done = [row for row in rows if (row.set, row.method) == (rows_of, method)]
        good = [row for row in done if row.success]
        changes = {k: _median([getattr(row, k) for row in good]) for k in ("l2", "linf", "psnr", "cleaned")}
        measured = [(row.l2, measures[rows_of, row.image]) for row in good if (rows_of, row.image) in measures]
        changes["ratio"] = _median([l2 / measure for l2, measure in measured])
        passes = {k: _median([getattr(row, k) for row in done]) for k in ("forwards", "backwards")}
        calls = {"calls": _median([row.forwards + row.backwards for row in done])}
        counts = {"set": rows_of, "method": method, "images": len(done), "success": len(good)}
        found.append(counts | changes | passes | calls)
    return found


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def environment() -> dict[str, object]:
    """What the figures depend on."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "variables": {name: os.environ[name] for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY") if name in os.environ},
    }


def plot(summary: Sequence[dict[str, Any]], path: Path) -> None:
    """L2 in multiples of that of `MEASURE` on the same image against passes, medians; a dot a method, numbered by its
    passes, hollow where fewer than 95% of the files succeed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    sets = list(dict.fromkeys(row["set"] for row in summary if row["ratio"]))
    if not sets:
        return
    columns = min(2, len(sets))
    lines = -(-len(sets) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(6 * columns, 4.2 * lines), squeeze=False, layout="constrained")
    for axis, rows_of in itertools.zip_longest(axes.flat, sets):
        if rows_of is None:
            axis.axis("off")
            continue
        own = [row for row in summary if row["set"] == rows_of and row["ratio"]]
        for number, row in enumerate(sorted(own, key=lambda row: row["calls"]), 1):
            place, name = (row["calls"], row["ratio"]), f"{number}  {row['method']}"
            color = "tab:red" if row["method"].startswith("jnd") else "tab:gray" if " " in row["method"] else "tab:blue"
            all_succeed = row["success"] >= 0.95 * row["images"]
            axis.plot(*place, "o", color=color, fillstyle="full" if all_succeed else "none", label=name)
            beside = (-3 + 9 * (number % 2), 5 if number % 3 else -11)  # so that near dots can be told apart
            axis.annotate(str(number), place, beside, textcoords="offset points", fontsize=7)
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=7, frameon=False, handletextpad=0.2)
        axis.axhline(1, color="tab:red", linewidth=0.5)
        axis.set(xscale="log", yscale="log", xlabel="passes through the model", ylabel=f"L2 / L2 of {MEASURE}")
        axis.xaxis.set_minor_formatter("")  # a panel of less than two decades would have too many labels
        images = max(row["images"] for row in summary if row["set"] == rows_of)
        axis.set_title(f"{rows_of} ({images} images)")
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
