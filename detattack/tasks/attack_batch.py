"""One batch of images of any task: from pixels to a verdict from the very bytes that are saved."""

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detattack.core.errors import InputError
from detattack.core.precision import fixed_numerics
from detattack.datasets.base import Picture
from detattack.datasets.image_io import decode_png, png_bytes, to_pixels, to_tensor
from detattack.engine import AttackResult, run, run_control, run_deepfool, run_ensemble, run_random_search
from detattack.metrics.image_quality import measure, quick_measures
from detattack.runs.record import Outcome
from detattack.tasks.base import C, M, Prepared, R, Saved, Task
from detattack.tasks.robust import after_corruptions, robust_objective, survived
from detattack.tasks.within import parse_within

REFERENCE = "jnd"
"""The method whose L2 the control `noise` takes where nothing else is known."""


@fixed_numerics()
def attack_batch(
    task: Task[R, C, M],
    config: C,
    truth: Any,
    target_l2: Mapping[int, float] | None,
    model: M,
    pictures: Sequence[tuple[R, Picture]],
) -> list[Outcome[R]]:
    """Attack images of one size, and judge what is to be saved.

    - truth: what the task has resolved of the data set (`Task.truth`)
    - target_l2: for the control `noise`, the L2 norm by image id, where it is known from a run of `jnd`
    - pictures: each with a record that names it (`id`, `stem`, `source`)
    """
    started = time.perf_counter()
    prepared = [
        _confined(task, model, config, task.prepare(model, config, record, picture, truth))
        for record, picture in pictures
    ]
    attacked = [one for one in prepared if one.is_attacked]
    result = _attack(task, model, config, attacked, target_l2 or {}) if attacked else None
    seconds = (time.perf_counter() - started) / len(pictures)
    rows = {one.record.id: row for row, one in enumerate(attacked)}
    return [_outcome(task, model, config, one, result, rows.get(one.record.id), seconds) for one in prepared]


def _confined(task: Task[R, C, M], model: M, config: C, prepared: Prepared[R]) -> Prepared[R]:
    """Say which pixels of an image may change. An image where none may is a failure at once."""
    if config.within is None or not prepared.is_attacked:
        return prepared
    record = prepared.record
    try:
        mask = mask_of(task, model, config, record)
    except InputError as error:
        return replace(prepared, record=replace(record, status="error", reason=str(error)), attacked=False)
    if mask.any():
        return replace(prepared, where=torch.from_numpy(mask)[None, None].to(prepared.image.device))
    if not record.status:
        said = f"--within {config.within}: leaves nothing to change"
        record = replace(record, status="failure", reason=said, confidence_after=record.confidence_before)
    return replace(prepared, record=record, attacked=False)


def mask_of(task: Task[R, C, M], model: M, config: C, record: R) -> NDArray[np.bool_]:
    """Make the mask `[H,W]` of the pixels that may change in the image of a record, for a config with `within`.

    Raises `InputError` for an image that it does not fit.
    """
    within = parse_within(config.within or "")
    boxes = task.places(model, config, record) if within.of_objects else ()
    return within.mask((record.width, record.height), boxes)


def digest_of(pixels: NDArray[np.uint8]) -> str:
    """Hash some pixels, `[n,3]`."""
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def image_seeds(seed: int, image_id: int) -> tuple[int, int]:
    """Derive the seeds of an image's own randomness, of its goal and of its attack, from (seed, image id) alone."""
    goal, attack = np.random.SeedSequence((seed, image_id)).generate_state(2)
    return int(goal), int(attack)


def _attack(
    task: Task[R, C, M], model: M, config: C, attacked: Sequence[Prepared[R]], target_l2: Mapping[int, float]
) -> AttackResult:
    attack, images = config.attack, torch.cat([one.image for one in attacked])
    ids = [one.record.id for one in attacked]
    seeds = [image_seeds(config.seed, image_id)[1] for image_id in ids]
    objective = robust_objective(task, model, config, attacked, seeds)
    where = None if config.within is None else torch.cat([one.where for one in attacked if one.where is not None])
    with fixed_numerics(tf32=config.precision == "bf16"):
        if attack.step == "noise":
            known = [target_l2.get(image_id) for image_id in ids]
            reference = task.methods[REFERENCE]
            return run_control(attack, images, objective, known, seeds, reference, config.batch, where)
        if attack.step == "deepfool" and hasattr(objective, "margins"):  # a boundary for each class
            return run_deepfool(attack, images, objective, config.batch, where)
        starts = starts_of(attacked)
        if attack.step == "square":
            return run_random_search(attack, images, objective, seeds, starts, where)
        if attack.step == "ensemble":
            return run_ensemble(attack, images, objective, config.batch, seeds, starts, where)
        return run(attack, images, objective, config.batch, seeds, starts, where)


def starts_of(attacked: Sequence[Prepared[R]]) -> torch.Tensor | None:
    """Return where the iterates begin, `[n,3,H,W]`: what a smaller budget left; None: at the images."""
    if all(one.picture.start is None for one in attacked):
        return None
    starts = [one.image[0] if one.picture.start is None else one.picture.start.to(one.image) for one in attacked]
    return torch.stack(starts)


def _outcome(
    task: Task[R, C, M],
    model: M,
    config: C,
    prepared: Prepared[R],
    result: AttackResult | None,
    row: int | None,
    seconds: float,
) -> Outcome[R]:
    record, original, floats = prepared.record, prepared.picture.pixels, None
    pixels = original
    if result is not None and row is not None:
        record = with_bookkeeping(record, result, row)
        if record.status != "error":
            pixels = to_pixels(result.images[row].cpu())
            floats = result.images[row].float().cpu() if config.attack.levels is None else None
    png = png_bytes(pixels)
    pixels = decode_png(png)  # judged from what a reader of the file gets, not from the array that was written
    record = replace(record, seconds=seconds, digest=hashlib.sha256(png).hexdigest())
    if prepared.where is not None:
        outside = ~prepared.where[0, 0].cpu().numpy()
        record = replace(record, outside_digest=digest_of(original[outside]))
    as_array = None if floats is None else floats.numpy()
    if (prepared.is_attacked or record.status == "failure") and record.status != "error":
        seen = pixels if as_array is None else as_array.transpose(1, 2, 0)
        record = replace(record, quality=measure(original, seen, quick_measures()).as_json())
    saved = Saved(to_tensor(pixels), floats)
    record = task.judge(model, config, prepared, record, saved)
    if config.corruptions and record.status in ("success", "failure"):
        record = after_corruptions(record, survived(task, model, config, record, saved.judged))
    return Outcome(record, original, png, pixels, as_array)


def with_bookkeeping(record: R, result: AttackResult, row: int) -> R:
    """Note in a record what an attack found for image `row` of its batch.

    Its status is for the judge, unless it had one before, or the model gave no numbers: `error`.
    """
    finite = bool(result.finite[row])
    trace = {
        name: [round(v, 6) for v in values[:, row].tolist() if math.isfinite(v)]
        for name, values in vars(result.trace).items()
    }
    return replace(
        record,
        status=record.status if finite else "error",
        reason=record.reason if finite else "the model gave a loss or gradient that is not finite",
        k=int(result.first_iteration[row]),
        forwards=int(result.forwards[row]),
        backwards=int(result.backwards[row]),
        trace=trace,
    )
