"""Rank: the protocol carried out on models, an entry for each, and the leaderboard of all entries in a folder.

A model's runs are in `OUT/MODEL`, each a run folder as any: verified, reported and resumed like one. A model that is
added later changes nothing of the others'.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from detattack import __version__
from detattack.core.errors import InputError
from detattack.core.files import write_text_atomic
from detattack.core.wording import counted
from detattack.datasets.base import Dataset
from detattack.datasets.coco import category_ids
from detattack.datasets.image_io import read_image, to_tensor
from detattack.datasets.source import DatasetSource
from detattack.detectors.base import Detector
from detattack.engine import Attack
from detattack.engine.budget import Budget, parse_budgets
from detattack.ranking.board import Board, Transferred, make_board
from detattack.ranking.classes import counted_classes, counted_objects, lacking
from detattack.ranking.diagnoses import withstood
from detattack.ranking.entry import ENTRY, Entry, make_entry
from detattack.ranking.failing import one_image
from detattack.ranking.identity import Identity, check_begun, check_out, spec_without_path
from detattack.ranking.phases import Phases, records_of
from detattack.ranking.probe import Probe, probe
from detattack.ranking.protocol import CLASS, Protocol
from detattack.runs.runner import Executor
from detattack.tasks.detection.task import DETECTION
from detattack.tasks.experiment import Experiment
from detattack.workflows.budgets import spend_budgets
from detattack.workflows.compare import Reporting
from detattack.workflows.evaluate import Settings, carried_out, make_experiment
from detattack.workflows.leaderboard import classes_apart, write_leaderboard
from detattack.workflows.report import write_report

TRANSFERRED = "transferred.json"
FEW = 20
"""Images with objects below which intervals are wide, which is said."""
DetectionExperiment = Experiment[Any, Any, Any]
Executors = Callable[[DetectionExperiment], AbstractContextManager[Executor | None]]
"""Starts who attacks, for the runs of one model."""


@dataclass(frozen=True)
class Ranked:
    """A model to be ranked.

    - model: its name
    - weights, categories: as options name them
    - loaded: the model itself, in memory; None: it is loaded by its name
    """

    model: str
    weights: str | None = None
    categories: str | None = None
    loaded: Detector | None = field(default=None, compare=False)


@dataclass(frozen=True, eq=False)
class Ranking:
    """What ranks models: the protocol, the images, and who is told.

    - reports: whether the pages of the runs that a model's page leads to are written, too
    """

    protocol: Protocol
    source: DatasetSource | Dataset
    seed: int = 0
    device: str = "auto"
    batch: int | None = 1
    progress: Reporting | None = None
    executors: Executors = lambda experiment: nullcontext()
    reports: bool = False


def rank(
    models: Sequence[Ranked], ranking: Ranking, out: Path, say: Callable[[str], None] = lambda text: None
) -> Board:
    """Measure models that have no entry yet, finish those that were interrupted, and write the leaderboard of all.

    Raises `InputError` for a folder of another protocol, data or version or of other things, models without an
    annotated class in common, and one named twice.
    """
    check_models(models)
    check_out(out)
    experiments: dict[str, DetectionExperiment] = {}
    for one in models:
        experiment = first_experiment(one, ranking)
        folder = folder_of(experiment)
        if folder in experiments:
            raise InputError(f"rank: {one.model} and another model are both called {folder!r}")
        experiments[folder] = experiment
    for folder, experiment in experiments.items():
        check_begun(out, folder, identity_of(experiment, ranking))
    shared = shared_classes(experiments, read_entries(out), say)
    few = count_with_objects(next(iter(experiments.values())).dataset)
    if few < FEW:
        say(f"NOTE: {counted(few, 'image')} with objects: intervals will be wide")
    for folder, experiment in experiments.items():
        phases = Phases(out / folder, ranking.protocol)
        if not (phases.path / ENTRY).is_file():
            measure(experiment, phases, ranking, shared, say)
    entries = read_entries(out)
    transferred = transfer_all(experiments, entries, out, ranking.protocol, say)
    board = make_board(entries, transferred, ranking.protocol, out, ranking.seed)
    if ranking.reports:
        write_reports(entries, out, ranking.protocol)
    write_leaderboard(board, out)
    return board


def check_models(models: Sequence[Ranked]) -> None:
    """Raise `InputError` for no model, and for one that is named twice."""
    if not models:
        raise InputError("rank: no model is named")
    doubled = next((one.model for one, count in Counter(models).items() if count > 1), None)
    if doubled:
        raise InputError(f"rank: model {doubled!r} is named twice")


def folder_of(experiment: DetectionExperiment) -> str:
    """Name the folder of a model: its name, and that of its file of weights; letters of any alphabet stay."""
    weights = experiment.config.weights
    name = f"{experiment.model.name}-{Path(weights).stem}" if weights else experiment.model.name
    return re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name)).strip("._") or "model"


def first_experiment(one: Ranked, ranking: Ranking) -> DetectionExperiment:
    """Load a model and the images, for the first walk. Raises `InputError`."""
    walk = ranking.protocol.walks[ranking.protocol.first_walk]
    values = {
        "model": one.model,
        "weights": one.weights,
        "categories": one.categories,
        "goal": walk.goal,
        "seed": ranking.seed,
        "device": ranking.device,
        "score_threshold": ranking.protocol.score_threshold,
    }
    attack = Settings().attack(DETECTION, "square")  # which asks for nothing but answers: each run has its own
    experiment = make_experiment(DETECTION, values, attack, ranking.source, ranking.batch, model=one.loaded)
    if not experiment.dataset.annotations:
        raise InputError("rank: the images have no annotated objects; --annotations names a COCO file")
    return experiment


def shared_classes(
    experiments: Mapping[str, DetectionExperiment], entries: Sequence[Entry], say: Callable[[str], None]
) -> set[str]:
    """Return the classes that all models to be ranked are measured on, and say where they are measured on others, too.

    Raises `InputError` where these and those that have entries share none.
    """
    classes = {folder: counted_classes(one.model.categories, one.dataset) for folder, one in experiments.items()}
    everyones = {entry.folder: entry.classes for entry in entries} | classes
    if not set.intersection(*map(set, everyones.values())):
        names = ", ".join(everyones)
        raise InputError(f"rank: no annotated object, crowds aside, is of a class that all models know ({names})")
    for line in classes_apart(lacking(everyones)):
        say(f"NOTE: {line}")
    return set.intersection(*map(set, classes.values()))


def count_with_objects(dataset: Dataset) -> int:
    """Count the images that have an annotated object."""
    return len({one["image_id"] for one in dataset.annotations if not one.get("iscrowd")})


def data_of(experiment: DetectionExperiment, ranking: Ranking) -> dict[str, Any]:
    """Identify the images and the seed of all that is random."""
    dataset = experiment.dataset
    return {"fingerprint": dataset.fingerprint, "images": len(dataset.samples), "seed": ranking.seed}


def identity_of(experiment: DetectionExperiment, ranking: Ranking) -> Identity:
    """Tell what the folder of a model is begun with."""
    return Identity(
        protocol=ranking.protocol.as_json,
        data=data_of(experiment, ranking),
        version=__version__,
        weights=DETECTION.fingerprint(experiment.model),
        spec=spec_without_path(experiment.config.model),
        threshold=experiment.model.eval_threshold,
    )


def measure(
    experiment: DetectionExperiment,
    phases: Phases,
    ranking: Ranking,
    shared: Collection[str],
    say: Callable[[str], None] = lambda text: None,
) -> Entry:
    """Carry out the protocol on one model, or what is left of it, and write its entry.

    shared: the classes of which the most annotated one is what `CLASS` stands for
    """
    identity_of(experiment, ranking).write(phases.path)
    seen = probed(experiment, phases)
    with ranking.executors(experiment) as executor:
        carry_out = _Carried(phases, ranking, executor)
        if seen.is_useless(phases.protocol.diagnoses):
            say(f"NOTE: {experiment.model.name}: its gradients lead nowhere; only random search is tried")
            first = [sample.id for sample in experiment.dataset.samples[: phases.protocol.diagnoses.images]]
            carry_out.search(experiment, set(first))
        else:
            carry_out.walks(experiment, most_annotated(experiment, shared))
            carry_out.budgets(experiment)
            carry_out.search(experiment, withstood(phases))
    config = experiment.config
    model = {
        "spec": config.model,
        "name": experiment.model.name,
        "weights": config.weights,
        "categories": config.categories,
        "fingerprint": DETECTION.fingerprint(experiment.model),
        "threshold": experiment.model.eval_threshold,
    }
    dataset, categories = experiment.dataset, experiment.model.categories
    entry = make_entry(phases, seen, model, data_of(experiment, ranking), categories, dataset)
    entry.write(phases.path)
    return entry


def probed(experiment: DetectionExperiment, phases: Phases) -> Probe:
    """Look at a model before it is attacked, or read what was seen before."""
    if phases.probe.is_file():
        return Probe(**json.loads(phases.probe.read_text(encoding="utf-8")))
    limits = phases.protocol.diagnoses
    if getattr(experiment.model, "has_gradient", True):
        seen = probe(_spending(experiment, phases.protocol), limits)
    else:
        looked_at = min(limits.images, len(experiment.dataset.samples))
        seen = Probe(images=looked_at, without=looked_at)
    write_text_atomic(phases.probe, json.dumps(seen.as_json()) + "\n")
    return seen


@dataclass(frozen=True, eq=False)
class _Carried:
    """The runs of one model."""

    phases: Phases
    ranking: Ranking
    executor: Executor | None

    def walks(self, experiment: DetectionExperiment, injected: str) -> None:
        """Look for the smallest changes. injected: the class that `CLASS` stands for."""
        protocol = self.phases.protocol
        for name, walk in protocol.walks.items():
            goal = walk.goal.replace(CLASS, injected)
            floor = max(experiment.model.eval_threshold, protocol.floor)
            threshold = floor if walk.at_floor else protocol.score_threshold
            for method, iterations in walk.methods.items():
                attack = Settings(max_iterations=iterations).attack(DETECTION, method)
                one = experiment.with_attack(attack, goal=goal, score_threshold=threshold)
                self._run(one, self.phases.walk(name, method))

    def budgets(self, experiment: DetectionExperiment) -> None:
        """Spend the budgets, one without a bound, and one for as many passes again."""
        budgets, limits = self.phases.protocol.budgets, self.phases.protocol.diagnoses
        spending, doubled = _spending(experiment, self.phases.protocol), parse_budgets(limits.doubled)[0]
        all_of_them = sorted({*budgets.all, *parse_budgets(limits.unbounded)}, key=lambda one: one.size)
        attacks = {one: _spent(one, self.phases.protocol) for one in all_of_them}
        spend_budgets(
            spending,
            {budgets.method: attacks},
            self.phases.budgets,
            resume=True,
            progress=self._progress,
            executor=self.executor,
        )
        again = replace(spending.with_attack(attacks[doubled]), start=self.phases.budget(doubled))
        self._run(again, self.phases.doubled)

    def search(self, experiment: DetectionExperiment, images: set[int]) -> None:
        """Ask for answers alone on some images."""
        if not images:
            return
        limits = self.phases.protocol.diagnoses
        settings = Settings(budget=parse_budgets(limits.search)[0], passes=limits.answers)
        attack = replace(settings.attack(DETECTION, "square"), stop="first")
        one = _spending(experiment, self.phases.protocol).with_attack(attack)
        dataset = one.dataset.pick(images, "withstood")
        self._run(replace(one, dataset=dataset), self.phases.search)

    def _run(self, experiment: DetectionExperiment, folder: Path) -> None:
        title = " ".join(folder.relative_to(self.phases.path).parts[-2:])
        told = partial(self._progress, title) if self._progress else None
        with carried_out(experiment, folder, folder.exists(), False, told, self.executor, notes=False):
            pass

    @property
    def _progress(self) -> Reporting | None:
        told = self.ranking.progress
        return None if told is None else lambda title: told(f"{self.phases.path.name} {title}")


def _spending(experiment: DetectionExperiment, protocol: Protocol) -> DetectionExperiment:
    """Make the experiment that spends the largest budget."""
    return experiment.with_attack(_spent(protocol.budgets.all[-1], protocol), goal=protocol.budgets.goal)


def _spent(budget: Budget, protocol: Protocol) -> Attack:
    return Settings(budget=budget, passes=protocol.budgets.passes).attack(DETECTION, protocol.budgets.method)


def most_annotated(experiment: DetectionExperiment, classes: Collection[str]) -> str:
    """Name the one of some classes that has most annotated objects, as the model names it."""
    model, dataset = experiment.model, experiment.dataset
    known = {one["id"] for one in dataset.categories if one["name"] in classes}
    counts = Counter(one["category_id"] for one in counted_objects(model.categories, dataset))
    best = min(counts.keys() & known, key=lambda theirs: (-counts[theirs], theirs))
    labels = {theirs: label for label, theirs in category_ids(model.categories, dataset.categories).items()}
    return model.categories[labels[best]].name


def read_entries(out: Path) -> list[Entry]:
    """Read the entries of a ranking, by the names of their folders."""
    return [Entry.read(path.parent) for path in sorted(out.glob(f"*/{ENTRY}"))]


def transfer_all(
    experiments: Mapping[str, DetectionExperiment],
    entries: Sequence[Entry],
    out: Path,
    protocol: Protocol,
    say: Callable[[str], None],
) -> dict[str, dict[str, Transferred]]:
    """Judge, on images that withstood a model's own attacks, the files of the other models.

    What was judged before is read again where both models are the same still, and models that are not loaded now are
    not judged.
    """
    path = out / TRANSFERRED
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    identities = {entry.folder: Identity.read(out / entry.folder).hash for entry in entries}
    found: dict[str, dict[str, Transferred]] = {}
    content: dict[str, dict[str, Any]] = {}
    for entry in entries:
        phases = Phases(out / entry.folder, protocol)
        images, before = withstood(phases), known.get(entry.folder, {})
        for other in entries:
            if other.folder == entry.folder or not images:
                continue
            pair = [identities[entry.folder], identities[other.folder]]
            told = before.get(other.folder, {})
            if told.get("models") == pair:
                one = Transferred(told["images"], told["fooled"])
            elif entry.folder in experiments:
                one = transferred(experiments[entry.folder], phases, Phases(out / other.folder, protocol), images)
            else:
                say(f"NOTE: {entry.folder}: not judged by the files of {other.folder}; name both to have it")
                continue
            found.setdefault(entry.folder, {})[other.folder] = one
            content.setdefault(entry.folder, {})[other.folder] = {**vars(one), "models": pair}
    write_text_atomic(path, json.dumps(content, indent=1) + "\n")
    return found


def transferred(experiment: DetectionExperiment, phases: Phases, other: Phases, images: set[int]) -> Transferred:
    """Judge the files that another model's attack left of some images, of the budget of the random search.

    Those that the model fails on do not count.
    """
    budget = phases.protocol.diagnoses.search
    spending = _spending(experiment, phases.protocol)
    fooled, files = 0, other.budget(budget) / "images"
    judged = 0
    for record in records_of(phases.budget(budget)):
        file = files / f"{record.stem}.png"
        if record.id in images and file.is_file():
            image = to_tensor(read_image(file).pixels)
            with one_image(record.source):
                fooled += DETECTION.holds(experiment.model, spending.config, record, image)
                judged += 1
    return Transferred(judged, fooled)


def write_reports(entries: Sequence[Entry], out: Path, protocol: Protocol) -> None:
    """Write the pages of the runs that the models' pages lead to."""
    for entry in entries:
        for folder in Phases(out / entry.folder, protocol).paged:
            if folder.is_dir():
                write_report(folder)
