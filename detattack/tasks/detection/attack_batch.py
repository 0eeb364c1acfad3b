"""One batch of images, from pixels to a verdict: clean detections, goal, attack, and a judgment from the very
bytes that are to be saved."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from detattack.core.errors import InputError
from detattack.core.precision import fixed_numerics
from detattack.core.types import Detections
from detattack.datasets.base import Picture
from detattack.datasets.image_io import decode_png, png_bytes, to_pixels, to_tensor
from detattack.detectors.base import Detector
from detattack.detectors.fast import AcceleratedDetector
from detattack.engine import PRESETS, AttackResult, run, run_control
from detattack.metrics.image_quality import measure, quick_measures
from detattack.runs.record import Outcome
from detattack.tasks.base import image_seeds, with_books
from detattack.tasks.detection.config import RunConfig
from detattack.tasks.detection.goals import CleanImage, Target, parse_goal
from detattack.tasks.detection.objective import DetectionObjective
from detattack.tasks.detection.record import Record, as_lists
from detattack.tasks.detection.skipped import skip_reason


@dataclass(frozen=True, eq=False)
class _Prepared:
    """An image on its way: tensor `[1,3,H,W]`, clean detections, target (None where the goal cannot be)."""

    record: Record
    picture: Picture
    image: Tensor
    clean: Detections
    target: Target | None
    seed: int


@fixed_numerics()
def run_batch(
    detector: Detector,
    config: RunConfig,
    pictures: list[tuple[Record, Picture]],
    lengths: Mapping[int, float] | None = None,
) -> list[Outcome]:
    """Attacks images of one size. Each comes with a `Record` that names it (`id`, `stem`, `source`).

    lengths: for the control `noise`, the L2 by image id, where it is known from a run of `jnd`.
    """
    started = time.perf_counter()
    prepared = [_prepare(detector, config, record, picture) for record, picture in pictures]
    todo = [one for one in prepared if one.record.status == ""]
    result = _attack(detector, config, todo, lengths or {})
    seconds = (time.perf_counter() - started) / len(pictures)
    rows = {one.record.id: row for row, one in enumerate(todo)}
    return [_judge(detector, config, one, result, rows.get(one.record.id), seconds) for one in prepared]


def detected(detector: Detector, config: RunConfig, image: Tensor) -> Detections:
    """What the official inference reports for `[3,H,W]`, on the CPU, down to the detector's own threshold, or τ
    where that is lower. Raises ValueError for what breaks the contract of a detector."""
    floor = min(detector.eval_threshold, config.score_threshold)
    with fixed_numerics(gradient=False):
        found = detector.detect(image[None].to(detector.device), floor)[0].cpu()
    if not (found.boxes.isfinite().all() and found.scores.isfinite().all()):
        raise ValueError("the model's detections are not finite")
    if len(found) and not 0 <= found.labels.min() <= found.labels.max() < len(detector.categories):
        raise ValueError(f"the model's labels are not all from 0 to {len(detector.categories) - 1}")
    return found


def _prepare(detector: Detector, config: RunConfig, record: Record, picture: Picture) -> _Prepared:
    height, width = picture.pixels.shape[:2]
    image = to_tensor(picture.pixels)[None].to(detector.device)
    clean = detected(detector, config, image[0])
    shown = clean.above(config.score_threshold)
    record = replace(record, width=width, height=height, notes=picture.notes, clean=as_lists(clean))
    goal_seed, noise_seed = image_seeds(config.seed, record.id)
    untouched = CleanImage(width, height, shown, (goal_seed,), picture.road)
    goal = parse_goal(config.goal)
    record = replace(record, goal=str(goal))
    try:
        target = goal.resolve(detector.categories, untouched, config.keep_others)
    except InputError as error:
        return _Prepared(replace(record, status="error", reason=str(error)), picture, image, clean, None, 0)
    status = goal.initial_status(target, shown) or ""
    if status == "nothing":
        _check_scores(detector, image)
    record = replace(
        record,
        status=status,
        reason=skip_reason(target, clean, detector.categories, config.score_threshold) if status else "",
        box=target.box,
        objects=target.objects,
        kept=target.kept,
        confidence_before=goal.confidence(target, clean),
    )
    return _Prepared(record, picture, image, clean, target, noise_seed)


@torch.no_grad()
def _check_scores(detector: Detector, image: Tensor) -> None:
    """Raises ValueError where a detector that finds nothing gives no numbers: NaN is above no threshold."""
    candidates = detector.candidates(image)
    logits = candidates.logits if candidates.valid is None else candidates.logits[candidates.valid]
    if logits.isnan().any():
        raise ValueError("the model's scores are NaN")


def _attack(
    detector: Detector, config: RunConfig, todo: list[_Prepared], lengths: Mapping[int, float]
) -> AttackResult | None:
    if not todo:
        return None
    images = torch.cat([one.image for one in todo])
    targets = [one.target for one in todo if one.target]
    fast, nearest = AcceleratedDetector(detector, config.precision), config.attack.stop == "budget"
    objective = DetectionObjective(fast, targets, config.score_threshold, nearest)
    seeds = [one.seed for one in todo]
    with fixed_numerics(tf32=config.precision == "bf16"):
        if config.attack.step == "noise":
            known = [lengths.get(one.record.id) for one in todo]
            return run_control(config.attack, images, objective, known, seeds, PRESETS["jnd"], config.batch)
        return run(config.attack, images, objective, config.batch, seeds)


def _judge(
    detector: Detector,
    config: RunConfig,
    one: _Prepared,
    result: AttackResult | None,
    row: int | None,
    seconds: float,
) -> Outcome:
    record, original = one.record, one.picture.pixels
    floats = None
    pixels = original
    if result is not None and row is not None:
        record = with_books(record, result, row)
        pixels = original if record.status == "error" else to_pixels(result.images[row].cpu())
        if config.attack.levels is None and record.status != "error":
            floats = result.images[row].float().cpu().numpy()
    png = png_bytes(pixels)
    # Judged from what a reader of the file gets, not from the array that was written.
    pixels = decode_png(png)
    record = replace(record, seconds=seconds, digest=hashlib.sha256(png).hexdigest())
    record = _with_verdict(detector, config, record, one, pixels, floats)
    return Outcome(record, original, png, pixels, floats)


def _with_verdict(
    detector: Detector,
    config: RunConfig,
    record: Record,
    one: _Prepared,
    pixels: np.ndarray,
    floats: np.ndarray | None,
) -> Record:
    on_file = detected(detector, config, to_tensor(pixels))
    record = replace(record, adversarial=as_lists(on_file))
    if one.target is None or record.status:
        return record
    judged = on_file if floats is None else detected(detector, config, torch.from_numpy(floats))
    above = judged.above(config.score_threshold)
    seen = pixels if floats is None else floats.transpose(1, 2, 0)
    return replace(
        record,
        status="success" if one.target.holds(above) else "failure",
        file_success=one.target.holds(on_file.above(config.score_threshold)),
        confidence_after=one.target.goal.confidence(one.target, judged),
        asked_iou=one.target.goal.asked_iou(one.target, above),
        quality=measure(one.picture.pixels, seen, quick_measures()).as_json(),
    )
