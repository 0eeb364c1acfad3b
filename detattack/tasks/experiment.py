"""Experiment: a task's model, config and data set, as what the runner carries out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Generic, Self

import torch

from detattack.core.errors import InputError
from detattack.datasets.base import Dataset, Picture
from detattack.datasets.image_io import read_floats, read_image, to_tensor
from detattack.engine import Attack
from detattack.runs.batching import Batch, part, plan
from detattack.runs.folder import RunFolder
from detattack.runs.manifest import make_manifest
from detattack.runs.record import Outcome
from detattack.runs.runner import AttackBatch
from detattack.tasks.attack_batch import attack_batch
from detattack.tasks.base import C, M, R, Task
from detattack.tasks.within import parse_within


@dataclass(frozen=True, eq=False, repr=False)
class Experiment(Generic[R, C, M]):
    """What is to be run.

    - figures: whether each image gets a figure
    - shard: (i, n), the i-th of n parts of the batches; None: all
    - target_l2: for the control `noise`, the L2 norm by image id, where it is known
    - all_measures: whether all measures of quality are taken, instead of the quick ones
    - start: the run folder, beside this one, of a smaller budget, whose images the attack begins with; None: it begins
      with the untouched ones
    """

    task: Task[R, C, M]
    model: M
    config: C
    dataset: Dataset
    figures: bool = False
    shard: tuple[int, int] | None = None
    target_l2: Mapping[int, float] | None = None
    all_measures: bool = False
    start: Path | None = None

    def __repr__(self) -> str:
        return f"Experiment({self.task.name!r}, {self.config.model!r}, {self.config.attack.name!r}, {self.dataset!r})"

    @property
    def record_type(self) -> type[R]:
        """The records of the task."""
        return self.task.record_type

    @cached_property
    def truth(self) -> Any:
        """What an attack needs of the data set beside pixels, resolved once. Raises `InputError`."""
        return self.task.truth(self.model, self.config, self.dataset)

    def with_attack(self, attack: Attack, target_l2: Mapping[int, float] | None = None, **more: Any) -> Self:
        """Take another attack, of the same model on the same images. more: other fields of the config.

        Raises `InputError`.
        """
        values = self.config.model_dump(exclude=set(self.config.of_method)) | {**more, "attack": attack}
        config = self.task.make_config(**values)
        self.task.check_attack(config)
        return replace(self, config=config, target_l2=target_l2)

    def batches(self) -> list[Batch]:
        """Plan what is to be done, resumed or not: decided over the whole data set."""
        samples = self.dataset.samples
        if self.start is not None:
            samples = tuple(
                replace(one, load=partial(_load_started, one.load, self.start, one.stem)) for one in samples
            )
        return part(plan(samples, self.config.batch), self.shard)

    def attack(self, pictures: list[tuple[R, Picture]]) -> list[Outcome[R]]:
        """Attack images of one size."""
        return self.job()(self.model, pictures)

    def job(self) -> AttackBatch[R]:
        """Make what `attack` does, as another process does it with the same model."""
        return partial(attack_batch, self.task, self.config, self.truth, self.target_l2)

    def loader(self) -> Callable[[], M]:
        """Make what loads the same model in another process."""
        return partial(_load, self.task, self.config, self.task.fingerprint(self.model))

    def write_figures(self, folder: Path, outcomes: list[Outcome[R]]) -> None:
        """Draw the figures of finished images, where they are wanted."""
        if not self.figures:
            return
        (folder / "figures").mkdir(exist_ok=True)
        for outcome in outcomes:
            self.task.write_figure(folder / "figures" / f"{outcome.record.stem}.png", outcome, self.model, self.config)

    def open_folder(self, out: Path, resume: bool = False) -> RunFolder[R]:
        """Open the folder of this run, new or to be continued. Raises `InputError`, and writes nothing then."""
        _ = self.truth  # raises for what is wrong with it
        target_l2 = None if self.target_l2 is None else [[i, self.target_l2[i]] for i in sorted(self.target_l2)]
        manifest = make_manifest(
            self.config.model_dump(mode="json"),
            self.task.fingerprint(self.model),
            self.dataset.fingerprint,
            task=self.task.name,
            images=len(self.dataset.samples),
            annotated=bool(self.dataset.categories),
            shard=None if self.shard is None else list(self.shard),
            lengths=target_l2,
            figures=self.figures,
            all_measures=self.all_measures,
            start=None if self.start is None else self.start.name,
            mask=parse_within(self.config.within).digest if self.config.within else None,
            origin=self.dataset.source and self.dataset.source.as_json(),
            notes=list(self.dataset.notes),
            **self.task.manifest(self.model, self.dataset),
        )
        return RunFolder.create(out, self.record_type, manifest, resume)

    def complete(self, folder: RunFolder[R]) -> None:
        """Write what is made from the ledger: from nothing else, so at any time and to the same bytes."""
        self.task.write_derived(folder, self.dataset)


def _load_started(load: Callable[[], Picture], start: Path, stem: str) -> Picture:
    """Read an image, and what the attack on it begins with: what another run left of it."""
    floats, picture = start / "floats" / f"{stem}.npy", load()
    if floats.is_file():
        height, width = picture.pixels.shape[:2]
        return replace(picture, start=torch.from_numpy(read_floats(floats, height, width)))
    return replace(picture, start=to_tensor(read_image(start / "images" / f"{stem}.png").pixels))


def _load(task: Task[R, C, M], config: C, expected: str) -> M:
    model = task.load_model(config)
    if task.fingerprint(model) != expected:
        raise InputError(f"model {config.model}: its weights are not the same on every machine")
    return model
