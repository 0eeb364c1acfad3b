"""Task: what is attacked, and how it is judged. The one abstraction that experiments, workflows and commands know.

A task is a class with one instance: object detection (`tasks/detection`), classification (`classify`), or a third
party's, which a plugin registers (docs/extending.md). It says how a model is loaded, what is to be done with an image
(`prepare`), what the engine minimizes (`objective`) and what came out (`judge`, `holds`). All else has a default that a
task may replace.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)
from torch import Tensor

from detattack.core.boxes import Box
from detattack.core.errors import InputError, first_error
from detattack.core.precision import Precision
from detattack.core.wording import counted
from detattack.datasets.base import Dataset, Picture, Sample
from detattack.datasets.corruptions import Corruption, parse_corruptions
from detattack.datasets.open import open_dataset
from detattack.datasets.source import DatasetSource
from detattack.engine import PRESETS, Attack, Objective
from detattack.engine.config import LARGEST_SEED, CheckedAttack
from detattack.report.common_page import common_content
from detattack.report.page import Content
from detattack.report.pictures import Pictures
from detattack.report.reading import RunData, read_run
from detattack.runs.folder import RunFolder
from detattack.runs.record import BaseRecord, Outcome
from detattack.tasks.columns import (
    BROKEN,
    COLUMNS,
    IMAGE_COLUMNS,
    Column,
    Curve,
    ImageColumn,
    RecordColumn,
    record_columns,
)
from detattack.tasks.image_table import write_image_tables
from detattack.tasks.summary import common_summary, question, summary_lines
from detattack.tasks.within import parse_within


def split_at_commas(value: Any) -> Any:
    """Split a text; nothing is no name, and anything else stays."""
    names = value.split(",") if isinstance(value, str) else value or ()
    return tuple(name.strip() if isinstance(name, str) else name for name in names)


def _spelled(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(str, parse_corruptions(",".join(names), ranges=True)))


def _checked_within(text: str | None) -> str | None:
    return None if text is None else str(parse_within(text))


class TaskConfig(BaseModel):
    """Everything that decides a run's bytes, beside the data. Its JSON stands in `run.json`; a task adds its own.

    - of_method: the fields that follow from the method
    - added: fields that are younger than runs which are still resumed and merged; left out at their default
    - robust_to: corruptions after which the goal has to hold, too, as `parse_corruptions` takes them
    - within: the pixels that may change, as `parse_within` takes them; None: all
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    of_method: ClassVar[frozenset[str]] = frozenset({"attack"})
    added: ClassVar[frozenset[str]] = frozenset({"robust_to", "within"})

    model: str
    weights: str | None = None
    categories: str | None = None
    attack: CheckedAttack
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    device: str = "auto"
    batch: int = Field(1, ge=1)
    precision: Precision = "fp32"
    robust_to: Annotated[tuple[str, ...], BeforeValidator(split_at_commas), AfterValidator(_spelled)] = ()
    within: Annotated[str | None, AfterValidator(_checked_within)] = None

    @property
    def corruptions(self) -> tuple[Corruption, ...]:
        """What the goal has to hold after."""
        return tuple(parse_corruptions(",".join(self.robust_to), ranges=True))

    @model_serializer(mode="wrap")
    def _as_ever(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is as it was before there was a choice."""
        values: dict[str, Any] = handler(self)
        before = {name: type(self).model_fields[name].default for name in self.added}
        return {k: value for k, value in values.items() if k not in before or getattr(self, k) != before[k]}


R = TypeVar("R", bound=BaseRecord)
C = TypeVar("C", bound=TaskConfig)
M = TypeVar("M")


@dataclass(frozen=True, eq=False)
class Prepared(Generic[R]):
    """An image that is ready to be attacked, or not to be: then its record has a status.

    - record: what is known so far; a status other than "" says why nothing is to be done
    - picture: the original
    - image: `[1,3,H,W]` on the model's device
    - goal: what is wanted of it, in the task's own form
    - attacked: whether it is attacked; None: where its record has no status
    - where: bool `[1,1,H,W]`, the pixels that may change; None: all
    """

    record: R
    picture: Picture
    image: Tensor
    goal: Any = None
    attacked: bool | None = None
    where: Tensor | None = None

    @property
    def is_attacked(self) -> bool:
        """Whether it is attacked. An image that is to be left as it is for its own status may be part of a figure."""
        return self.record.status == "" if self.attacked is None else self.attacked


@dataclass(frozen=True, eq=False)
class Saved:
    """What an attack left of an image, `[3,H,W]` on the host.

    - on_file: what a reader of the 8-bit file gets
    - floats: what was attacked, where the attack is judged on floats; else None
    """

    on_file: Tensor
    floats: Tensor | None = None

    @property
    def judged(self) -> Tensor:
        """What the status speaks of."""
        return self.on_file if self.floats is None else self.floats


class Task(ABC, Generic[R, C, M]):
    """What workflows know of a task. R: its records, C: its config, M: its models.

    - name: what `run.json` says
    - methods: the attacks that have a name
    - columns: of a table of methods; keys of the summary and of `comparison_row`
    - image_columns: of a table of images
    - record_columns: of `images.csv`, beside those of every task
    - budget_columns: of a table of budgets, beside those of every task; keys of `budget_row`, and `broken`
    - curves: what is drawn against the budget: the first of which a row has a value
    - manifest_keys: what `run.json` must hold besides, see `manifest`
    - not_taken: options of data sets that are none of this task, by their names
    """

    name: ClassVar[str]
    record_type: type[R]
    config_type: type[C]
    methods: Mapping[str, Attack] = PRESETS
    columns: Sequence[Column] = COLUMNS
    image_columns: Sequence[ImageColumn] = IMAGE_COLUMNS
    record_columns: Sequence[RecordColumn] = ()
    budget_columns: Sequence[Column] = (BROKEN,)
    curves: Sequence[Curve] = (Curve("broken", "share of images broken"),)
    manifest_keys: Sequence[str] = ()
    not_taken: Sequence[str] = ()

    # Before a run

    def make_config(self, **values: Any) -> C:
        """Check the fields of a config, those of a manifest for one. Raises `InputError` naming the wrong value."""
        try:
            return self.config_type(**values)
        except ValidationError as error:
            raise InputError(first_error(error)) from error

    @abstractmethod
    def load_model(self, config: C, device: str | None = None) -> M:
        """Load the model that a config names; on its device, or another. Raises `InputError`."""

    @abstractmethod
    def fingerprint(self, model: M) -> str:
        """Hash what decides the model's answers: models that differ, differ here."""

    def open_dataset(self, source: DatasetSource, model: M, config: C) -> Dataset:
        """Open the images that a source names. Raises `InputError`."""
        return open_dataset(source)

    def adapt_dataset(self, model: M, config: C, dataset: Dataset) -> Dataset:
        """Note in the data set what people should know of it with this model.

        Raises `InputError` for what would fail on every image.
        """
        return dataset

    def check_attack(self, config: C) -> None:
        """Raise `InputError` for an attack that would fail on every image."""

    def passes(self, model: M) -> int:
        """Return how many passes an evaluation of an image takes: one for each loss that is descended at once."""
        return 1

    def fitting_batch(self, model: M, config: C, samples: Sequence[Sample]) -> int:
        """Find the batch size of `--batch auto`."""
        return 1

    def truth(self, model: M, config: C, dataset: Dataset) -> Any:
        """Resolve what an attack needs of the data set beside pixels: labels by image id, for one.

        Once a run; must pickle. Raises `InputError`.
        """
        return None

    def manifest(self, model: M, dataset: Dataset) -> dict[str, Any]:
        """Tell what else `run.json` holds."""
        return {}

    # An image

    @abstractmethod
    def prepare(self, model: M, config: C, record: R, picture: Picture, truth: Any) -> Prepared[R]:
        """Look at the untouched image: what is to be done with it, or the status that says why nothing is."""

    @abstractmethod
    def objective(self, model: M, config: C, prepared: Sequence[Prepared[R]]) -> Objective:
        """Make what the engine minimizes for images of one size."""

    @abstractmethod
    def judge(self, model: M, config: C, prepared: Prepared[R], record: R, saved: Saved) -> R:
        """Complete a record by the model's official inference: its status, unless it has one, and what goes with it."""

    @abstractmethod
    def holds(self, model: M, config: C, record: R, image: Tensor) -> bool:
        """Tell whether the goal of a record holds for `[3,H,W]`, by the official inference: what `verify` asks."""

    def check_within(self, config: C) -> None:
        """Raise `InputError` for a config whose pixels are those of objects, where the task knows none."""
        if config.within and parse_within(config.within).of_objects and type(self).places is Task.places:
            raise InputError(f"--within {config.within}: goes with detectors; task {self.name} knows no boxes")

    def check_mask(self, path: Path, config: C, manifest: Mapping[str, Any]) -> None:
        """Raise `InputError` where the mask of the run in `path` is no longer the one that it was made with."""
        before = manifest.get("mask")
        if before and config.within and parse_within(config.within).digest != before:
            raise InputError(f"{path}: the mask {config.within} is not the one that it was made with")

    def places(self, model: M, config: C, record: R) -> Sequence[Box]:
        """List the boxes of what the goal of a record is about, for `--within box`. Default: none."""
        return ()

    def moved(self, record: R, corruption: Corruption) -> R:
        """Return a record whose goal is about the same things where they are after a corruption."""
        return record

    def check_other(self, model: M, config: C, manifest: Mapping[str, Any]) -> None:
        """Raise `InputError` where another model cannot judge the files of a run, by its manifest."""

    def translated(self, model: M, record: R, manifest: Mapping[str, Any]) -> R:
        """Write a record of a run, by its manifest, for another model, which may number its classes otherwise."""
        return record

    def seen_by(self, model: M, config: C, record: R, original: Tensor, image: Tensor) -> R:
        """Judge both images of a record, `[3,H,W]`, by another model, or after a change.

        Returns the record as that model sees it, with status `already`, `success` or `failure`.
        """
        raise InputError(f"{self.name}: runs of this task are judged by their own model alone")

    # A run

    def write_derived(self, folder: RunFolder[R], dataset: Dataset) -> None:
        """Write what is made from the ledger: `images.csv`, files that others read, and `summary.json`, the last.

        dataset: the annotations.
        """
        write_image_tables(folder, record_columns(self.record_columns))
        folder.write_json("summary.json", self.summarize(folder, dataset))

    def summarize(self, folder: RunFolder[R], dataset: Dataset) -> dict[str, Any]:
        """Sum up a run: the keys of `common_summary` at least."""
        return {**question(folder.manifest["config"]), **common_summary(folder.iterate())}

    def annotations_in(self, folder: RunFolder[R]) -> Dataset:
        """Read the annotations that a finished run keeps; no samples. Raises `InputError`."""
        return Dataset((), "")

    def transfer_scores(
        self, folder: RunFolder[R], model: M, seen: Sequence[R], corruption: Corruption
    ) -> dict[str, Any] | None:
        """Score another model over records as it sees them (`seen_by`): AP, for one; None where there is no score.

        corruption: what both images of the records went through
        """
        return None

    def scores_within(
        self, folder: RunFolder[R], dataset: Dataset, chosen: Sequence[Collection[int]]
    ) -> Sequence[float | None]:
        """Score a run where only the images of each choice are shown attacked; None where there is no score."""
        return [None] * len(chosen)

    def comparison_row(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Tell what a table of methods shows that is no key of the summary."""
        return {}

    def budget_row(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Tell what a table of budgets shows of a run that is no figure of every task."""
        return {}

    # What people read

    def summary_lines(self, summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Tell a run in lines: a name, and what there is to say."""
        return summary_lines(summary)

    def warnings(self, summary: Mapping[str, Any]) -> Iterator[str]:
        """Yield what makes the figures of a run doubtful, loudly said."""
        yield from ()

    def notes(self, summary: Mapping[str, Any]) -> Sequence[str]:
        """List what people should know to read the figures of a run."""
        return ()

    def skipped_lines(self, records: Sequence[R], manifest: Mapping[str, Any]) -> Iterator[str]:
        """Say of each image with nothing to attack what it shows, and what would attack it."""
        yield from (f"{r.stem}: {r.reason}" for r in records if r.status in ("nothing", "already") and r.reason)

    def skipped_line(self, folder: RunFolder[R], summary: Mapping[str, Any]) -> str:
        """Say in a line how many images of a run had nothing to attack, and why; empty where there is none."""
        count = summary["nothing"] + summary["already"]
        return f"{counted(count, 'image')} skipped: nothing to attack" if count else ""

    def title(self, records: Sequence[R]) -> str:
        """Name what a table of images is about."""
        return ""

    def write_figure(self, path: Path, outcome: Outcome[R], model: M, config: C) -> None:
        """Draw the figure of an attacked image; nothing, unless the task has one."""

    def read_run(self, path: Path) -> RunData[R]:
        """Read a run folder for its page. Raises `InputError`."""
        return read_run(path, self.record_type)

    def page_content(self, run: Any, pictures: dict[int, Pictures]) -> Content:
        """Make the content of the page of a run."""
        return common_content(run, pictures)
