"""Universal: one change found on some images and judged on others, beside noise; and a change put onto any images."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detattack import __version__
from detattack.core.boxes import Box, from_xywh
from detattack.core.categories import find_name
from detattack.core.errors import InputError, unknown
from detattack.core.files import write_bytes_atomic, write_text_atomic
from detattack.core.types import DetectorCard
from detattack.core.wording import counted
from detattack.datasets.base import Dataset, Sample
from detattack.datasets.image_io import png_bytes, to_pixels, to_tensor
from detattack.datasets.source import DatasetSource
from detattack.engine import Attack
from detattack.engine.budget import Budget
from detattack.engine.config import named_attack
from detattack.runs.folder import claimed
from detattack.runs.manifest import make_manifest
from detattack.runs.record import Outcome
from detattack.tasks.detection.coco_export import coco_annotations
from detattack.tasks.detection.figure import write_attack_figure
from detattack.tasks.detection.goals.text import ALL
from detattack.tasks.detection.record import DetectionRecord
from detattack.tasks.detection.task import DETECTION
from detattack.tasks.detection.universal import (
    CHECKPOINT,
    LARGEST_SIDE,
    Change,
    Judged,
    Patch,
    Perturbation,
    Recipe,
    SavedChange,
    Subject,
    judge,
    subjects_of,
    train,
    write_change,
)
from detattack.tasks.experiment import Experiment
from detattack.workflows.evaluate import make_experiment, notes_of

UNIVERSAL = "universal"
"""The task of the manifest of a search."""
RESULT = "result.json"
FIGURES = 4
"""Judged images that are drawn."""
WHOLE_RANGE = Budget("linf", 255)
"""What a patch may change of the pixels that it covers."""
LOSS = "unmatch"
"""What is descended where no loss is named: it rests at objects that are missed, and leaves the others the gradient."""
NOBODY = DetectorCard("", (), 0.0)
"""Whose classes name those of a data set that has none."""
DECIDING = ("task", "config", "model", "data", "change", "recipe", "split")
"""The keys of the manifest that a resumed search must share with the one it continues."""


Told = Callable[[str, int, int], None]
"""Who is told how far a search is: what is done, how much of it, and of how much."""


@dataclass(frozen=True, eq=False)
class Search:
    """A checked search: model and training images, images to judge, what is searched and how."""

    experiment: Experiment[Any, Any, Any]
    judged: Dataset
    change: Change
    on: str
    recipe: Recipe

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What `run.json` holds."""
        config, data = self.experiment.config, self.experiment.dataset
        return make_manifest(
            config.model_dump(mode="json"),
            DETECTION.fingerprint(self.experiment.model),
            data.fingerprint,
            task=UNIVERSAL,
            change={"kind": self.change.kind, **asdict(self.change)},
            recipe=asdict(self.recipe),
            split=sorted(sample.source for sample in self.judged.samples),
            **DETECTION.manifest(self.experiment.model, data),
        )


def make_search(
    values: Mapping[str, Any],
    change: Change,
    on: str,
    source: DatasetSource,
    judged: DatasetSource | None,
    held_out: int | None,
    recipe: Recipe,
) -> Search:
    """Load model and images, and check all that can be known before the first file is written.

    - values: fields of the config of a detector's run, but for goal, attack, batch and seed
    - change: what is searched
    - on: the class of the objects that are not to be found any more, or `all`
    - source: the training images
    - judged: the images to judge on; None: some of the training images are held out instead
    - held_out: how many; None: half of them

    Raises `InputError`.
    """
    config = {**values, "goal": f"degrade:{on}", "loss": values.get("loss") or LOSS, "seed": recipe.seed}
    experiment = make_experiment(DETECTION, config, attack_on(change), source, recipe.batch)
    others = None if judged is None else DETECTION.open_dataset(judged, experiment.model, experiment.config)
    return search_of(experiment, others, change, on, held_out, recipe)


def attack_on(change: Change) -> Attack:
    """Make the attack whose goal and losses a change is found by. Raises `InputError` for a change of no size."""
    check_size(change)
    budget = change.budget if isinstance(change, Perturbation) else WHOLE_RANGE
    return budget.spent_by(named_attack("pgd-linf" if budget.norm == "linf" else "pgd-l2"))


def search_of(
    experiment: Experiment[Any, Any, Any],
    judged: Dataset | None,
    change: Change,
    on: str,
    held_out: int | None,
    recipe: Recipe,
) -> Search:
    """Make a search of an experiment by the attack of `attack_on`, on its images. All else as of `make_search`."""
    model, config, training = experiment.model, experiment.config, experiment.dataset
    if judged is None:
        training, held = split(training, held_out, recipe.seed)
    else:
        held = DETECTION.adapt_dataset(model, config, judged)
        check_apart(training, held)
    if training.categories and held.categories and config.reference != "detections":
        check_objects(on, len(boxes_of(training, on)), len(boxes_of(held, on)))
    return Search(replace(experiment, dataset=training), held, change, on, recipe)


def split(dataset: Dataset, held_out: int | None, seed: int) -> tuple[Dataset, Dataset]:
    """Part a data set by chance: training images, and `held_out` ones (None: half) to judge on. Raises `InputError`."""
    count = len(dataset.samples)
    held = count // 2 if held_out is None else held_out
    if not 0 < held < count:
        raise InputError(
            f"--held-out {held}: of {counted(count, 'image')} at least one is to be judged and one to be trained on"
        )
    order = [dataset.samples[int(i)].id for i in np.random.default_rng(seed).permutation(count)]
    training = dataset.pick(order[held:], f"but {held} of seed {seed}")
    return training, dataset.pick(order[:held], f"{held} of seed {seed}")


def check_apart(training: Dataset, judged: Dataset) -> None:
    """Raise `InputError` where an image is in both sets, by its content."""
    known = {_content(sample): sample.source for sample in training.samples}
    for sample in judged.samples:
        if _content(sample) in known:
            raise InputError(f"{sample.source}: is to be judged, and is trained on too ({known[_content(sample)]})")


def _content(sample: Sample) -> str:
    path = Path(sample.source)
    return sha256(path.read_bytes() if path.is_file() else sample.load().pixels.tobytes()).hexdigest()


def check_size(change: Change) -> None:
    """Raise `InputError` for a tile or patch of no possible size, and for a patch that covers no share of an object."""
    option = "--patch" if isinstance(change, Patch) else "--tile"
    if not 1 <= change.side <= LARGEST_SIDE:
        raise InputError(f"{option} {change.side}: from 1 to {LARGEST_SIDE} pixels")
    if isinstance(change, Patch) and not 0 < change.share <= 1:
        raise InputError(f"--share {change.share:g}: above 0, at most 1, a share of the object's area")


def find(
    search: Search,
    out: Path,
    resume: bool = False,
    told: Told = lambda what, done, total: None,
    say: Callable[[str], None] = lambda note: None,
) -> dict[str, Any]:
    """Carry out a search, or what is left of it, into a folder; what came of it, as `result.json` has it.

    Raises `InputError`, and KeyboardInterrupt with the folder resumable.
    """
    looked_at = None if (out / RESULT).is_file() else _looked_at(search, told)  # what is refused leaves no folder
    with claimed(out, search.manifest, resume, DECIDING):
        if looked_at is None:
            return dict(json.loads((out / RESULT).read_bytes()))
        for note in notes_of(search.experiment):
            say(note)
        result = _found(search, *looked_at, out, told)
        write_text_atomic(out / RESULT, json.dumps(result, indent=1, allow_nan=False) + "\n")
        (out / CHECKPOINT).unlink(missing_ok=True)
        return result


def _looked_at(search: Search, told: Told) -> tuple[list[Subject], list[Subject]]:
    """Look at all images untouched: those to train on, with objects alone, and those to judge. Raises `InputError`."""
    model, config, sets = search.experiment.model, search.experiment.config, (search.experiment.dataset, search.judged)
    total = sum(len(dataset.samples) for dataset in sets)
    looked = iter(range(1, total + 1))

    def look(dataset: Dataset) -> list[Subject]:
        truth = DETECTION.truth(model, config, dataset)
        return subjects_of(model, config, dataset, truth, lambda: told("looking", next(looked), total))

    training, judged = map(look, sets)
    training = [one for one in training if one.boxes]
    check_objects(search.on, len(training), sum(len(one.boxes) > 0 for one in judged))
    return training, judged


def check_objects(on: str, training: int, judged: int) -> None:
    """Raise `InputError` where no image to train on, or none to judge on, has an object of the class, or of `all`."""
    for name, count in (("training images", training), ("images to judge on", judged)):
        if not count:
            what = "an object" if on == ALL else f"a {on}"
            raise InputError(f"universal: none of the {name} has {what}")


def _found(
    search: Search, subjects: Sequence[Subject], others: Sequence[Subject], out: Path, told: Told
) -> dict[str, Any]:
    """Search, judge and write the change; what came of it."""
    model, config, change, recipe = search.experiment.model, search.experiment.config, search.change, search.recipe
    values, losses = train(model, config, subjects, change, recipe, out, partial(told, "finding"))
    noise = change.noise(torch.Generator().manual_seed(recipe.seed))
    total = 2 * len(others)
    seen = iter(range(1, total + 1))

    def shown(one: Judged) -> None:
        number = next(seen)
        told("judging", number, total)
        if number <= FIGURES:
            _draw(search, out, one)

    changed = judge(model, config, search.judged, others, change, values, shown)
    control = judge(model, config, search.judged, others, change, noise, shown)
    write_change(out, change, search.on, values, _made(search, losses))
    return {
        "change_is": name_of(change),
        "on": search.on,
        "training_images": len(subjects),
        "judged_images": len(others),
        "clean": changed["clean"],
        "change": {"ap": changed["changed"], "missed": changed["missed"], "broken": changed["broken"]},
        "noise": {"ap": control["changed"], "missed": control["missed"], "broken": control["broken"]},
    }


def name_of(change: Change) -> str:
    """Say what a change is, e.g. `linf:8` or `patch:64 of 0.1`."""
    return f"patch:{change.side} of {change.share:g}" if isinstance(change, Patch) else str(change.budget)


def _made(search: Search, losses: Sequence[float]) -> dict[str, Any]:
    """Tell how a change was made."""
    experiment = search.experiment
    return {
        "model": experiment.config.model,
        "fingerprint": search.manifest["model"],
        "loss": list(experiment.config.loss),
        **asdict(search.recipe),
        "trained_on": [sample.source for sample in experiment.dataset.samples],
        "losses": list(losses),
        "detattack": __version__,
    }


def _draw(search: Search, out: Path, judged: Judged) -> None:
    """Draw a judged image: untouched and changed with what is detected, and the difference."""
    (out / "figures").mkdir(exist_ok=True)
    names = [category.name for category in search.experiment.model.categories]
    outcome = Outcome(judged.record, judged.original, b"", judged.pixels, None)
    path, threshold = out / "figures" / f"{judged.record.stem}.png", search.experiment.config.score_threshold
    write_attack_figure(path, outcome, names, threshold)


def apply_change(saved: SavedChange, dataset: Dataset, out: Path, told: Told = lambda what, done, total: None) -> Path:
    """Put a change onto all images of a data set; return the folder of the changed ones, `OUT/images`.

    Beside it is `OUT/annotations.json`, in COCO's format, where the data set has annotations. A patch goes onto the
    annotated objects of its class. Raises `InputError`.
    """
    boxes = boxes_of(dataset, saved.on) if isinstance(saved.change, Patch) else {}
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"output folder {out}: is a file, or not empty")
    records = []
    for done, sample in enumerate(dataset.samples, 1):
        original = sample.load().pixels
        image = saved.change.put_on(saved.values, to_tensor(original), boxes.get(sample.id, ()))
        png, (height, width) = png_bytes(to_pixels(image)), original.shape[:2]
        (out / "images").mkdir(parents=True, exist_ok=True)  # only now: a first image that cannot be read leaves none
        write_bytes_atomic(out / "images" / f"{sample.stem}.png", png, sync=False)
        digest = sha256(png).hexdigest()
        records.append(
            DetectionRecord(sample.id, sample.stem, sample.source, "", width=width, height=height, digest=digest)
        )
        told("applying", done, len(dataset.samples))
    if dataset.categories:
        content = coco_annotations(records, NOBODY, dataset)
        content["images"] = list(content["images"])
        content["annotations"] = list(content["annotations"])
        write_text_atomic(out / "annotations.json", json.dumps(content, allow_nan=False) + "\n")
    return out / "images"


def boxes_of(dataset: Dataset, on: str) -> dict[int, list[Box]]:
    """List the boxes of the annotated objects of a class, or of `all`, by image id. Raises `InputError`."""
    if not dataset.categories:
        raise InputError("apply: a patch goes onto annotated objects; --annotations names a COCO file")
    names = [str(category["name"]) for category in dataset.categories]
    place = None if on == ALL else find_name(on, names)
    if on != ALL and place is None:
        raise unknown("class of the annotations", on, names)
    wanted = None if place is None else dataset.categories[place]["id"]
    found: dict[int, list[Box]] = {}
    for one in dataset.annotations:
        if wanted in (None, one["category_id"]) and not one.get("iscrowd"):
            found.setdefault(one["image_id"], []).append(from_xywh(one["bbox"]))
    return found
