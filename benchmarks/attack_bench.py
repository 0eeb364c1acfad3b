"""How near the minimum-norm attacks on classifiers come to the smallest L2, judged and counted by AttackBench.

    pip install 'attackbenchlib[attacks]'      # adversarial-library (adv-lib) on its own, as that package's page says
    python benchmarks/attack_bench.py --images data/cifar10/test --limit 300 --out runs/attackbench

AttackBench (Cinà et al., 2025) counts the passes of each image, forwards and backwards, ends an attack that has spent
its budget, and keeps the smallest of all images that the attack has shown to the model, in floats, and that the model
gets wrong. Ours enter as `run_attack` takes any, theirs by its registry, `LIBRARY/NAME` (what is not installed is left
out, and said). All have the same images, those that the model gets right, and as many iterations as the budget pays
for. Since AttackBench judges each image shown, ours do without confirmations: those would show it the same one again.

The envelope is the smallest L2 of each image over all runs of the same images in --out, those of --long passes
included; local optimality is AttackBench's: 1 that of the envelope. There is no L∞: no attack here minimizes it.

Prints a line a run and writes table.md: optimality, and in brackets the mean of the passes. Called again, also with
other --attacks or --budgets, the same command goes on.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from classify.datasets import only_right, open_labeled, resolve_labels
from classify.methods import METHODS
from classify.models.registry import load_classifier
from classify.objective import ClassificationObjective
from classify.types import ClassGoal, Classifier
from detattack.core.errors import InputError
from detattack.core.files import write_text_atomic
from detattack.datasets.image_io import to_tensor
from detattack.engine import run
from detattack.tasks.columns import Column
from detattack.workflows.compare import markdown_table

OURS = ("jnd-min", "ddn", "fmn", "cw")
THEIRS = (
    *(f"adv_lib/{name}" for name in ("ddn_NQ", "fmn", "alma", "pdgd")),
    *("foolbox/ddn", "original/deepfool", "original/superdeepfool"),
)
LONG = ("jnd-min", "fmn", "adv_lib/ddn_NQ")
"""The attacks that are also given --long passes."""
BUDGETS = "50,100,150,200,300,400"
Entered = Callable[..., Tensor]
"""An attack as AttackBench calls it, with `model`, `inputs` `[N,3,H,W]` and `labels` `[N]`."""


@dataclass(frozen=True)
class Result:
    """What one attack has found within a budget of passes: the smallest L2 of each image, infinite for none.

    passes: the mean of those it took.
    """

    model: str
    images: list[str]
    attack: str
    budget: int
    l2: list[float]
    passes: float


@dataclass(frozen=True, eq=False)
class Problem:
    """A model, and the images it gets right, by name, in batches of `[N,3,H,W]` and labels."""

    classifier: Classifier
    names: list[str]
    batches: DataLoader[tuple[Tensor, ...]]


class Network(nn.Module):
    """A classifier as AttackBench takes it: images in [0,1] to logits."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier.logits(images)


@dataclass(frozen=True, eq=False)
class Watched:
    """AttackBench's model, which counts passes and judges, as our attacks take a classifier."""

    network: nn.Module
    device: torch.device
    name: str = "AttackBench's model"

    def logits(self, images: Tensor) -> Tensor:
        return self.network(images)


class Judged(ClassificationObjective):
    """An objective whose successes AttackBench has judged when it was shown them."""

    def confirm(self, image: Tensor, index: int) -> bool:
        return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Attack and write the table as the command line says. arguments: None: those of the process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", default="vgg16_cifar10")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--limit", type=int, default=50, help="images that the model gets right")
    parser.add_argument("--batch", type=int, default=25, help="images of one size that are attacked together")
    parser.add_argument("--attacks", default=",".join((*OURS, *THEIRS)), help="names with commas between")
    parser.add_argument("--budgets", type=numbers, default=BUDGETS, help="passes, with commas between")
    parser.add_argument("--long", type=int, default=2000, help="passes of the attacks that make the envelope")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    asked = given.attacks.split(",")
    unknown = [name for name in asked if "/" not in name and name not in OURS]
    if unknown:
        parser.error(f"--attacks: {unknown[0]} is none of {', '.join(OURS)}, LIBRARY/NAME")
    if not find_spec("attackbench"):
        parser.error("AttackBench is not installed: pip install 'attackbenchlib[attacks]'")
    try:
        problem = problem_of(given)
    except InputError as error:
        parser.error(str(error))
    given.out.mkdir(parents=True, exist_ok=True)
    for name in installed(asked):
        for budget in [*given.budgets, *([given.long] if name in LONG else [])]:
            attack(problem, name, budget, given.out)
    rows = rows_of(results(problem, given.out), asked, given.budgets)
    table = markdown_table(rows, [Column(heading, heading) for heading in rows[0]])
    write_text_atomic(given.out / "table.md", table)
    print(table)


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def problem_of(given: argparse.Namespace) -> Problem:
    """Load the model and the images. Raises `InputError`."""
    classifier = load_classifier(given.model, "cpu")
    data = only_right(classifier, open_labeled(given.images, given.labels), limit=given.limit)
    labels = resolve_labels(data, classifier.classes)
    images = [to_tensor(sample.load().pixels) for sample in data.samples]
    if len({image.shape for image in images}) > 1:
        raise InputError(f"images {given.images}: they are of several sizes, AttackBench attacks those of one")
    pairs = TensorDataset(torch.stack(images), torch.tensor([labels[sample.id] for sample in data.samples]))
    return Problem(classifier, [sample.stem for sample in data.samples], DataLoader(pairs, given.batch))


def installed(names: Sequence[str]) -> list[str]:
    """Leave out the attacks of libraries that are not there, and say so."""
    import attackbench

    theirs = {f"{library}/{name}" for library, name in attackbench.list_attacks("l2")}
    for name in names:
        if "/" in name and name not in theirs:
            print(f"{name} is left out: AttackBench has none of that name in L2, or its library is not installed")
    return [name for name in names if "/" not in name or name in theirs]


def attack(problem: Problem, name: str, budget: int, out: Path) -> None:
    """Run an attack within a budget, unless it was run on these images before."""
    import attackbench

    if any((done.attack, done.budget) == (name, budget) for done in results(problem, out)):
        return
    entered = theirs_within(name, budget) if "/" in name else ours_within(name, budget)
    network, device = Network(problem.classifier), problem.classifier.device
    found = attackbench.run_attack(network, problem.batches, entered, "l2", device, query_budget=budget)
    if any(found["batch_failures"]):
        print(f"{name} {budget} is left out: it raises the error above")
        return
    passes = float(np.mean(np.add(found["num_forwards"], found["num_backwards"])))
    result = Result(problem.classifier.name, problem.names, name, budget, found["distances"]["l2"], passes)
    write_text_atomic(out / f"{name.replace('/', '-')}-{budget}.json", json.dumps(asdict(result)))
    print(name, budget, f"L2 {np.median(result.l2):.4f}, {passes:.0f} passes", flush=True)


def theirs_within(name: str, budget: int) -> Entered:
    """An attack of AttackBench's registry, at a forward and a backward pass a step where it has steps."""
    import attackbench

    library, attack_name = name.split("/")
    return attackbench.get_attack(library, attack_name, "l2", num_steps=budget // 2)


def ours_within(name: str, budget: int) -> Entered:
    """One of our attacks in floats, with as many iterations as a budget pays for: the last iterate is judged, too."""
    method = METHODS[name]
    sized = replace(method.attack, levels=None, max_iterations=(budget - 1) // 2)

    def entered(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        goals = [ClassGoal(label, label) for label in labels.tolist()]
        return run(sized, inputs, Judged(Watched(model, inputs.device), goals, method.loss)).images

    return entered


def results(problem: Problem, out: Path) -> list[Result]:
    """Read what was found for these images."""
    read = [Result(**json.loads(path.read_text())) for path in sorted(out.glob("*-*.json"))]
    return [one for one in read if (one.model, one.images) == (problem.classifier.name, problem.names)]


def rows_of(found: Sequence[Result], names: Sequence[str], budgets: Sequence[int]) -> list[dict[str, str]]:
    """Make a row an attack: its optimality within each budget, the best bold, and the passes it took."""
    import attackbench

    envelope = np.min([one.l2 for one in found], axis=0, initial=np.inf)
    rows = {name: {"attack": name} | dict.fromkeys(map(str, budgets), "-") for name in names}
    for budget in budgets:
        these = [one for one in found if one.budget == budget and one.attack in rows]
        scores = [attackbench.eval_optimality(one.l2, envelope, clean_acc=1.0) for one in these]
        for one, score in zip(these, scores, strict=True):
            mark = "**" if score == max(scores) else ""
            rows[one.attack][str(budget)] = f"{mark}{score:.4f}{mark} ({one.passes:.0f})"
    return list(rows.values())


if __name__ == "__main__":
    main()
