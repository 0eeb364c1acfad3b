"""Image classification as a task: the same engine, run folders and workflows as for detectors."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from classify.config import ClassifyConfig, wanted
from classify.datasets import ClassNames, named_images, only_right, open_labeled, resolve_labels
from classify.methods import METHODS, PRESETS
from classify.models.fast import fast_classifier
from classify.models.registry import load_classifier
from classify.objective import ClassificationObjective, shares
from classify.record import ClassificationRecord
from classify.record_columns import RECORD_COLUMNS
from classify.summary import COLUMNS, skipped_line, summarize
from classify.types import ClassGoal, Classifier
from detattack.core.errors import InputError, unknown
from detattack.core.fingerprint import fingerprint_of_tensors
from detattack.datasets.base import Dataset, Picture
from detattack.datasets.image_io import to_pixels, to_tensor
from detattack.datasets.source import DatasetSource
from detattack.engine.budget import budget_of
from detattack.metrics.image_quality import measure, quick_measures
from detattack.report.page import Content
from detattack.report.pictures import Pictures
from detattack.runs.folder import RunFolder
from detattack.runs.record import Outcome
from detattack.tasks.base import Prepared, Saved, Task
from detattack.tasks.columns import BROKEN, COSTS, ITERATIONS, Column, Curve, ImageColumn, measured
from detattack.tasks.registry import register_task
from detattack.tasks.summary import question

TOP = 5
"""How many of the likeliest classes a record keeps."""
Labels = Mapping[int, int | None]
"""What images show, as indices of a model's classes, by image id."""


class ClassificationTask(Task[ClassificationRecord, ClassifyConfig, Classifier]):
    """Attacks on image classifiers."""

    name = "classify"
    record_type = ClassificationRecord
    config_type = ClassifyConfig
    methods = PRESETS
    columns = COLUMNS
    record_columns = RECORD_COLUMNS
    budget_columns = (
        Column("accuracy_clean", "accuracy clean", ".1%"),
        Column("accuracy", "accuracy", ".1%"),
        BROKEN,
    )
    curves = (Curve("accuracy", "accuracy under attack", "accuracy_clean"), *Task.curves)
    not_taken = ("annotations", "scenes")
    image_columns = (
        ImageColumn("was", lambda record, manifest: _likeliest_text(record.clean, manifest), True, True),
        ImageColumn("became", lambda record, manifest: _likeliest_text(record.adversarial, manifest), True, True),
        ITERATIONS,
        *map(measured, ("l2", "linf", "psnr")),
        *COSTS,
    )

    # Before a run

    def make_config(self, **values: Any) -> ClassifyConfig:
        """Check a config. The way that the loss looks is the method's, down to the target where there is one."""
        attack = values.get("attack")
        if "loss" not in values and attack is not None:
            name = attack.name.partition("@")[0]
            loss = METHODS[name].loss if name in METHODS else "wrong"
            values["loss"] = "wrong" if loss == "true" and values.get("target") else loss
        return super().make_config(**values)

    def load_model(self, config: ClassifyConfig, device: str | None = None) -> Classifier:
        """Load the classifier that a config names."""
        place = device or config.device
        return load_classifier(config.model, place, config.weights, config.preprocess, config.categories)

    def fingerprint(self, model: Classifier) -> str:
        """Hash weights and classes."""
        return fingerprint_of_tensors(model, model.classes)

    def open_dataset(self, source: DatasetSource, model: Classifier, config: ClassifyConfig) -> Dataset:
        """Open labeled images: named files, a labels file, CIFAR-10, class folders, or installed photos."""
        if source.format is not None:
            return super().open_dataset(source, model, config)
        if source.files:
            return named_images([Path(file) for file in source.files])
        images, labels = (None if name is None else Path(name) for name in (source.images, source.labels))
        data = open_labeled(images, labels, source.split or "test", source.side or model.smallest, source.missing)
        if source.only_right:
            data = only_right(model, data, source.skip, source.limit)
            return data.thinned(source.every, source.first)
        return data.after(source.skip).first(source.limit)

    def adapt_dataset(self, model: Classifier, config: ClassifyConfig, dataset: Dataset) -> Dataset:
        """Check the target."""
        target_index(config, model)
        return dataset

    def truth(self, model: Classifier, config: ClassifyConfig, dataset: Dataset) -> Labels:
        """Resolve the labels: for a large data set that takes a second."""
        return resolve_labels(dataset, model.classes)

    def manifest(self, model: Classifier, dataset: Dataset) -> dict[str, Any]:
        """Tell the classes."""
        return {"classes": list(model.classes)}

    # An image

    def prepare(
        self, model: Classifier, config: ClassifyConfig, record: ClassificationRecord, picture: Picture, truth: Labels
    ) -> Prepared[ClassificationRecord]:
        """Classify the image untouched, and choose the class to leave and the class to go to."""
        height, width = picture.pixels.shape[:2]
        image, label = to_tensor(picture.pixels)[None].to(model.device), truth.get(record.id)
        record = replace(record, width=width, height=height, notes=picture.notes, label=-1 if label is None else label)
        if min(height, width) < model.smallest:
            raise ValueError(f"the image is {width}x{height}, {model.name} takes {model.smallest} pixels and up")
        clean = shares(model, image[0])
        leaves = int(clean.argmax()) if label is None else label
        target = target_index(config, model)
        wrong = _likeliest_wrong(clean, leaves) if target is None else target
        goal = ClassGoal(leaves, wrong, target is not None)
        already = goal.reached(clean) or (goal.targeted and leaves == wrong)
        record = replace(
            record,
            status="already" if already else "",
            reason=_skip_reason(goal, clean, model.classes) if already else "",
            leaves=leaves,
            wrong=wrong,
            targeted=goal.targeted,
            clean=likeliest(clean),
            confidence_before=goal.confidence(clean),
        )
        return Prepared(record, picture, image)

    def objective(
        self, model: Classifier, config: ClassifyConfig, prepared: Sequence[Prepared[ClassificationRecord]]
    ) -> ClassificationObjective:
        """Make the loss from the logits of an accelerated copy; the classifier itself decides."""
        goals = [one.record.goal for one in prepared]
        attacked = fast_classifier(model, config.precision)
        return ClassificationObjective(model, goals, config.loss, config.classes, wanted(config), attacked)

    def judge(
        self,
        model: Classifier,
        config: ClassifyConfig,
        prepared: Prepared[ClassificationRecord],
        record: ClassificationRecord,
        saved: Saved,
    ) -> ClassificationRecord:
        """Classify the file, and the floats where those were attacked."""
        on_file = shares(model, saved.on_file)
        judged = on_file if saved.floats is None else shares(model, saved.floats)
        record = replace(record, adversarial=likeliest(judged), file_label=int(on_file.argmax()))
        if record.status:
            return record
        return replace(
            record,
            status="success" if record.goal.reached(judged, wanted(config)) else "failure",
            file_success=record.goal.reached(on_file, wanted(config)),
            confidence_after=record.goal.confidence(judged),
            file_quality={} if saved.floats is None else _file_quality(prepared.picture, saved),
        )

    def holds(self, model: Classifier, config: ClassifyConfig, record: ClassificationRecord, image: Tensor) -> bool:
        """Tell whether a class that is wanted is first, with the confidence that is asked for."""
        return record.goal.reached(shares(model, image), wanted(config))

    def check_other(self, model: Classifier, config: ClassifyConfig, manifest: Mapping[str, Any]) -> None:
        """Check that the classifier has the classes of the run, in their order."""
        if list(model.classes) != list(manifest["classes"]):
            raise InputError(f"model {model.name}: has other classes than the model that was attacked")

    def seen_by(
        self, model: Classifier, config: ClassifyConfig, record: ClassificationRecord, original: Tensor, image: Tensor
    ) -> ClassificationRecord:
        """Judge both images by a classifier of the same classes."""
        clean, found = shares(model, original), shares(model, image)
        before, after = (record.goal.reached(one, wanted(config)) for one in (clean, found))
        status = "already" if before else "success" if after else "failure"
        return replace(record, status=status, clean=likeliest(clean), adversarial=likeliest(found), trace={})

    # A run

    def summarize(self, folder: RunFolder[ClassificationRecord], dataset: Dataset) -> dict[str, Any]:
        """Sum up a run."""
        return {
            **question(folder.manifest["config"]),
            **summarize(folder.iterate(), folder.manifest["classes"]),
        }

    def budget_row(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Tell the accuracy, clean and attacked."""
        return {"accuracy_clean": summary["accuracy"]["rate"], "accuracy": summary["accuracy_attacked"]["rate"]}

    def skipped_line(self, folder: RunFolder[ClassificationRecord], summary: Mapping[str, Any]) -> str:
        """Say in a line how many images the model is wrong on untouched."""
        return skipped_line(summary, targeted=folder.manifest["config"].get("target") is not None)

    def write_figure(
        self, path: Path, outcome: Outcome[ClassificationRecord], model: Classifier, config: ClassifyConfig
    ) -> None:
        """Draw original, adversarial image and their difference with the likeliest classes."""
        from classify.figure import write_attack_figure  # matplotlib takes a second

        write_attack_figure(path, outcome, model.classes, budget_of(config.attack))

    def page_content(self, run: Any, pictures: dict[int, Pictures]) -> Content:
        """Tell what images are taken for, before and after."""
        from classify.report_page import page_content

        return page_content(run, pictures)


def target_index(config: ClassifyConfig, classifier: Classifier) -> int | None:
    """Find the class that images should be taken for, by its name or its number; None: any. Raises `InputError`."""
    if config.target is None:
        return None
    named = ClassNames(classifier.classes).find(config.target)
    if named is not None:
        return named
    if config.target.isdecimal() and int(config.target) < len(classifier.classes):
        return int(config.target)
    raise unknown("class", config.target, classifier.classes)


def likeliest(probabilities: Tensor) -> dict[str, list[Any]]:
    """List the likeliest classes of `[K]`, as plain lists."""
    scores, labels = probabilities.topk(min(TOP, len(probabilities)))
    return {"labels": labels.tolist(), "scores": scores.tolist()}


def _skip_reason(goal: ClassGoal, clean: Tensor, classes: Sequence[str]) -> str:
    """Say why an image is left as it is: what the classifier takes it for untouched."""
    predicted = int(clean.argmax())
    taken = f"taken for {classes[predicted]} {float(clean[predicted]):.2f} untouched"
    if not goal.targeted:
        return f"{taken}, not for {classes[goal.label]}"
    return f"{taken}, the target" if predicted == goal.wrong else f"shows {classes[goal.wrong]}, the target; {taken}"


def _likeliest_wrong(probabilities: Tensor, label: int) -> int:
    others = probabilities.clone()
    others[label] = -1.0
    return int(others.argmax())


def _file_quality(picture: Picture, saved: Saved) -> dict[str, float | None]:
    return measure(picture.pixels, to_pixels(saved.on_file), quick_measures()).as_json()


def _likeliest_text(found: Mapping[str, list[Any]], manifest: Mapping[str, Any]) -> str:
    return f"{manifest['classes'][found['labels'][0]]} {found['scores'][0]:.2f}" if found else "-"


CLASSIFICATION = ClassificationTask()
register_task(CLASSIFICATION)
