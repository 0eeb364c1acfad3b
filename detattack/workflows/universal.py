"""Universal: one change found on some images and judged on others, beside noise; and a change put onto any images."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from detattack.core.errors import ImageError, InputError, unknown
from detattack.core.files import write_bytes_atomic, write_text_atomic
from detattack.core.types import DetectorCard
from detattack.core.wording import counted, worded
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
    LeftOut,
    Patch,
    Perturbation,
    Recipe,
    SavedChange,
    Subject,
    check_left,
    judge,
    notes_of_left_out,
    read,
    reason_of,
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
TRAINING, JUDGED = "training images", "images to judge on"
"""What messages call the two sets."""
NOBODY = DetectorCard("", (), 0.0)
"""Whose classes name those of a data set that has none."""
DECIDING = ("task", "config", "model", "data", "change", "recipe", "split", "trained", "judged")
"""The keys of the manifest that a resumed search must share with the one it continues."""


Told = Callable[[str, int, int], None]
"""Who is told how far a search is: what is done, how much of it, and of how much."""
Say = Callable[[str], None]
"""Who is told what people should know of model and images."""
Contents = Mapping[int, str]
"""The digest of each image by its id."""


@dataclass(frozen=True, eq=False)
class Search:
    """A checked search: model and training images, images to judge, what is searched and how.

    trained_on, judged_on: identify the training images and those to judge, by their bytes, and their annotations
    """

    experiment: Experiment[Any, Any, Any]
    judged: Dataset
    trained_on: str
    judged_on: str
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
            trained=self.trained_on,
            judged=self.judged_on,
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
    contents = contents_of(training)
    if judged is None:
        training, held = split(training, contents, held_out, recipe.seed)
        contents_held = contents
    else:
        held = DETECTION.adapt_dataset(model, config, judged)
        contents_held = contents_of(held)
        check_apart(training, contents, held, contents_held)
    if training.categories and held.categories and config.reference != "detections":
        check_objects(on, len(boxes_of(training, on)), len(boxes_of(held, on)))
    trained_on, judged_on = identity_of(training, contents), identity_of(held, contents_held)
    return Search(replace(experiment, dataset=training), held, trained_on, judged_on, change, on, recipe)


def identity_of(dataset: Dataset, contents: Contents) -> str:
    """Identify a data set by the bytes of its images, all of which a search depends on, and by its annotations."""
    identity = "\n".join([dataset.fingerprint, *(contents[one.id] for one in dataset.samples)])
    return sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def split(dataset: Dataset, contents: Contents, held_out: int | None, seed: int) -> tuple[Dataset, Dataset]:
    """Part a data set by chance: training images, and `held_out` ones (None: half) to judge on.

    Copies of images to judge are not trained on. Raises `InputError`.
    """
    count = len(dataset.samples)
    held = count // 2 if held_out is None else held_out
    if not 0 < held < count:
        raise InputError(
            f"--held-out {held}: of {counted(count, 'image')} at least one is to be judged and one to be trained on"
        )
    order = [dataset.samples[int(i)].id for i in np.random.default_rng(seed).permutation(count)]
    known = {contents[one] for one in order[:held]}
    left = [one for one in order[held:] if contents[one] not in known]
    if not left:
        raise InputError(f"--held-out {held}: all other images are copies of those to judge, none is to be trained on")
    training = dataset.pick(left, f"but {held} of seed {seed}")
    if copies := count - held - len(left):
        note = f"{counted(copies, 'image')} {worded(copies, 'is a copy', 'are copies')} of one to judge, not trained on"
        training = replace(training, notes=(*training.notes, note))
    return training, dataset.pick(order[:held], f"{held} of seed {seed}")


def check_apart(training: Dataset, known: Contents, judged: Dataset, contents: Contents) -> None:
    """Raise `InputError` where an image is in both sets, by its content."""
    trained_on = {known[sample.id]: sample.source for sample in training.samples}
    for sample in judged.samples:
        if source := trained_on.get(contents[sample.id]):
            raise InputError(f"{sample.source}: is to be judged, and is trained on too ({source})")


def contents_of(dataset: Dataset) -> Contents:
    """Tell images apart by their bytes, or by their pixels where they are no files; rendered ones by their numbers."""
    rendered = dataset.source is not None and dataset.source.scenes is not None
    return {sample.id: sample.source if rendered else _content(sample) for sample in dataset.samples}


def _content(sample: Sample) -> str:
    """Return the digest of an image; one that cannot be read is like no other."""
    path = Path(sample.source)
    try:
        return sha256(path.read_bytes() if path.is_file() else sample.load().pixels.tobytes()).hexdigest()
    except (OSError, InputError):
        return sample.source


def check_size(change: Change) -> None:
    """Raise `InputError` for a change of no possible size, of no share of an object, or smaller than files can hold."""
    option = "--patch" if isinstance(change, Patch) else "--tile"
    if not 1 <= change.side <= LARGEST_SIDE:
        raise InputError(f"{option} {change.side}: from 1 to {LARGEST_SIDE} pixels")
    if isinstance(change, Patch) and not 0 < change.share <= 1:
        raise InputError(f"--share {change.share:g}: above 0, at most 1, a share of the object's area")
    if isinstance(change, Perturbation) and change.vanishes:
        raise InputError(f"--budget {change.budget}: below one gray level, less than 8-bit images can hold")


def find(
    search: Search,
    out: Path,
    resume: bool = False,
    told: Told = lambda what, done, total: None,
    say: Say = lambda note: None,
) -> dict[str, Any]:
    """Carry out a search, or what is left of it, into a folder; what came of it, as `result.json` has it.

    Raises `InputError`, and KeyboardInterrupt with the folder resumable.
    """
    looked_at = None if (out / RESULT).is_file() else _looked_at(search, told)  # what is refused leaves no folder
    with claimed(out, search.manifest, resume, DECIDING):
        if looked_at is None:
            return dict(json.loads((out / RESULT).read_bytes()))
        for note in dict.fromkeys([*notes_of(search.experiment), *search.judged.notes, *looked_at.notes]):
            say(note)
        result = _found(search, looked_at, out, told, say)
        write_text_atomic(out / RESULT, json.dumps(result, indent=1, allow_nan=False) + "\n")
        (out / CHECKPOINT).unlink(missing_ok=True)
        return result


@dataclass(frozen=True, eq=False)
class _LookedAt:
    """The images of a search, looked at untouched: those to train on, with objects alone, those to judge, the rest."""

    training: Sequence[Subject]
    judged: Sequence[Subject]
    left_out: LeftOut

    @property
    def notes(self) -> list[str]:
        """What was converted in reading them, and what is left out."""
        records = (subject.prepared.record for subject in (*self.training, *self.judged))
        return [*notes_once((one.source, one.notes) for one in records), *notes_of_left_out(self.left_out)]


def notes_once(read_images: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """List the conversions of images, given by source, each with the first image that it was made of."""
    first: dict[str, str] = {}
    for source, notes in read_images:
        for note in notes:
            first.setdefault(note, source)
    return [f"{source}: {note}" for note, source in first.items()]


def _looked_at(search: Search, told: Told) -> _LookedAt:
    """Look at all images untouched. Raises `InputError` where none can be trained on, or judged."""
    model, config, sets = search.experiment.model, search.experiment.config, (search.experiment.dataset, search.judged)
    total = sum(len(dataset.samples) for dataset in sets)
    looked = iter(range(1, total + 1))

    def look(dataset: Dataset, name: str) -> tuple[list[Subject], LeftOut]:
        truth = DETECTION.truth(model, config, dataset)
        found, left_out = subjects_of(model, config, dataset, truth, lambda: told("looking", next(looked), total))
        check_left(name, len(found), left_out)
        return found, left_out

    (training, left_out), (judged, others) = map(look, sets, (TRAINING, JUDGED))
    training = [one for one in training if one.boxes]
    check_objects(search.on, len(training), sum(len(one.boxes) > 0 for one in judged))
    return _LookedAt(training, judged, left_out | others)


def check_objects(on: str, training: int, judged: int) -> None:
    """Raise `InputError` where no image to train on, or none to judge on, has an object of the class, or of `all`."""
    for name, count in ((TRAINING, training), (JUDGED, judged)):
        if not count:
            what = "an object" if on == ALL else f"a {on}"
            raise InputError(f"universal: none of the {name} has {what}")


def _found(search: Search, looked_at: _LookedAt, out: Path, told: Told, say: Say) -> dict[str, Any]:
    """Search, judge and write the change; what came of it."""
    model, config, change, recipe = search.experiment.model, search.experiment.config, search.change, search.recipe
    training, judged = looked_at.training, looked_at.judged
    values, losses, untrained = train(model, config, training, change, recipe, out, partial(told, "finding"))
    noise = change.noise(torch.Generator().manual_seed(recipe.seed))
    drawn, seen = iter(range(FIGURES)), iter(range(1, len(judged) + 1))

    def show(one: Judged) -> None:
        if next(drawn, None) is not None:
            _draw(search, out, one)

    def progress() -> None:
        told("judging", next(seen), len(judged))

    (changed, control), unjudged = judge(model, config, search.judged, judged, change, (values, noise), show, progress)
    for note in notes_of_left_out(untrained | unjudged):
        say(note)
    left_out = looked_at.left_out | untrained | unjudged
    write_change(out, change, search.on, values, _made(search, losses, left_out))
    return {
        "change_is": name_of(change),
        "on": search.on,
        "training_images": len(training) - len(untrained),
        "judged_images": len(judged) - len(unjudged),
        "left_out_images": len(left_out),
        "left_out": left_out,
        "clean": changed["clean"],
        "change": {"ap": changed["changed"], "missed": changed["missed"], "broken": changed["broken"]},
        "noise": {"ap": control["changed"], "missed": control["missed"], "broken": control["broken"]},
    }


def name_of(change: Change) -> str:
    """Say what a change is, e.g. `linf:8` or `patch:64 of 0.1`."""
    return f"patch:{change.side} of {change.share:g}" if isinstance(change, Patch) else str(change.budget)


def _made(search: Search, losses: Sequence[float], left_out: LeftOut) -> dict[str, Any]:
    """Tell how a change was made."""
    experiment = search.experiment
    return {
        "model": experiment.config.model,
        "fingerprint": search.manifest["model"],
        "loss": list(experiment.config.loss),
        **asdict(search.recipe),
        "trained_on": [one.source for one in experiment.dataset.samples if one.source not in left_out],
        "losses": list(losses),
        "detattack": __version__,
    }


def _draw(search: Search, out: Path, judged: Judged) -> None:
    """Draw a judged image: untouched and changed with what is detected, how many objects are missed, the difference."""
    (out / "figures").mkdir(exist_ok=True)
    names = [category.name for category in search.experiment.model.categories]
    record = replace(judged.record, status=f"{judged.missed} of {counted(judged.found, 'object')} missed")
    outcome = Outcome(record, judged.original, b"", judged.pixels, None)
    path, threshold = out / "figures" / f"{judged.record.stem}.png", search.experiment.config.score_threshold
    write_attack_figure(path, outcome, names, threshold)


def apply_change(
    saved: SavedChange,
    dataset: Dataset,
    out: Path,
    told: Told = lambda what, done, total: None,
    say: Say = lambda note: None,
) -> Path:
    """Put a change onto all images of a data set; return the folder of the changed ones, `OUT/images`.

    Beside it is `OUT/annotations.json`, in COCO's format, where the data set has annotations. A patch goes onto the
    annotated objects of its class. Images that cannot be read are left out. Raises `InputError` where none is left.
    """
    boxes = boxes_of(dataset, saved.on) if isinstance(saved.change, Patch) else {}
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"output folder {out}: is a file, or not empty")
    records, left_out = [], {}
    for done, sample in enumerate(dataset.samples, 1):
        try:
            records.append(_applied(saved, sample, boxes.get(sample.id, ()), out / "images"))
        except ImageError as error:
            left_out[sample.source] = reason_of(error, sample)
        told("applying", done, len(dataset.samples))
    check_left("images", len(records), left_out)
    for note in (*notes_once((one.source, one.notes) for one in records), *notes_of_left_out(left_out)):
        say(note)
    if dataset.categories:
        content = coco_annotations(records, NOBODY, dataset)
        content["images"] = list(content["images"])
        content["annotations"] = list(content["annotations"])
        write_text_atomic(out / "annotations.json", json.dumps(content, allow_nan=False) + "\n")
    return out / "images"


def _applied(saved: SavedChange, sample: Sample, boxes: Sequence[Box], folder: Path) -> DetectionRecord:
    """Write an image with a change on it. Raises `ImageError` for one that cannot be read, and writes nothing then."""
    picture = read(sample)
    image = saved.change.put_on(saved.values, to_tensor(picture.pixels), boxes)
    png, (height, width) = png_bytes(to_pixels(image)), picture.pixels.shape[:2]
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(folder / f"{sample.stem}.png", png, sync=False)
    record = DetectionRecord(sample.id, sample.stem, sample.source, "", width=width, height=height)
    return replace(record, digest=sha256(png).hexdigest(), notes=picture.notes)


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
