"""Drives a data set through the engine, image by image, into a run folder: resumable, past bad images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from detattack.config import RunConfig
from detattack.datasets import Dataset, Picture, Sample
from detattack.detectors.base import Detector
from detattack.detectors.registry import fingerprint
from detattack.errors import InputError
from detattack.goals import check_goal, parse_goal
from detattack.job import Outcome, Record, run_batch
from detattack.results import coco_annotations, coco_results, summarize
from detattack.runs import RunFolder, make_manifest

Report = Callable[[Outcome, int, int], None]
"""Told of each finished image: its outcome, how many are done, and how many there are."""


@dataclass(frozen=True, eq=False)
class Run:
    """What is to be run: a detector, a config, the data. figures: whether each image gets a figure."""

    detector: Detector
    config: RunConfig
    dataset: Dataset
    figures: bool = False


def execute(run: Run, out: Path, resume: bool, report: Report) -> RunFolder:
    """Runs or continues a run; the folder is complete when this returns. Raises `InputError`."""
    check_goal(parse_goal(run.config.goal), run.detector.categories)
    config = run.config.model_dump(mode="json")
    manifest = make_manifest(config, fingerprint(run.detector), run.dataset.fingerprint)
    folder = RunFolder.create(out, manifest, resume)
    done, total = folder.done(), len(run.dataset.samples)
    left = [sample for sample in run.dataset.samples if sample.id not in done]
    count = len(done)
    for batch in batches(left, run.config.batch):
        outcomes = _outcomes(run, batch)
        if run.figures:
            _write_figures(run, folder, outcomes)
        folder.commit(outcomes)
        for outcome in outcomes:
            count += 1
            report(outcome, count, total)
    complete(folder, run.detector, run.dataset)
    return folder


def complete(folder: RunFolder, detector: Detector, dataset: Dataset) -> None:
    """Writes what is made from the ledger."""
    records = folder.records()
    folder.write_json("clean.json", coco_results(records, detector, dataset, "clean"))
    folder.write_json("adversarial.json", coco_results(records, detector, dataset, "adversarial"))
    folder.write_json("annotations.json", coco_annotations(records, detector, dataset))
    folder.write_json("summary.json", summarize(records))


def batches(samples: list[Sample], size: int) -> Iterator[list[tuple[Record, Picture | None]]]:
    """Samples read and named, in groups of at most `size` neighbors of one image size.

    An image that cannot be read comes alone, with an `error` record and no picture.
    """
    group: list[tuple[Record, Picture | None]] = []
    for sample in samples:
        item = _read(sample)
        fits = group and item[1] and item[1].pixels.shape == group[0][1].pixels.shape  # type: ignore[union-attr]
        if group and (not fits or len(group) == size):
            yield group
            group = []
        if item[1] is None:
            yield [item]
        else:
            group.append(item)
    if group:
        yield group


def _read(sample: Sample) -> tuple[Record, Picture | None]:
    record = Record(sample.id, sample.stem, sample.source, status="")
    try:
        return record, sample.load()
    except InputError as error:
        return replace(record, status="error", reason=str(error)), None


def _outcomes(run: Run, batch: list[tuple[Record, Picture | None]]) -> list[Outcome]:
    """The batch's outcomes; an image that the model fails on is recorded, and its neighbors go on without it."""
    pictures = [(record, picture) for record, picture in batch if picture is not None]
    if not pictures:
        return [Outcome(record) for record, _ in batch]
    try:
        return run_batch(run.detector, run.config, pictures)
    except Exception as error:  # the model is someone else's code: whatever it raises concerns this batch only
        if len(batch) > 1:
            return [outcome for item in batch for outcome in _outcomes(run, [item])]
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return [Outcome(replace(batch[0][0], status="error", reason=reason))]


def _write_figures(run: Run, folder: RunFolder, outcomes: list[Outcome]) -> None:
    from detattack.report.attack_figure import write_attack_figure

    (folder.path / "figures").mkdir(exist_ok=True)
    for outcome in outcomes:
        write_attack_figure(folder.path / "figures" / f"{outcome.record.stem}.png", outcome, run)
