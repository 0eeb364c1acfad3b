"""The attacks of an experiment: a run folder for each row in each variant, resumed where it is there."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from classify.methods import PRESETS
from classify.paper.config import Experiment, Row, Runs, Variant, load
from classify.paper.sources import Sources
from classify.record import ClassificationRecord
from classify.task import CLASSIFICATION
from detattack.core.errors import unknown
from detattack.engine import Attack
from detattack.engine.config import resolve_attack
from detattack.runs.folder import RunFolder
from detattack.tasks.experiment import Experiment as TaskExperiment
from detattack.workflows.compare import Method, Reporting, run_methods

RUNS = "runs"


@dataclass(frozen=True, eq=False)
class Result:
    """A row in a variant, attacked: where its run folder is, and its numbers. judged: the variant's title."""

    row: str
    variant: str
    judged: str
    folder: Path
    method: Method

    def records(self) -> list[ClassificationRecord]:
        """All images of the run."""
        with closing(RunFolder.open(self.folder, ClassificationRecord)) as folder:
            return folder.records()

    def manifest(self) -> Mapping[str, Any]:
        """Read what stands in `run.json`."""
        with closing(RunFolder.open(self.folder, ClassificationRecord)) as folder:
            return folder.manifest


def runs_of(name: str, experiment: Experiment) -> tuple[str, Runs]:
    """Find the experiment that has the attacks of another, or its own, and the attacks."""
    owner = name if isinstance(experiment.runs, Runs) else str(experiment.runs)
    runs = experiment.runs if isinstance(experiment.runs, Runs) else load(owner).runs
    if not isinstance(runs, Runs):
        raise ValueError(f"config {name}: {owner} has no runs of its own")
    return owner, runs


def carry_out(
    name: str, experiment: Experiment, sources: Sources, out: Path, progress: Reporting | None = None
) -> list[Result]:
    """Run or resume what the experiment shows, variant by variant. Raises `InputError`."""
    owner, runs = runs_of(name, experiment)
    chosen = _chosen("row", experiment.rows, runs.rows)
    results = []
    for variant in _chosen("variant", experiment.variants, runs.variants):
        rows = [name for name in chosen if variant in (runs.rows[name].variants or runs.variants)]
        folder = out / owner / RUNS / variant
        experiment_of = partial(_experiment, sources, runs, runs.variants[variant])
        methods = run_methods(rows, experiment_of, folder, progress=progress)
        judged = runs.variants[variant].title
        results += [Result(row, variant, judged, folder / row, one) for row, one in zip(rows, methods, strict=True)]
    return results


def attack_of(name: str, row: Row, variant: Variant) -> Attack:
    """Make the attack of a row in a variant."""
    overrides: dict[str, Any] = dict(row.set)
    if variant.stop_confidence is not None:
        overrides |= {"stop": "confidence", "stop_confidence": variant.stop_confidence}
    return resolve_attack(row.method or name, variant.floats, None, overrides, PRESETS)


def _experiment(
    sources: Sources, runs: Runs, variant: Variant, name: str, target_l2: Mapping[int, float] | None
) -> TaskExperiment[Any, Any, Any]:
    row = runs.rows[name]
    model, images = sources.model(runs), sources.images(runs)
    classifier = sources.classifier(runs)
    config = CLASSIFICATION.make_config(
        attack=attack_of(name, row, variant),
        model=model.spec,
        weights=model.weights,
        preprocess=model.preprocess,
        classes=row.classes,
        device=str(classifier.device),
        batch=row.batch or runs.batch,
    )
    if row.images is not None:
        images = images.thinned(first=max(1, row.images * sources.count(runs.images) // runs.images))
    return TaskExperiment(CLASSIFICATION, classifier, config, images, target_l2=target_l2, all_measures=True)


def _chosen(what: str, wanted: tuple[str, ...] | None, known: Mapping[str, Any]) -> list[str]:
    for name in wanted or ():
        if name not in known:
            raise unknown(what, name, known)
    return list(wanted or known)
