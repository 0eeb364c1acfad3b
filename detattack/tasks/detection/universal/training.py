"""Find one change on many images: steps of Adam on minibatches, each step saved, so that it may end at any time.

What a step does follows from the seed and its number alone: a search that was killed goes on to the same bytes.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detattack.core.boxes import Box
from detattack.core.errors import InputError
from detattack.core.files import write_bytes_atomic
from detattack.core.precision import fixed_numerics
from detattack.datasets.base import Dataset, Sample
from detattack.datasets.image_io import to_tensor
from detattack.detectors.base import Detector
from detattack.engine.steps.adam import adam
from detattack.tasks.base import Prepared
from detattack.tasks.detection.config import DetectionConfig
from detattack.tasks.detection.objects import Objects
from detattack.tasks.detection.record import DetectionRecord
from detattack.tasks.detection.task import DETECTION
from detattack.tasks.detection.universal.change import Change

CHECKPOINT = "checkpoint.npz"
MOST_BYTES = 2**30
"""Size of the images of a set, in bytes, up to which they are kept in memory; those of a larger one are read anew."""
BETAS, EPSILON = (0.9, 0.99), 1e-12
"""Of Adam."""
LAST = 0.05
"""The share of the first step's size that is left at the last one."""


@dataclass(frozen=True)
class Recipe:
    """How a change is searched.

    - passes: over the training images
    - batch: images of a step
    - seed: of all that is random
    """

    passes: int
    batch: int
    seed: int

    def steps(self, images: int) -> int:
        """Count the steps of all passes."""
        return self.passes * -(-images // self.batch)

    def chosen(self, step: int, images: int) -> list[int]:
        """List the images of a step, by place: each pass takes all of them in an order of its own."""
        in_pass = -(-images // self.batch)
        order = np.random.default_rng((self.seed, step // in_pass)).permutation(images)
        start = step % in_pass * self.batch
        return [int(i) for i in order[start : start + self.batch]]


@dataclass(frozen=True, eq=False)
class Subject:
    """An image that a change is found or judged on: how it is read, and what is wanted of it."""

    sample: Sample
    prepared: Prepared[DetectionRecord]

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes of its reference objects."""
        return () if self.prepared.goal.target is None else self.prepared.goal.target.objects


def subjects_of(
    model: Detector,
    config: DetectionConfig,
    dataset: Dataset,
    truth: Objects | None,
    progress: Callable[[], None] = lambda: None,
) -> list[Subject]:
    """Look at all images untouched. progress: told of each. Raises `InputError` for one that cannot be read."""
    fits = sum(3 * sample.size[0] * sample.size[1] for sample in dataset.samples) <= MOST_BYTES
    found = []
    for sample in dataset.samples:
        found.append(_looked_at(model, config, replace(sample, load=cache(sample.load)) if fits else sample, truth))
        progress()
    return found


@fixed_numerics(gradient=False)
def _looked_at(model: Detector, config: DetectionConfig, sample: Sample, truth: Objects | None) -> Subject:
    picture = sample.load()
    record = DetectionRecord(sample.id, sample.stem, sample.source, "")
    prepared = DETECTION.prepare(model, config, record, picture, truth)
    bare = replace(picture, pixels=picture.pixels[:0])  # which the sample can read again
    return Subject(sample, replace(prepared, image=prepared.image[:0], picture=bare))


@dataclass
class _State:
    """What a search has come to after `step` steps; losses: the mean of each step, an image."""

    values: Tensor
    mean: Tensor
    square: Tensor
    step: int = 0
    losses: list[float] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        buffer = io.BytesIO()
        arrays = {name: getattr(self, name).numpy() for name in ("values", "mean", "square")}
        np.savez(buffer, step=self.step, losses=np.array(self.losses), **arrays)
        write_bytes_atomic(path, buffer.getvalue())


def _begun(change: Change, path: Path) -> _State:
    """Return the state of a checkpoint, or of the beginning. Raises `InputError` for one that cannot be read."""
    start = change.start()
    if not path.is_file():
        return _State(start, torch.zeros_like(start), torch.zeros_like(start))
    try:
        with np.load(path, allow_pickle=False) as held:
            values, mean, square = (torch.from_numpy(held[name]) for name in ("values", "mean", "square"))
            state = _State(values, mean, square, int(held["step"]), held["losses"].tolist())
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if any(one.shape != start.shape or one.dtype != start.dtype for one in (values, mean, square)):
        raise InputError(f"{path}: is not of this search")
    return state


def train(
    model: Detector,
    config: DetectionConfig,
    subjects: Sequence[Subject],
    change: Change,
    recipe: Recipe,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Tensor, list[float]]:
    """Search the values of a change, or what is left of the search in a folder; those and the losses of all steps.

    progress: told how many steps of how many are done. Raises `InputError`.
    """
    state, total = _begun(change, folder / CHECKPOINT), recipe.steps(len(subjects))
    objective = DETECTION.objective(model, config, [subject.prepared for subject in subjects])
    while state.step < total:
        _step(state, partial(_losses, model, objective, subjects, change, recipe), change, recipe, len(subjects))
        state.save(folder / CHECKPOINT)
        progress(state.step, total)
    return state.values, state.losses


@fixed_numerics()
def _step(
    state: _State, losses: Callable[[Tensor, int], Iterator[Tensor]], change: Change, recipe: Recipe, images: int
) -> None:
    """Do one step of Adam, whose size falls linearly, and bring the values back into their bounds."""
    values, total, count = state.values.clone().requires_grad_(), 0.0, 0
    gradient = torch.zeros_like(values)
    for loss in losses(values, state.step):
        gradient += torch.autograd.grad(loss.sum(), values)[0]
        total, count = total + float(loss.detach().sum()), count + len(loss)
    if not bool(gradient.isfinite().all()):
        raise InputError(f"universal: the model gave a gradient that is not finite at step {state.step + 1}")
    state.step += 1
    state.mean, state.square, direction = adam(state.mean, state.square, gradient, state.step, BETAS, EPSILON)
    size = change.rate * max(LAST, 1 - (state.step - 1) / recipe.steps(images))
    state.values = change.bounded(state.values - size * direction)
    state.losses.append(round(total / count, 6))


def _losses(
    model: Detector,
    objective: Any,
    subjects: Sequence[Subject],
    change: Change,
    recipe: Recipe,
    values: Tensor,
    step: int,
) -> Iterator[Tensor]:
    """Yield the losses `[n]` of the images of a step, those of one size together."""
    by_size: dict[tuple[int, ...], list[tuple[int, Tensor]]] = {}
    for place in recipe.chosen(step, len(subjects)):
        subject = subjects[place]
        image = to_tensor(subject.sample.load().pixels)
        drawn = torch.Generator().manual_seed(_seed(recipe.seed, step, subject.sample.id))
        by_size.setdefault(tuple(image.shape), []).append((place, change.put_on(values, image, subject.boxes, drawn)))
    for group in by_size.values():
        images = torch.stack([image for _, image in group]).to(model.device)
        yield objective(images, torch.tensor([place for place, _ in group])).loss.cpu()


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
