"""The leaderboard: entries compared over the images that all of them could measure, and ordered."""

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detattack.core.wording import counted
from detattack.datasets.coco import category_ids
from detattack.metrics.coco import GroundTruth, ResampledAP
from detattack.ranking.classes import lacking
from detattack.ranking.diagnoses import Verdict
from detattack.ranking.entry import CLEAN, Entry
from detattack.ranking.phases import Phases
from detattack.ranking.protocol import Protocol
from detattack.ranking.smallest import NORMS, Smallest
from detattack.ranking.statistics import Estimate, Place, Values, area, estimate, grouped, interval, places, resamples
from detattack.runs.folder import SUMMARY, RunFolder
from detattack.tasks.detection.coco_export import coco_results, truth_of
from detattack.tasks.detection.record import DetectionRecord, card_of

RANKED_BY = "rms"
"""The norm by which models are ordered: it means the same for images of all sizes."""
CONFIDENCES = (0.5, 0.7, 0.9)
"""Bounds of the groups by clean confidence."""
LEAST_OF_GROUP = 5
"""Images that a group has to have."""
MOST_SEPARATING = 6
"""Images that are shown as those that separate the models."""
FAILING = 0.5
"""Share of the images that a model may fail on and still be compared: the others are not measured on these."""
RESOLUTION = 0.05
"""Added to changes before they are compared by their ratio, in gray levels."""


@dataclass(frozen=True)
class Transferred:
    """On how many images that withstood a model's own attack the files of another were tried, and fooled it."""

    images: int
    fooled: int


@dataclass(frozen=True, eq=False)
class Row:
    """A model on the leaderboard.

    - place: None where it is masked, or nothing is measured
    - jnd50: the median smallest change, by walk and norm; area: of the ranking norm, by walk
    - noticed: median share of pixels that a person may notice, by walk; infinite where the change is
    - ap: clean and by budget
    - groups: the median of the first walk in the ranking norm, by kind and name of the group, and its images
    - seconds: that the runs took
    """

    entry: Entry
    place: Place | None
    verdicts: Sequence[Verdict]
    jnd50: Mapping[str, Mapping[str, Estimate]]
    area: Mapping[str, Estimate]
    noticed: Mapping[str, float]
    ap: Mapping[str, Estimate]
    groups: Mapping[str, Mapping[str, tuple[Estimate, int]]]
    seconds: float

    @property
    def masked(self) -> list[Verdict]:
        """The verdicts that say that its figures cannot be trusted."""
        return [verdict for verdict in self.verdicts if not verdict.trusted]

    @property
    def place_text(self) -> str:
        """The place as people read it."""
        return "masked" if self.masked else str(self.place or "–")


@dataclass(frozen=True, eq=False)
class Board:
    """All models in order, those that are masked last.

    - images: by walk, the ids that figures are over
    - left_out: why images are left out for all, by name of the image
    - failing: on how many images a model fails that is not compared with the others for it, by its folder
    - lacking: the classes that other models are measured on and a model is not, by its folder
    - separating: ids of the images on which the models differ most
    """

    protocol: Protocol
    rows: Sequence[Row]
    images: Mapping[str, Sequence[int]]
    left_out: Mapping[str, str]
    failing: Mapping[str, str]
    lacking: Mapping[str, Sequence[str]]
    separating: Sequence[int]


def make_board(
    entries: Sequence[Entry],
    transferred: Mapping[str, Mapping[str, Transferred]],
    protocol: Protocol,
    out: Path,
    seed: int,
) -> Board:
    """Compare entries. transferred: by folder of the model that is judged, and of the one whose files it sees."""
    diagnosed = {one.folder: [*one.verdicts, *_of_transfer(one, transferred, protocol)] for one in entries}
    trusted = [one for one in entries if all(verdict.trusted for verdict in diagnosed[one.folder])]
    answering = [one for one in trusted if len(one.errors) <= FAILING * one.data["images"]]
    ranked = answering or trusted
    compared = ranked or list(entries)
    left_out = {failed.stem: f"{one.name}: {failed.reason}" for one in compared for failed in one.errors.values()}
    away = {number for one in compared for number in one.errors}
    images = {
        walk: sorted(set.intersection(*(set(one.walks[walk]) for one in compared)) - away) for walk in protocol.walks
    }
    first = protocol.first_walk
    samples = resamples(len(images[first]), protocol.bootstrap.intervals, seed)
    resampled: dict[str, Values] = {
        one.folder: np.median(np.array(_changes(one, first, images[first]))[samples], axis=1)
        for one in ranked
        if images[first]
    }
    found = places(resampled)
    rows = [
        Row(
            one,
            found.get(one.folder),
            diagnosed[one.folder],
            **_figures(one, images, protocol, seed),
            ap=_ap(one, Phases(out / one.folder, protocol), away, protocol, seed),
            groups=_groups(one, images[first], protocol, seed),
            seconds=sum(
                run["timing"]["seconds"] or 0.0 for run in Phases(out / one.folder, protocol).summaries().values()
            ),
        )
        for one in entries
    ]
    rows.sort(key=lambda row: _order(row, first))
    apart = lacking({one.folder: one.classes for one in entries})
    failing = {one.folder: _failure(one) for one in trusted if one not in ranked}
    return Board(protocol, rows, images, left_out, failing, apart, _separating(ranked, first, images[first]))


def _order(row: Row, walk: str) -> tuple[Any, ...]:
    """Sort by place, and among those that are tied by the figure."""
    value = row.jnd50[walk][RANKED_BY].value
    return (row.place is None, row.place.best if row.place else 0, -value if value == value else 0.0, row.entry.folder)


def _failure(entry: Entry) -> str:
    """Say how many images a model fails on."""
    first = next(iter(entry.errors.values()))
    images = counted(int(entry.data["images"]), "image")
    return f"fails on {len(entry.errors)} of {images} ({first.stem}: {first.reason})"


def _of_transfer(
    entry: Entry, transferred: Mapping[str, Mapping[str, Transferred]], protocol: Protocol
) -> list[Verdict]:
    """Diagnose a model by the files of others."""
    limits, found = protocol.diagnoses, transferred.get(entry.folder, {})
    if not found:
        return []
    said = ", ".join(f"{name} {one.fooled} of {one.images}" for name, one in found.items())
    alone = all(one.fooled <= limits.transferred * one.images for one in found.values())
    return [
        Verdict(
            "files of other models fool it no more than its own",
            alone,
            f"images that withstood {limits.search}, fooled by the files of other models: {said}",
        )
    ]


def _changes(entry: Entry, walk: str, ids: Sequence[int], norm: str = RANKED_BY) -> list[float]:
    """List a model's smallest changes of some images."""
    return [float(getattr(entry.walks[walk][number], norm)) for number in ids]


def _measured(entry: Entry, walk: str, ids: Sequence[int]) -> list[int]:
    """List those of some images that a model is measured on; none where only a part was tried, by random search."""
    known = [number for number in ids if number in entry.walks[walk]]
    return known if entry.ap or len(known) == len(ids) else []


def _figures(
    entry: Entry, images: Mapping[str, Sequence[int]], protocol: Protocol, seed: int
) -> dict[str, dict[str, Any]]:
    """Compute medians, areas and what a person may notice, by walk."""
    found: dict[str, dict[str, Any]] = {"jnd50": {}, "area": {}, "noticed": {}}
    for walk, compared in images.items():
        ids = _measured(entry, walk, compared)
        samples = resamples(len(ids), protocol.bootstrap.intervals, seed)
        found["jnd50"][walk] = {norm: estimate(_changes(entry, walk, ids, norm), samples) for norm in NORMS}
        found["area"][walk] = estimate(_changes(entry, walk, ids), samples, area)
        found["noticed"][walk] = _noticed([entry.walks[walk][number] for number in ids])
    return found


def _noticed(changes: Sequence[Smallest]) -> float:
    shares = [math.inf if one.noticed is None else one.noticed for one in changes]
    return float(np.median(shares)) if shares else math.nan


def _ap(entry: Entry, phases: Phases, away: set[int], protocol: Protocol, seed: int) -> dict[str, Estimate]:
    """Compute AP clean and by budget, over the images that all models could measure."""
    found: dict[str, Estimate] = {}
    for budget in protocol.budgets.all:
        folder = phases.budget(budget)
        if not (folder / SUMMARY).is_file():
            continue
        with closing(RunFolder.open(folder, DetectionRecord)) as run:
            if CLEAN not in found:
                found[CLEAN] = _resampled_ap(run, "clean", away, protocol.bootstrap.ap, seed)
            found[str(budget)] = _resampled_ap(run, "adversarial", away, protocol.bootstrap.ap, seed)
    return found


def _resampled_ap(run: RunFolder[DetectionRecord], which: Any, away: set[int], count: int, seed: int) -> Estimate:
    """Compute the AP of a run with its interval, over the images that were seen untouched and attacked."""
    card, truth = card_of(run.manifest), truth_of(run)
    ids = [record.id for record in run.iterate() if record.is_scored and record.id not in away]
    shared = set(category_ids(card.categories, truth.categories).values())
    annotated = GroundTruth(truth.annotations, truth.categories, ids, shared)
    table = ResampledAP(annotated, list(coco_results(run.iterate(), card, truth, which)))
    value = table.of(np.arange(len(table.images)))
    if not value:
        return Estimate(*[math.nan if value is None else 0.0] * 3)
    drawn = [table.of(sample) for sample in resamples(len(table.images), count, seed)]
    return interval(value, np.array([one for one in drawn if one is not None]))


def _groups(
    entry: Entry, ids: Sequence[int], protocol: Protocol, seed: int
) -> dict[str, dict[str, tuple[Estimate, int]]]:
    """Compute the median of the first walk by class, by size and by clean confidence."""
    measured = _measured(entry, protocol.first_walk, ids)
    shown = {number: entry.shown[number] for number in measured if number in entry.shown}
    kinds: dict[str, dict[int, tuple[str, ...]]] = {
        "class": {number: one.classes for number, one in shown.items()},
        "largest object": {number: (one.size,) for number, one in shown.items()},
        "clean confidence": {number: (_confidence(one.confidence),) for number, one in shown.items()},
    }
    return {
        kind: {
            name: (
                estimate(
                    _changes(entry, protocol.first_walk, some),
                    resamples(len(some), protocol.bootstrap.intervals, seed),
                ),
                len(some),
            )
            for name, some in grouped(groups).items()
            if len(some) >= LEAST_OF_GROUP
        }
        for kind, groups in kinds.items()
    }


def _confidence(value: float) -> str:
    """Name the group of a clean confidence."""
    bounds = (0.0, *CONFIDENCES, 1.0)
    place = sum(value > bound for bound in CONFIDENCES)
    return f"{bounds[place]:g} to {bounds[place + 1]:g}"


def _separating(entries: Sequence[Entry], walk: str, ids: Sequence[int]) -> list[int]:
    """Choose the images on which the smallest changes of the models differ most, by their ratio."""
    if len(entries) < 2:
        return []

    def ratio(number: int) -> float:
        changes = [min(one.walks[walk][number].rms, 255.0) + RESOLUTION for one in entries]
        return math.log(max(changes) / min(changes))

    return sorted(ids, key=lambda number: (-ratio(number), number))[:MOST_SEPARATING]
