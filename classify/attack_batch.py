"""One batch of images against a classifier, from pixels to a verdict from the very bytes that are to be saved."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from classify.config import ClassifyConfig
from classify.datasets import ClassNames
from classify.methods import PRESETS
from classify.models.fast import fast_classifier
from classify.objective import ClassificationObjective, shares
from classify.types import ClassGoal, Classifier
from detattack.core.errors import unknown
from detattack.core.precision import fixed_numerics
from detattack.datasets.base import Picture
from detattack.datasets.image_io import decode_png, png_bytes, to_pixels, to_tensor
from detattack.engine import AttackResult, run, run_control, run_deepfool
from detattack.metrics.image_quality import measure, quick_measures
from detattack.runs.record import BaseRecord, Found, Outcome
from detattack.tasks.base import image_seeds, with_books

TOP = 5
"""How many of the likeliest classes a record keeps."""


@dataclass(frozen=True, repr=False)
class ClassificationRecord(BaseRecord):
    """What is known of one attacked image in the end; a row of the ledger.

    label: what the image shows, −1 where nobody said. leaves: the class to leave: the label, or the prediction where
    there is none. wrong: the class to go to. clean, adversarial: the likeliest classes, `labels` and `scores`, the
    latter of what `status` speaks of. file_label: the prediction for the 8-bit file. file_quality: measures of the
    8-bit file, where `status` speaks of floats.
    """

    task: ClassVar[str] = "classify"
    long: ClassVar[tuple[str, ...]] = ("trace",)

    label: int = -1
    leaves: int = -1
    wrong: int = -1
    targeted: bool = False
    clean: Found = field(default_factory=dict)
    adversarial: Found = field(default_factory=dict)
    file_label: int = -1
    file_quality: dict[str, float | None] = field(default_factory=dict)

    @property
    def goal(self) -> ClassGoal:
        """What the image is judged by."""
        return ClassGoal(self.leaves, self.wrong, self.targeted)

    @property
    def predicted(self) -> int:
        """The class of the clean image; −1 where it is unknown."""
        return self.clean["labels"][0] if self.clean else -1


@dataclass(frozen=True, eq=False)
class _Prepared:
    record: ClassificationRecord
    picture: Picture
    image: Tensor


@fixed_numerics()
def run_batch(
    classifier: Classifier,
    config: ClassifyConfig,
    pictures: list[tuple[ClassificationRecord, Picture]],
    labels: Mapping[int, int | None],
    lengths: Mapping[int, float] | None = None,
) -> list[Outcome[ClassificationRecord]]:
    """Attacks images of one size. Each comes with a record that names it (`id`, `stem`, `source`).

    labels: by image id. lengths: for the control `noise`, the L2 by image id, where it is known from a run of `jnd`.
    """
    started = time.perf_counter()
    prepared = [_prepare(classifier, config, record, picture, labels.get(record.id)) for record, picture in pictures]
    todo = [one for one in prepared if one.record.status == ""]
    result = _attack(classifier, config, todo, lengths or {}) if todo else None
    seconds = (time.perf_counter() - started) / len(pictures)
    rows = {one.record.id: row for row, one in enumerate(todo)}
    return [_judge(classifier, config, one, result, rows.get(one.record.id), seconds) for one in prepared]


def target_index(config: ClassifyConfig, classifier: Classifier) -> int | None:
    """The class that images should be taken for, by its name or its number; None: any. Raises `InputError`."""
    if config.target is None:
        return None
    named = ClassNames(classifier.classes).find(config.target)
    if named is not None:
        return named
    if config.target.isdecimal() and int(config.target) < len(classifier.classes):
        return int(config.target)
    raise unknown("class", config.target, classifier.classes)


def wanted(config: ClassifyConfig) -> float:
    """The confidence in the wrong class that makes a success; 0 where being first is enough."""
    return config.attack.stop_confidence if config.attack.stop == "confidence" else 0.0


def likeliest(probabilities: Tensor) -> dict[str, list]:
    """The likeliest classes of `[K]`, as plain lists."""
    scores, labels = probabilities.topk(min(TOP, len(probabilities)))
    return {"labels": labels.tolist(), "scores": scores.tolist()}


def _prepare(
    classifier: Classifier, config: ClassifyConfig, record: ClassificationRecord, picture: Picture, label: int | None
) -> _Prepared:
    height, width = picture.pixels.shape[:2]
    image = to_tensor(picture.pixels)[None].to(classifier.device)
    record = replace(record, width=width, height=height, notes=picture.notes, label=-1 if label is None else label)
    if min(height, width) < classifier.smallest:
        raise ValueError(f"the image is {width}x{height}, {classifier.name} takes {classifier.smallest} pixels and up")
    clean = shares(classifier, image[0])
    leaves = int(clean.argmax()) if label is None else label
    target = target_index(config, classifier)
    wrong = _likeliest_wrong(clean, leaves) if target is None else target
    goal = ClassGoal(leaves, wrong, target is not None)
    already = goal.reached(clean) or (goal.targeted and leaves == wrong)
    record = replace(
        record,
        status="already" if already else "",
        reason=_skip_reason(goal, clean, classifier.classes) if already else "",
        leaves=leaves,
        wrong=wrong,
        targeted=goal.targeted,
        clean=likeliest(clean),
        confidence_before=goal.confidence(clean),
    )
    return _Prepared(record, picture, image)


def _skip_reason(goal: ClassGoal, clean: Tensor, classes: Sequence[str]) -> str:
    """Why an image is left as it is: what the classifier takes it for untouched."""
    predicted = int(clean.argmax())
    taken = f"taken for {classes[predicted]} {float(clean[predicted]):.2f} untouched"
    if not goal.targeted:
        return f"{taken}, not for {classes[goal.label]}"
    return f"{taken}, the target" if predicted == goal.wrong else f"shows {classes[goal.wrong]}, the target; {taken}"


def _likeliest_wrong(probabilities: Tensor, label: int) -> int:
    others = probabilities.clone()
    others[label] = -1.0
    return int(others.argmax())


def _attack(
    classifier: Classifier, config: ClassifyConfig, todo: list[_Prepared], lengths: Mapping[int, float]
) -> AttackResult:
    images = torch.cat([one.image for one in todo])
    goals = [one.record.goal for one in todo]
    attacked = fast_classifier(classifier, config.precision)
    objective = ClassificationObjective(classifier, goals, config.loss, config.classes, wanted(config), attacked)
    seeds = [image_seeds(config.seed, one.record.id)[1] for one in todo]
    with fixed_numerics(tf32=config.precision == "bf16"):
        if config.attack.step == "noise":
            known = [lengths.get(one.record.id) for one in todo]
            return run_control(config.attack, images, objective, known, seeds, PRESETS["jnd"], config.batch)
        if config.attack.step == "deepfool":
            return run_deepfool(config.attack, images, objective, config.batch)
        return run(config.attack, images, objective, config.batch, seeds)


def _judge(
    classifier: Classifier,
    config: ClassifyConfig,
    one: _Prepared,
    result: AttackResult | None,
    row: int | None,
    seconds: float,
) -> Outcome[ClassificationRecord]:
    record, original = one.record, one.picture.pixels
    floats, pixels = None, original
    if result is not None and row is not None:
        record = with_books(record, result, row)
        pixels = original if record.status == "error" else to_pixels(result.images[row].cpu())
        if config.attack.levels is None and record.status != "error":
            floats = result.images[row].float().cpu().numpy()
    png = png_bytes(pixels)
    # Judged from what a reader of the file gets, not from the array that was written.
    pixels = decode_png(png)
    record = replace(record, seconds=seconds, digest=hashlib.sha256(png).hexdigest())
    return Outcome(_with_verdict(classifier, config, record, original, pixels, floats), original, png, pixels, floats)


def _with_verdict(
    classifier: Classifier,
    config: ClassifyConfig,
    record: ClassificationRecord,
    original: np.ndarray,
    pixels: np.ndarray,
    floats: np.ndarray | None,
) -> ClassificationRecord:
    on_file = shares(classifier, to_tensor(pixels))
    judged = on_file if floats is None else shares(classifier, torch.from_numpy(floats))
    record = replace(record, adversarial=likeliest(judged), file_label=int(on_file.argmax()))
    if record.status:
        return record
    seen = pixels if floats is None else floats.transpose(1, 2, 0)
    return replace(
        record,
        status="success" if record.goal.reached(judged, wanted(config)) else "failure",
        file_success=record.goal.reached(on_file, wanted(config)),
        confidence_after=record.goal.confidence(judged),
        quality=measure(original, seen, quick_measures()).as_json(),
        file_quality={} if floats is None else measure(original, pixels, quick_measures()).as_json(),
    )
