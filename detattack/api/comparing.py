"""Methods compared, models ranked, runs judged again and images measured; each result is a table and a figure."""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from detattack.api.asked import asked_of, attack_of, path_of, task_of
from detattack.api.attacking import folder_of
from detattack.api.callbacks import Callback, checked, telling
from detattack.api.images import open_data
from detattack.api.results import Result, Run, Texts, frame, place
from detattack.api.searching import Universal
from detattack.core.errors import InputError
from detattack.core.wording import counted
from detattack.datasets.given import given_image, is_image
from detattack.detectors.base import Detector
from detattack.engine import Attack
from detattack.engine.budget import Budget
from detattack.metrics.image_pairs import ImagePair, MeasuredPair, average_quality, match_images, measure_pairs
from detattack.metrics.image_quality import MEASURES, measure
from detattack.ranking.protocol import load_protocol
from detattack.report.reading import read_json
from detattack.report.sheet import new_figure
from detattack.runs.manifest import COMPARISON
from detattack.runs.originals import originals_in
from detattack.tasks.columns import Column, Kind, number
from detattack.tasks.detection.goals import Goal
from detattack.tasks.detection.task import DETECTION
from detattack.tasks.detection.universal import FACTS
from detattack.workflows import compare as comparing
from detattack.workflows import rank as ranking
from detattack.workflows.transfer import Other, transfer_run
from detattack.workflows.verify import verify_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

LEADERBOARD_JSON, LEADERBOARD_CSV = "leaderboard.json", "leaderboard.csv"
RANKED = {"model", "weights", "categories"}
"""The keys of a model to be ranked."""


class Comparison(Result):
    """Methods over the same images: the content of `comparison.json`.

    - path: the folder
    - runs: by method
    """

    def __init__(self, path: Path, model: Any = None, held: TemporaryDirectory[str] | None = None) -> None:
        """Read the folder of a comparison. held: removed with this object. Raises `InputError`."""
        super().__init__(read_json(path / COMPARISON, dict))
        self.path, self._held = path, held
        self.runs = {row["method"]: Run(path / row["method"], model) for row in self["methods"]}

    def __repr__(self) -> str:
        return f"Comparison({place(self.path, self._held)}, {', '.join(self.runs)})"

    @property
    def columns(self) -> Sequence[Column]:
        """The columns of the table, those of the task."""
        return next(iter(self.runs.values())).task.columns

    def to_pandas(self) -> "DataFrame":
        """Return a row a method, with the columns of `comparison.csv`."""
        kinds: dict[str, Kind] = {column.key: "number" if column.form else "text" for column in self.columns}
        return frame(kinds, [[row[key] for key in kinds] for row in self["methods"]])

    def figure(self) -> "Figure":
        """Draw success, and AP where annotated, against the largest perturbation that counts."""
        return comparing.draw_curves({name: comparing.Curve(**one) for name, one in self["curves"].items()})

    def texts(self) -> Texts:
        """Write a row a method."""
        rows = [[column.text(row) for column in self.columns] for row in self["methods"]]
        return [[column.heading for column in self.columns], *rows]


class Ranking(Result):
    """Models in the order of their smallest changes: the content of `leaderboard.json`.

    - path: the folder, in which `leaderboard.html` is the page
    """

    def __init__(self, path: Path, held: TemporaryDirectory[str] | None = None) -> None:
        """Read the folder of a ranking. held: removed with this object. Raises `InputError`."""
        super().__init__(read_json(path / LEADERBOARD_JSON, dict))
        self.path, self._held = path, held

    def __repr__(self) -> str:
        return f"Ranking({place(self.path, self._held)}, {counted(len(self['models']), 'model')})"

    def to_pandas(self) -> "DataFrame":
        """Return a row a model: its place, its JND50 of the first walk with its 95% interval, and AP by budget."""
        walk, norm, _ = self["ordered_by"].split(", ")
        parts = ("value", "low", "high")
        kinds: dict[str, Kind] = {"place": "text", "model": "text"}
        rows = [
            {
                "place": one["place"],
                "model": one["folder"],
                **{f"jnd50_{norm}_{part}": one["jnd50"][walk][norm][part] for part in parts},
                **{f"ap_{key}": ap["value"] for key, ap in one["ap"].items()},
            }
            for one in self["models"]
        ]
        kinds |= {key: "number" for row in rows for key in row if key not in kinds}
        return frame(kinds, [[row.get(key) for key in kinds] for row in rows])

    def figure(self) -> "Figure":
        """Draw the median smallest change of each model with its 95% interval."""
        walk, norm, _ = self["ordered_by"].split(", ")
        found = {one["folder"]: one["jnd50"][walk][norm] for one in self["models"]}
        values = {name: (one["value"], (one["low"], one["high"])) for name, one in found.items()}
        return _bars(values, "JND50, RMS in gray levels")

    def texts(self) -> Texts:
        """Write a row a model."""
        with (self.path / LEADERBOARD_CSV).open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file))


class Verified(Result):
    """A run judged again: how many files there are, how many agree with its ledger, and what is wrong with others."""

    def to_pandas(self) -> "DataFrame":
        """Return a row a file: its name, whether the goal holds, and what disagrees with the ledger."""
        kinds: dict[str, Kind] = {"file": "text", "success": "boolean", "problem": "text"}
        return frame(kinds, [[row[key] for key in kinds] for row in self["verdicts"]])

    def figure(self) -> "Figure":
        """Draw how many files agree, and how many do not."""
        return _bars({"agree": (self["agree"], None), "disagree": (self["disagree"], None)}, "files")

    def texts(self) -> Texts:
        """Write the counts, and each file that disagrees."""
        problems = [[row["file"], row["problem"]] for row in self["verdicts"] if row["problem"]]
        return [["files", "agree"], [str(self["files"]), str(self["agree"])], *problems]

    def __repr__(self) -> str:
        return f"Verified({self['agree']} of {counted(self['files'], 'file')} agree)"


class Transferred(Result):
    """What is left of a run before other models and after corruptions: a row each under `transfer`."""

    def to_pandas(self) -> "DataFrame":
        """Return a row a model and corruption: success of the run's successes with its interval, and AP."""
        kinds: dict[str, Kind] = {
            **dict.fromkeys(("model", "change"), "text"),
            **dict.fromkeys(("success_rate", "success_low", "success_high", "ap_clean", "ap_adversarial"), "number"),
            **dict.fromkeys(("trials", "already", "unread", "unfit"), "integer"),
        }
        return frame(kinds, [[_transfer_row(one)[key] for key in kinds] for one in self["transfer"]])

    def figure(self) -> "Figure":
        """Draw the share of successes that is left, with its 95% interval."""
        found = {f"{one['model']}, {one['change']}": one["success"] for one in self["transfer"]}
        return _bars({name: (one["rate"], one["interval"]) for name, one in found.items()}, "success")

    def texts(self) -> Texts:
        """Write a row a model and corruption."""
        head = ["model", "change", "success", "95% CI", "AP clean", "AP after"]
        rows = [_transfer_row(one) for one in self["transfer"]]
        return [
            head,
            *(
                [
                    row["model"],
                    row["change"],
                    number(row["success_rate"], ".0%"),
                    f"{number(row['success_low'], '.0%')} to {number(row['success_high'], '.0%')}",
                    number(row["ap_clean"], ".3f"),
                    number(row["ap_adversarial"], ".3f"),
                ]
                for row in rows
            ),
        ]

    def __repr__(self) -> str:
        return f"Transferred({counted(len(self['transfer']), 'row')})"


class Quality(Result):
    """How far images are from their originals: mean and median of each measure, and a row an image under `images`."""

    def to_pandas(self) -> "DataFrame":
        """Return a row an image: its name, and each measure."""
        kinds: dict[str, Kind] = {"image": "text", **dict.fromkeys(self["mean"], "number")}
        return frame(kinds, [[row[key] for key in kinds] for row in self["images"]])

    def figure(self) -> "Figure":
        """Draw how each measure is distributed over the images."""
        names = list(self["mean"])
        figure = new_figure(2.4 * len(names), 2.4)
        for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            axis.hist([row[name] for row in self["images"] if row[name] is not None], bins=20)
            axis.set_xlabel(MEASURES[name].heading)
        return figure

    def texts(self) -> Texts:
        """Write a row an image, and the mean."""
        names = list(self["mean"])
        rows = [{"image": "mean", **self["mean"]}, *self["images"]]
        lines = [[row["image"], *(MEASURES[name].text(row[name]) for name in names)] for row in rows]
        return [["image", *(MEASURES[name].label for name in names)], *lines]

    def __repr__(self) -> str:
        return f"Quality({counted(len(self['images']), 'image')})"


def load_run(path: str | os.PathLike[str]) -> Run | Comparison | Ranking | Universal:
    """Read a finished run folder, or that of a comparison, a ranking or a universal change. Raises `InputError`."""
    folder = path_of(path, "path")
    if (folder / COMPARISON).is_file():
        return Comparison(folder)
    if (folder / FACTS).is_file():
        return Universal(folder)
    return Ranking(folder) if (folder / LEADERBOARD_JSON).is_file() else Run(folder)


def compare(
    images: Any,
    model: Any,
    goal: str | Goal | None = None,
    methods: str | Sequence[str | Attack] = "jnd,fgsm,pgd-linf",
    *,
    out: str | os.PathLike[str] | None = None,
    budget: str | Budget | None = None,
    task: str | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
    **options: Any,
) -> Comparison:
    """Run several methods over the same images: one table, paired differences and curves.

    - methods: names with commas between, or names and attacks. The control `noise` takes the L2 that `jnd` needed
    - options: as of `attack`; fields of `Attack` are set for all methods

    All else as of `evaluate`. Raises `InputError`.
    """
    callbacks = checked(callbacks)
    named = [name.strip() for name in methods.split(",")] if isinstance(methods, str) else list(methods)
    if not named:
        raise InputError("methods: none is named")
    asked = asked_of(model, goal, named[0], budget, task, options)
    overrides = {name: value for name, value in options.items() if name not in asked.task.config_type.model_fields}
    attacks = {one.name: one for one in (attack_of(asked.task, method, budget, overrides) for method in named)}
    if len(attacks) < len(named):
        raise InputError("methods: one is named twice")
    experiment = asked.of(open_data(images))
    with folder_of(out) as (path, held):
        comparing.compare(experiment, attacks, path, progress=partial(telling, callbacks, progress))
        result = Comparison(path, asked.model, held)
    for callback in callbacks:
        callback.on_run(result)
    return result


def rank(
    models: Sequence[str | Mapping[str, str] | Detector],
    images: Any,
    annotations: str | os.PathLike[str] | None = None,
    *,
    protocol: str = "v1",
    out: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: bool = False,
) -> Ranking:
    """Rank detectors by the smallest changes that break them, by a fixed protocol (docs/measure.md).

    - models: in memory, each with a name of its own; names; or mappings of `model`, `weights`, `categories`
    - images: with annotations: a path, or what `open_data` returns or takes
    - annotations: of a path, COCO's file or a folder of XML files
    - protocol: a name, or a YAML file
    - out: the folder of the ranking, which may hold models that were ranked before; None: a temporary one
    - limit: images of a path at most

    Raises `InputError`.
    """
    if isinstance(models, str) or not isinstance(models, Sequence):
        raise InputError(f"models: expected a list of models, got {type(models).__name__}")
    ranked = [_ranked(one) for one in models]
    options: dict[str, Any] = {} if limit is None else {"limit": limit}
    source = open_data(images, annotations, **options)
    chosen = load_protocol(protocol)
    told: comparing.Reporting = partial(telling, (), progress)
    with folder_of(out) as (path, held):
        ranking.rank(ranked, ranking.Ranking(chosen, source, seed, device, progress=told), path)
        return Ranking(path, held)


def verify(run: Run | str | os.PathLike[str], model: Any = None, *, trust: bool = False) -> Verified:
    """Judge a finished run again from its files alone, by the model's official inference.

    - run: what `evaluate` returned, or a run folder
    - model: that was attacked, in memory; None: that of `evaluate`, or it is loaded by its name
    - trust: whether a model that is named in the folder may run the code of a file

    Raises `InputError`.
    """
    found = _run_of(run)
    verdicts = [
        asdict(one) for one in verify_run(found.path, trust=trust, model=found.model if model is None else model)
    ]
    wrong = sum(bool(one["problem"]) for one in verdicts)
    counts = {"files": len(verdicts), "agree": len(verdicts) - wrong, "disagree": wrong}
    return Verified({**counts, "verdicts": verdicts})


def transfer(
    run: Run | str | os.PathLike[str],
    models: Sequence[Any] = (),
    *,
    survive: str | None = None,
    images: Any = None,
    trust: bool = False,
) -> Transferred:
    """Judge the files of a run by other models and after corruptions; `transfer.json` in its folder holds the same.

    - run: what `evaluate` returned, or a run folder
    - models: names, or models in memory; none: the run's own, for `survive`
    - survive: corruptions with commas between, e.g. `jpeg:75,resize:0.5`
    - images: the originals, where they were in memory: the data set that was attacked
    - trust: as of `verify`

    Raises `InputError`.
    """
    found = _run_of(run)
    others = [Other(one) if isinstance(one, str) else one for one in models]
    others = others or [Other() if found.model is None else found.model]
    originals = None if images is None else originals_in(open_data(images))
    rows = transfer_run(found.path, others, survive, trust=trust, originals=originals)
    return Transferred({"transfer": [asdict(one) for one in rows]})


def quality(originals: Any, others: Any, only: Sequence[str] | None = None) -> Quality:
    """Measure how far images are from their originals.

    - originals, others: two images or two sequences of them, of any kind as of `attack`; or two folders, whose images
      are matched by name
    - only: names of measures; None: all

    Raises `InputError`.
    """
    names = [MEASURES.find(name).name for name in only or MEASURES]
    if isinstance(originals, str | os.PathLike) and Path(originals).is_dir():
        measured = list(measure_pairs(match_images(Path(originals), path_of(others, "others")).pairs, names))
    else:
        measured = _measured(originals, others, names)
    failed = next((one for one in measured if one.quality is None), None)
    if failed or not measured:
        raise InputError(f"{failed.pair.name}: {failed.reason}" if failed else "originals: there are no images")
    average = {key: average_quality(measured, of).as_json() for key, of in (("mean", fmean), ("median", median))}
    rows = [{"image": one.pair.name, **one.quality.as_json()} for one in measured if one.quality]
    return Quality({**average, "images": rows})


def _ranked(model: Any) -> ranking.Ranked:
    """Tell which model is to be ranked. Raises `InputError` for what is none."""
    if isinstance(model, str):
        return ranking.Ranked(model)
    if isinstance(model, Mapping):
        texts = all(isinstance(value, str | os.PathLike | None) for value in model.values())
        if "model" not in model or not model.keys() <= RANKED or not texts:
            raise InputError(f"models: expected texts for model, weights and categories, got {dict(model)}")
        return ranking.Ranked(**model)
    if task_of(model, None) is not DETECTION:
        raise InputError(f"rank: {model.name} is no detector")
    return ranking.Ranked(model.name, loaded=model)


def _measured(originals: Any, others: Any, names: Sequence[str]) -> list[MeasuredPair]:
    """Measure images in memory, or two files."""
    if is_image(originals):
        originals, others = [originals], [others]
    if len(originals) != len(others):
        raise InputError(f"originals: {counted(len(originals), 'image')}, and {counted(len(others), 'other')}")
    found = []
    for count, pair in enumerate(zip(originals, others, strict=True), 1):
        one, other = (given_image(image, f"image {count}").picture.pixels for image in pair)
        if one.shape != other.shape:
            raise InputError(f"image {count}: the two are of different sizes")
        named = ImagePair(f"image {count}", Path(), Path())
        found.append(MeasuredPair(named, measure(one, other, names)))
    return found


def _run_of(run: Run | str | os.PathLike[str]) -> Run:
    return run if isinstance(run, Run) else Run(path_of(run, "run"))


def _transfer_row(one: Mapping[str, Any]) -> dict[str, Any]:
    low, high = one["success"]["interval"] or (None, None)
    ap = one["ap"] or {"clean": {"ap": None}, "adversarial": {"ap": None}}
    return {
        **{key: one[key] for key in ("model", "change", "already", "unread", "unfit")},
        "trials": one["success"]["trials"],
        "success_rate": one["success"]["rate"],
        "success_low": low,
        "success_high": high,
        "ap_clean": ap["clean"]["ap"],
        "ap_adversarial": ap["adversarial"]["ap"],
    }


def _bars(values: Mapping[str, tuple[float | None, Sequence[float | None] | None]], label: str) -> "Figure":
    """Draw a bar for each name, with its interval where it has one."""
    figure = new_figure(6, 0.8 + 0.4 * len(values))
    axis = figure.subplots()
    for height, (value, interval) in enumerate(values.values()):
        axis.barh(height, value or 0, height=0.6)
        low, high = interval or (None, None)
        if low is not None and high is not None:
            axis.plot((low, high), (height, height), color="black")
    axis.set_yticks(range(len(values)), values)
    axis.invert_yaxis()
    axis.set_xlabel(label)
    return figure
