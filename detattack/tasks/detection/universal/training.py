"""Find one change on many images: steps of Adam on minibatches, each step saved, so that it may end at any time.

What a step does follows from the seed and its number alone: a search that was killed goes on to the same bytes.
"""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from detattack.core.boxes import Box
from detattack.core.errors import ImageError, InputError, reason
from detattack.core.files import write_bytes_atomic
from detattack.core.precision import fixed_numerics
from detattack.datasets.base import Dataset, Sample
from detattack.datasets.image_io import to_tensor
from detattack.detectors.base import Detector
from detattack.engine.steps.adam import adam
from detattack.tasks.base import Prepared
from detattack.tasks.detection.config import DetectionConfig
from detattack.tasks.detection.judges import JointObjective
from detattack.tasks.detection.objective import DetectionObjective
from detattack.tasks.detection.objects import Objects
from detattack.tasks.detection.record import DetectionRecord
from detattack.tasks.detection.task import DETECTION
from detattack.tasks.detection.universal.change import Change
from detattack.tasks.detection.universal.left_out import LeftOut, check_left, read, reason_of

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
) -> tuple[list[Subject], LeftOut]:
    """Look at all images untouched; those, and what is left out. progress: told of each."""
    fits = sum(3 * sample.size[0] * sample.size[1] for sample in dataset.samples) <= MOST_BYTES
    found, left_out = [], {}
    for sample in dataset.samples:
        try:
            found.append(_looked_at(model, config, replace(sample, load=cache(sample.load)) if fits else sample, truth))
        except Exception as error:  # the model is someone else's code: whatever it raises concerns this image only
            left_out[sample.source] = reason_of(error, sample)
        progress()
    return found, left_out


@fixed_numerics(gradient=False)
def _looked_at(model: Detector, config: DetectionConfig, sample: Sample, truth: Objects | None) -> Subject:
    picture = read(sample)
    record = DetectionRecord(sample.id, sample.stem, sample.source, "")
    prepared = DETECTION.prepare(model, config, record, picture, truth)
    bare = replace(picture, pixels=picture.pixels[:0])  # which the sample can read again
    return Subject(sample, replace(prepared, image=prepared.image[:0], picture=bare))


@dataclass
class _State:
    """What a search has come to after `step` steps.

    - losses: the mean of each step, an image
    - left_out: images that the model failed on in one of them
    """

    values: Tensor
    mean: Tensor
    square: Tensor
    step: int = 0
    losses: list[float] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        buffer = io.BytesIO()
        arrays = {name: getattr(self, name).numpy() for name in ("values", "mean", "square")}
        left_out = np.frombuffer(json.dumps(self.left_out).encode(), np.uint8)
        np.savez(buffer, step=self.step, losses=np.array(self.losses), left_out=left_out, **arrays)
        write_bytes_atomic(path, buffer.getvalue())


def _begun(change: Change, path: Path) -> _State:
    """Return the state of a checkpoint, or of the beginning. Raises `InputError` for one that cannot be read."""
    start = change.start()
    if not path.is_file():
        return _State(start, torch.zeros_like(start), torch.zeros_like(start))
    try:
        with np.load(path, allow_pickle=False) as held:
            values, mean, square = (torch.from_numpy(held[name]) for name in ("values", "mean", "square"))
            left_out = json.loads(held["left_out"].tobytes())
            state = _State(values, mean, square, int(held["step"]), held["losses"].tolist(), left_out)
    except Exception as error:  # a damaged archive raises errors of zipfile, of NumPy and of Python
        raise InputError(f"{path}: cannot be read ({reason(error)})") from error
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
) -> tuple[Tensor, list[float], LeftOut]:
    """Search the values of a change, or what is left of the search in a folder.

    Returns the values, the losses of all steps, and the images that the model failed on: a search goes on without them.
    progress: told how many steps of how many are done. Raises `InputError`.
    """
    state, total = _begun(change, folder / CHECKPOINT), recipe.steps(len(subjects))
    objective = DETECTION.objective(model, config, [subject.prepared for subject in subjects])
    descent = _Descent(model, objective, subjects, change, recipe)
    descent.settle_scales(state)
    while state.step < total:
        descent.step(state)
        check_left("training images", len(subjects) - len(state.left_out), state.left_out)
        state.save(folder / CHECKPOINT)
        progress(state.step, total)
    return state.values, state.losses, state.left_out


Group = Sequence[int]
"""Images by place, all of one size."""


@dataclass(frozen=True, eq=False)
class _Descent:
    """The steps of a search. objective: whose row i is subject i."""

    model: Detector
    objective: DetectionObjective | JointObjective
    subjects: Sequence[Subject]
    change: Change
    recipe: Recipe

    @fixed_numerics(gradient=False)
    def settle_scales(self, state: _State) -> None:
        """Settle how losses of several detectors are scaled: by each image untouched, resumed or not."""
        if not isinstance(self.objective, JointObjective):
            return
        for place, subject in enumerate(self.subjects):
            try:
                image = to_tensor(read(subject.sample).pixels)[None].to(self.model.device)
                self.objective(image, torch.tensor([place]))
            except Exception as error:  # as in `subjects_of`
                state.left_out[subject.sample.source] = reason_of(error, subject.sample)

    @fixed_numerics()
    def step(self, state: _State) -> None:
        """Do one step of Adam, whose size falls linearly, and bring the values back into their bounds.

        Without an image that the model can be asked about, it moves nothing.
        """
        gradient, total, count = torch.zeros_like(state.values), 0.0, 0
        for own, losses in self._gradients(state):
            gradient += own
            total, count = total + float(losses.sum()), count + len(losses)
        state.step += 1
        if not count:
            return
        state.mean, state.square, direction = adam(state.mean, state.square, gradient, state.step, BETAS, EPSILON)
        size = self.change.rate * max(LAST, 1 - (state.step - 1) / self.recipe.steps(len(self.subjects)))
        state.values = self.change.bounded(state.values - size * direction)
        state.losses.append(round(total / count, 6))

    def _gradients(self, state: _State) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield gradient and losses `[n]` of the images of a step, those of one size together."""
        by_size: dict[tuple[int, int], list[int]] = {}
        for place in self.recipe.chosen(state.step, len(self.subjects)):
            record = self.subjects[place].prepared.record
            if record.source not in state.left_out:
                by_size.setdefault((record.height, record.width), []).append(place)
        for group in by_size.values():
            yield from self._tried(state, group)

    def _tried(self, state: _State, group: Group) -> list[tuple[Tensor, Tensor]]:
        """Return gradient and losses of a group, where it fails those of each image; what fails alone is left out."""
        sample = self.subjects[group[0]].sample
        try:
            return [self._gradient(state, group)]
        except Exception as error:  # as in `subjects_of`
            said = reason_of(error, sample)
        if len(group) > 1:
            return [one for place in group for one in self._tried(state, [place])]
        state.left_out[sample.source] = said
        return []

    def _gradient(self, state: _State, group: Group) -> tuple[Tensor, Tensor]:
        """Raise `ImageError` for an image that cannot be read, or whose loss or gradient is not finite."""
        values = state.values.clone().requires_grad_()
        images = torch.stack([self._changed(values, state.step, self.subjects[place]) for place in group])
        losses = self.objective(images.to(self.model.device), torch.tensor(group)).loss.cpu()
        gradient = torch.autograd.grad(losses.sum(), values)[0]
        if not bool(losses.isfinite().all() and gradient.isfinite().all()):
            raise ImageError("the model gave a loss or a gradient that is not finite")
        return gradient, losses.detach()

    def _changed(self, values: Tensor, step: int, subject: Subject) -> Tensor:
        image = to_tensor(read(subject.sample).pixels)
        drawn = torch.Generator().manual_seed(_seed(self.recipe.seed, step, subject.sample.id))
        return self.change.put_on(values, image, subject.boxes, drawn)


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
