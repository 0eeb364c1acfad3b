"""From the name of a table or figure to its files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classify.paper import curves, densities, detection, samples
from classify.paper.config import Detection, Experiment, Runs, load
from classify.paper.facts import write_facts
from classify.paper.names import method_title
from classify.paper.provenance import lines, made_with, warning_of
from classify.paper.running import Result, carry_out, runs_of
from classify.paper.sources import Sources
from classify.paper.table_figure import write_table_figure
from classify.paper.tables import make_table, published, write_table
from detattack.core.errors import InputError
from detattack.core.files import swept
from detattack.workflows.compare import Reporting


@dataclass(frozen=True, eq=False)
class _Finished:
    """An experiment whose attacks are done. path: of its files, without suffix. made: what it was made with."""

    name: str
    experiment: Experiment
    runs: Runs
    results: list[Result]
    sources: Sources
    path: Path
    made: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.sources.classifier(self.runs).classes

    @property
    def title(self) -> str:
        """Of the figure, with the warning in a second line where there is one."""
        return "\n".join(filter(None, [self.experiment.title, warning_of(self.made)]))


def reproduce(name: str, sources: Sources, out: Path, progress: Reporting | None = None) -> dict[str, Any]:
    """Run or resume what the table or figure needs, in `out`, and write it into `out/NAME`.

    Returns what its `NAME.json` holds. Raises `InputError`.
    """
    experiment = load(name)
    path = out / name / name
    if experiment.detection is not None:
        return _detection(path, experiment, experiment.detection, sources.given.device, progress)
    _, runs = runs_of(name, experiment)
    results = carry_out(name, experiment, sources, out, progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = made_with(experiment, runs, sources, results)
    with swept(path.parent):
        return _WRITERS[experiment.kind](_Finished(name, experiment, runs, results, sources, path, made))


def _table(one: _Finished) -> dict[str, Any]:
    table = make_table(one.experiment, one.runs, one.results)
    paper = {result.judged: published(one.experiment, one.runs, result.variant) for result in one.results}
    write_table_figure(one.path, one.results, one.experiment.metrics, paper, one.title)
    return write_table(one.path, table, lines(one.made), one.made)


def _samples(one: _Finished) -> dict[str, Any]:
    images = one.sources.images(one.runs)
    chosen = samples.choose(one.results, images, one.experiment.samples)
    if not chosen:
        raise InputError(f"{one.name}: there is no image that all its methods could attack")
    samples.write_samples(one.path, one.results, chosen, one.classes, one.title, one.experiment.gain)
    rows = samples.facts(one.results, chosen, one.classes)
    return write_facts(one.path, rows, samples.COLUMNS, lines(one.made), one.made)


def _curves(one: _Finished) -> dict[str, Any]:
    found = curves.rises(one.results[0], one.sources.images(one.runs))[: one.experiment.samples]
    if not found:
        raise InputError(f"{one.name}: there is no image that its method could attack")
    curves.write_rises(one.path, found, one.classes, one.title)
    rows, at_k = curves.facts(found, one.classes), curves.facts(found, one.classes, every=False)
    return write_facts(one.path, rows, curves.COLUMNS, lines(one.made), one.made, markdown=(at_k, curves.COLUMNS))


def _density(one: _Finished) -> dict[str, Any]:
    (metric,) = one.experiment.metrics
    densities.write_densities(one.path, one.results, metric, one.title)
    rows = densities.facts(one.results, metric)
    shown = [row | {"method": method_title(row["method"])} for row in densities.spread(one.results, metric)]
    return write_facts(one.path, rows, densities.COLUMNS, lines(one.made), one.made, markdown=(shown, densities.SPREAD))


def _detection(
    path: Path, experiment: Experiment, asked: Detection, device: str, progress: Reporting | None
) -> dict[str, Any]:
    folders = detection.carry_out(asked, path.parent, device, progress)
    rows = detection.facts(folders)
    stem = detection.shown_image(rows)
    rows = [row | {"shown": "yes" if row["image"] == stem else "no"} for row in rows]
    detection.write_methods(path, folders, stem, asked, experiment.title)
    made = {"title": experiment.title, "notes": list(experiment.notes), **detection.made_with(folders[0])}
    model = made["model"]
    said = f"Data: {made['data']}. Model: {model['model']} (`{model['fingerprint']}`). Goal: `{asked.goal}`."
    return write_facts(path, rows, detection.COLUMNS, [f"# {experiment.title}", said, *experiment.notes], made)


_WRITERS: dict[str, Callable[[_Finished], dict[str, Any]]] = {
    "table": _table,
    "samples": _samples,
    "curves": _curves,
    "density": _density,
}
