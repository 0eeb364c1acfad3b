"""Drives a data set through the engine, batch by batch, into a run folder: resumable, past bad images."""

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from detattack.batching import Batch, out_of_memory, part, plan, read_ahead
from detattack.config import RunConfig
from detattack.datasets import Dataset, Picture, Sample
from detattack.detectors.base import Detector
from detattack.detectors.registry import fingerprint
from detattack.errors import InputError
from detattack.goals import check_goal, parse_goal
from detattack.job import Outcome, Record, run_batch, untouched
from detattack.measuring import measure_all
from detattack.results import coco_annotations, coco_results
from detattack.runs import RunFolder, make_manifest
from detattack.scores import average_precision, questions, summarize
from detattack.types import DEFAULT_SCORE_THRESHOLD, DetectorCard

Report = Callable[[Outcome, int, int], None]
"""Told of each finished image: its outcome, how many are done, and how many there are."""
Item = tuple[Record, Picture | None]
"""An image named and read; one that cannot be read has an `error` record and no picture."""


@dataclass(frozen=True, eq=False)
class Run:
    """What is to be run: a detector, a config, the data.

    figures: whether each image gets a figure. shard: (i, n), the i-th of n parts of the batches; None: all.
    lengths: for the control `noise`, the L2 by image id, where it is known. all_measures: whether all measures of
    quality are taken, instead of the quick ones.
    """

    detector: Detector
    config: RunConfig
    dataset: Dataset
    figures: bool = False
    shard: tuple[int, int] | None = None
    lengths: Mapping[int, float] | None = None
    all_measures: bool = False

    def batches(self) -> list[Batch]:
        """What is to be done, resumed or not: decided over the whole data set."""
        return part(plan(self.dataset.samples, self.config.batch), self.shard)


def open_folder(run: Run, out: Path, resume: bool = False) -> RunFolder:
    """The folder of a run, new or to be continued. Raises `InputError`, and writes nothing then."""
    check_goal(parse_goal(run.config.goal), run.detector.categories)
    config = run.config.model_dump(mode="json") | {"device": str(run.detector.device)}
    return RunFolder.create(out, make_manifest(config, fingerprint(run.detector), **_manifest(run)), resume)


def _manifest(run: Run) -> dict[str, Any]:
    detector = run.detector
    lengths = None if run.lengths is None else [[i, run.lengths[i]] for i in sorted(run.lengths)]
    return {
        "data": run.dataset.fingerprint,
        "images": len(run.dataset.samples),
        "annotated": bool(run.dataset.categories),
        "shard": None if run.shard is None else list(run.shard),
        "lengths": lengths,
        "detector": {"name": detector.name, "eval_threshold": detector.eval_threshold},
        "categories": [{"id": c.coco_id, "name": c.name} for c in detector.categories],
    }


def execute(run: Run, folder: RunFolder, report: Report, measuring: Callable[[int, int], None] | None = None) -> None:
    """Runs a run, or what is left of it; the folder is complete when this returns.

    measuring: told how many images of how many are measured.
    """
    batches, done = run.batches(), folder.done()
    left = [batch for batch in batches if batch[0].id not in done]  # committed whole or not at all
    count, total = len(done), sum(map(len, batches))
    for items in read_ahead(left, _read_batch):
        outcomes = [outcome for group in _groups(items) for outcome in _outcomes(run, group)]
        if run.figures:
            _write_figures(run, folder, outcomes)
        folder.commit(outcomes)
        for outcome in outcomes:
            count += 1
            report(outcome, count, total)
    if run.all_measures:
        measure_all(folder, run.dataset, measuring)
    complete(folder, run.detector, run.dataset)


def complete(folder: RunFolder, detector: Detector | DetectorCard, dataset: Dataset) -> None:
    """Writes what is made from the ledger: from nothing else, so at any time and to the same bytes."""
    for which in ("clean", "adversarial"):
        folder.write_json(f"{which}.json", coco_results(folder.iterate(), detector, dataset, which))
    folder.write_json("annotations.json", coco_annotations(folder.iterate(), detector, dataset))
    folder.write_json("summary.json", summary_of(folder, detector, dataset))


def summary_of(folder: RunFolder, detector: Detector | DetectorCard, dataset: Dataset) -> dict[str, Any]:
    """All scores of a run; what depends on the clock is under `timing` alone."""
    threshold = folder.manifest["config"].get("score_threshold", DEFAULT_SCORE_THRESHOLD)
    summary = summarize(folder.iterate(), detector, threshold)
    ids = [record.id for record in folder.iterate() if "boxes" in record.clean and "boxes" in record.adversarial]
    summary["ap"] = average_precision(
        dataset,
        detector,
        ids,
        lambda: coco_results(folder.iterate(), detector, dataset, "clean"),
        lambda: coco_results(folder.iterate(), detector, dataset, "adversarial"),
    )
    summary["questions"] = questions(threshold, detector.eval_threshold)
    summary["timing"] = summary.pop("timing")
    return summary


def _read_batch(batch: Batch) -> list[Item]:
    return [_read(sample) for sample in batch]


def _groups(items: list[Item]) -> Iterator[list[Item]]:
    """A batch parted where an image is not of the size that the data set says, or could not be read."""
    groups: dict[tuple[int, ...] | None, list[Item]] = {}
    for record, picture in items:
        shape = None if picture is None else picture.pixels.shape
        groups.setdefault(shape, []).append((record, picture))
    yield from groups.values()


def _read(sample: Sample) -> Item:
    record = Record(sample.id, sample.stem, sample.source, status="")
    try:
        picture = sample.load()
    except InputError as error:
        return replace(record, status="error", reason=str(error)), None
    height, width = picture.pixels.shape[:2]
    if sample.size not in ((width, height), (0, 0)):
        said = f"the data set says {sample.size[0]}×{sample.size[1]}, the image is of another size"
        picture = replace(picture, notes=(*picture.notes, said))
    return record, picture


def _outcomes(run: Run, group: list[Item]) -> list[Outcome]:
    """The outcomes of images of one size; one that the model fails on is recorded, its neighbors go on without it."""
    pictures = [(record, picture) for record, picture in group if picture is not None]
    if not pictures:
        return [Outcome(record) for record, _ in group]
    try:
        return run_batch(run.detector, run.config, pictures, run.lengths)
    except Exception as error:  # the model is someone else's code: whatever it raises concerns this batch only
        memory, reason = out_of_memory(error), f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if memory:  # outside of the handler, which keeps what the failed attempt held
        _free_memory()
    if len(group) > 1:
        size = len(group) // 2 if memory else 1
        return [o for i in range(0, len(group), size) for o in _outcomes(run, group[i : i + size])]
    record, picture = pictures[0]
    return [untouched(replace(record, status="error", reason=reason), picture)]


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _write_figures(run: Run, folder: RunFolder, outcomes: list[Outcome]) -> None:
    from detattack.report.attack_figure import write_attack_figure

    names = [category.name for category in run.detector.categories]
    (folder.path / "figures").mkdir(exist_ok=True)
    for outcome in outcomes:
        path = folder.path / "figures" / f"{outcome.record.stem}.png"
        write_attack_figure(path, outcome, names, run.config.score_threshold)
