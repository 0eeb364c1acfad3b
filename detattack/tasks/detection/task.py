"""Object detection as a task: goals against detectors, COCO annotations, AP clean and under attack."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from detattack.core.boxes import Box
from detattack.core.errors import InputError
from detattack.core.types import DEFAULT_MAX_DETECTIONS, DEFAULT_SCORE_THRESHOLD, Detections
from detattack.datasets.base import Dataset, Picture, Sample
from detattack.datasets.coco import category_ids, classes_not_counted
from detattack.datasets.corruptions import Corruption
from detattack.datasets.image_io import to_tensor
from detattack.datasets.open import open_dataset
from detattack.datasets.source import DatasetSource
from detattack.detectors.base import Detector
from detattack.detectors.black_box import no_gradient
from detattack.detectors.registry import fingerprint, load_detector
from detattack.detectors.several import Several, descended_of, judges_of
from detattack.engine.budget import budget_of
from detattack.engine.ensemble import check_passes
from detattack.metrics.coco import GroundTruth, PrecisionTable, mean_ap
from detattack.report.page import Content
from detattack.report.pictures import Pictures
from detattack.runs.folder import RunFolder
from detattack.runs.record import Outcome
from detattack.tasks.attack_batch import image_seeds
from detattack.tasks.base import Prepared, Saved, Task
from detattack.tasks.columns import BROKEN, COLUMNS, Column, Curve
from detattack.tasks.detection import report_page, run_data, skipped
from detattack.tasks.detection.auto_batch import fitting_batch
from detattack.tasks.detection.breakdown import breakdown
from detattack.tasks.detection.coco_export import coco_annotations, coco_results, truth_after, truth_of
from detattack.tasks.detection.config import DetectionConfig
from detattack.tasks.detection.figure import write_attack_figure
from detattack.tasks.detection.goals import CleanImage, Target, parse_goal
from detattack.tasks.detection.inference import check_scores, detected
from detattack.tasks.detection.judges import JointObjective, check_classes, holds_for_all, objective_for, target_for
from detattack.tasks.detection.objective import DetectionObjective
from detattack.tasks.detection.objects import Objects, check_reference, objects_of
from detattack.tasks.detection.record import DetectionRecord, as_lists, card_of, from_lists, target_of
from detattack.tasks.detection.record_columns import RECORD_COLUMNS
from detattack.tasks.detection.summary import (
    ap_notes,
    average_precision,
    clean_ap_problem,
    not_counted_line,
    questions,
    summarize,
    summary_lines,
)
from detattack.tasks.registry import register_task
from detattack.tasks.summary import question

WHICH: tuple[Literal["clean"], Literal["adversarial"]] = ("clean", "adversarial")
TRANSFERRED = ("images", "clean", "adversarial", "not_counted", "max_detections", "cut_images")
"""Of a summary's `ap`, what a transfer tells too."""
AP_COLUMNS = (Column("ap_clean", "AP clean", ".3f"), Column("ap_adversarial", "AP attacked", ".3f"))


@dataclass(frozen=True, eq=False)
class ImageGoal:
    """What is wanted of an image. target: None where the goal cannot be. clean: detections of the original."""

    target: Target | None
    clean: Detections


class DetectionTask(Task[DetectionRecord, DetectionConfig, Detector]):
    """Attacks on object detectors."""

    name = "detect"
    record_type = DetectionRecord
    config_type = DetectionConfig
    columns = (*COLUMNS[:-3], *AP_COLUMNS, *COLUMNS[-3:])
    record_columns = RECORD_COLUMNS
    budget_columns = (
        Column("ap_clean", "AP clean", ".3f"),
        Column("ap", "AP", ".4f"),
        Column("ap50", "AP50", ".4f"),
        BROKEN,
        Column("recall", "recall", ".3f"),
        Column("false_positives", "false/image", ".2f"),
    )
    curves = (Curve("ap", "AP under attack", "ap_clean"), Curve("recall", "recall"), *Task.curves)
    manifest_keys = ("detector", "categories")

    # Before a run

    def load_model(self, config: DetectionConfig, device: str | None = None) -> Detector:
        """Load the detector that a config names."""
        place = device or config.device
        if config.through_models:
            return Several([load_detector(name, place) for name in config.through_models])
        return load_detector(config.model, place, config.weights, config.categories, config.prompt)

    def fingerprint(self, model: Detector) -> str:
        """Hash weights and categories."""
        return fingerprint(model)

    def open_dataset(self, source: DatasetSource, model: Detector, config: DetectionConfig) -> Dataset:
        """Open images, of rendered scenes those that suit the goal."""
        goal = parse_goal(config.goal)
        if goal.rendered_only and source.scenes is None:
            where = "where the road is free is known of rendered scenes only, not of image files"
            raise InputError(f"goal '{goal}': {where}")
        return open_dataset(source, goal.suits)

    def adapt_dataset(self, model: Detector, config: DetectionConfig, dataset: Dataset) -> Dataset:
        """Check the goal's classes, and note annotated classes that AP does not count."""
        if not getattr(model, "has_gradient", True) and config.attack.step != "square":
            raise InputError(no_gradient(model.name))
        goal = parse_goal(config.goal)
        check_classes(goal, model)
        goal.check_losses(config.loss)
        self.check_attack(config)
        check_reference(config, goal, dataset)
        if dataset.categories and not category_ids(model.categories, dataset.categories):
            names = ", ".join(repr(c["name"]) for c in dataset.categories[:5])
            raise InputError(f"the annotations ({names}, ...) and the model {model.name} have no class name in common")
        not_counted = classes_not_counted(model.categories, dataset.categories, dataset.annotations)
        note = not_counted_line(not_counted)
        return replace(dataset, notes=(*dataset.notes, note)) if note else dataset

    def check_attack(self, config: DetectionConfig) -> None:
        """Check that there are passes for an iteration of each loss of `ensemble`."""
        if config.attack.step == "ensemble":
            check_passes(config.attack, len(parse_goal(config.goal).members_of(config.loss)))

    def passes(self, model: Detector) -> int:
        """Return how many passes an evaluation of an image takes: one for each detector, or draw of its defense."""
        return len(descended_of(model))

    def fitting_batch(self, model: Detector, config: DetectionConfig, samples: Sequence[Sample]) -> int:
        """Find what fits the memory of an accelerator."""
        return fitting_batch(model, config, samples)

    def truth(self, model: Detector, config: DetectionConfig, dataset: Dataset) -> Objects | None:
        """Look up the annotated objects, where the goal is about them."""
        return objects_of(model, config, parse_goal(config.goal), dataset)

    def manifest(self, model: Detector, dataset: Dataset) -> dict[str, Any]:
        """Tell the detector and its categories, so that a run is read without it."""
        return {
            "detector": {
                "name": model.name,
                "eval_threshold": model.eval_threshold,
                "expected_ap": getattr(model, "expected_ap", None),
            },
            "categories": [{"id": c.coco_id, "name": c.name} for c in model.categories],
        }

    # An image

    def prepare(
        self, model: Detector, config: DetectionConfig, record: DetectionRecord, picture: Picture, truth: Objects | None
    ) -> Prepared[DetectionRecord]:
        """Detect what is there untouched, and resolve the goal for this image."""
        height, width = picture.pixels.shape[:2]
        image = to_tensor(picture.pixels)[None].to(model.device)
        clean = detected(model, config, image[0])
        shown = clean.above(config.score_threshold)
        goal = parse_goal(config.goal)
        record = replace(record, width=width, height=height, notes=picture.notes, clean=as_lists(clean), goal=str(goal))
        seed = image_seeds(config.seed, record.id)[:1]
        untouched = CleanImage(width, height, shown, seed, picture.road)
        if truth is not None:
            untouched = replace(untouched, annotated=truth.of(record.id), annotated_labels=truth.labels)
        try:
            target = goal.resolve(model.categories, untouched, config.keep_others)
        except InputError as error:
            failed = replace(record, status="error", reason=str(error))
            return Prepared(failed, picture, image, ImageGoal(None, clean))
        status = self._initial_status(model, config, target, shown, image) or ""
        if status == "nothing" and getattr(model, "has_gradient", True):
            check_scores(model, image)
        record = replace(
            record,
            status=status,
            reason=skipped.skip_reason(target, clean, model.categories, config.score_threshold) if status else "",
            box=target.box,
            objects=target.objects,
            kept=target.kept,
            object_labels=target.object_labels,
            confidence_before=goal.confidence(target, clean),
        )
        spends = config.attack.stop == "worst" and goal.of_objects  # AP counts every image, and detections below τ
        return Prepared(record, picture, image, ImageGoal(target, clean), attacked=spends or not status)

    def _initial_status(
        self, model: Detector, config: DetectionConfig, target: Target, shown: Detections, image: Tensor
    ) -> str | None:
        """Return the status of an image with nothing to attack, which is one for every judge; None: there is work."""
        first, *others = judges_of(model)
        status = target.goal.initial_status(target, shown)
        for judge in others if status else ():
            own, found = target_for(target, first.categories, judge), detected(judge, config, image[0])
            if not target.goal.initial_status(own, found.above(config.score_threshold)):
                return None
        return status

    def objective(
        self, model: Detector, config: DetectionConfig, prepared: Sequence[Prepared[DetectionRecord]]
    ) -> DetectionObjective | JointObjective:
        """Make the goal's loss from the candidates of accelerated copies; the detectors themselves decide."""
        return objective_for(model, config, [target_of(one.record, model) for one in prepared])

    def judge(
        self,
        model: Detector,
        config: DetectionConfig,
        prepared: Prepared[DetectionRecord],
        record: DetectionRecord,
        saved: Saved,
    ) -> DetectionRecord:
        """Detect what is left on the file, and in the floats where those were attacked."""
        on_file = detected(model, config, saved.on_file)
        judged = on_file if saved.floats is None else detected(model, config, saved.floats)
        # AP under a budget that no 8-bit file can hold is that of the floats.
        record = replace(record, adversarial=as_lists(judged if config.attack.stop == "worst" else on_file))
        target: Target | None = prepared.goal.target
        if target is None or record.status:
            return record
        above = judged.above(config.score_threshold)
        return replace(
            record,
            status="success" if holds_for_all(model, config, target, saved.judged, judged) else "failure",
            file_success=holds_for_all(model, config, target, saved.on_file, on_file),
            confidence_after=target.goal.confidence(target, judged),
            asked_iou=target.goal.asked_iou(target, above),
        )

    def holds(self, model: Detector, config: DetectionConfig, record: DetectionRecord, image: Tensor) -> bool:
        """Tell whether the goal holds for the detections above τ."""
        return holds_for_all(model, config, target_of(record, model), image, detected(model, config, image))

    def places(self, model: Detector, config: DetectionConfig, record: DetectionRecord) -> Sequence[Box]:
        """List the boxes of the objects, or the box that is asked for."""
        target = target_of(record, model)
        return target.goal.places(target, from_lists(record.clean).above(config.score_threshold))

    def moved(self, record: DetectionRecord, corruption: Corruption) -> DetectionRecord:
        """Move the boxes of the goal to where a corruption takes what is in them."""
        move = partial(corruption.moved, size=(record.width, record.height))
        kept = tuple((label, move(box)) for label, box in record.kept)
        box = None if record.box is None else move(record.box)
        return replace(record, box=box, objects=tuple(map(move, record.objects)), kept=kept)

    def check_other(self, model: Detector, config: DetectionConfig, manifest: Mapping[str, Any]) -> None:
        """Check that the detector has the goal's classes."""
        check_classes(parse_goal(config.goal), model)

    def translated(self, model: Detector, record: DetectionRecord, manifest: Mapping[str, Any]) -> DetectionRecord:
        """Write the objects with the labels of another detector, by the names of their classes."""
        card = card_of(manifest)
        own = target_for(target_of(record, card), card.categories, model)
        return replace(record, objects=own.objects, object_labels=own.object_labels)

    def seen_by(
        self, model: Detector, config: DetectionConfig, record: DetectionRecord, original: Tensor, image: Tensor
    ) -> DetectionRecord:
        """Judge both images by a detector; the goal means the same class by name."""
        clean, found = (detected(model, config, one) for one in (original, image))
        target = replace(target_of(record, model), kept=())
        before, after = (holds_for_all(model, config, target, *one) for one in ((original, clean), (image, found)))
        status = "already" if before else "success" if after else "failure"
        return replace(record, status=status, clean=as_lists(clean), adversarial=as_lists(found), trace={})

    # A run

    def write_derived(self, folder: RunFolder[DetectionRecord], dataset: Dataset) -> None:
        """Write detections in COCO's results format, the adversarial images as a COCO data set, and the summary."""
        card = card_of(folder.manifest)
        for which in WHICH:
            results = coco_results(folder.iterate(), card, dataset, which)
            folder.write_json(f"{which}.json", map(dataset.original_ids.restored, results))
        folder.write_json("annotations.json", coco_annotations(folder.iterate(), card, dataset))
        super().write_derived(folder, dataset)

    def summarize(self, folder: RunFolder[DetectionRecord], dataset: Dataset) -> dict[str, Any]:
        """Sum up a run; what depends on the clock is under `timing` alone."""
        config, card = folder.manifest["config"], card_of(folder.manifest)
        threshold = config.get("score_threshold", DEFAULT_SCORE_THRESHOLD)
        most = config.get("max_detections", DEFAULT_MAX_DETECTIONS)
        summary = summarize(folder.iterate(), card, threshold, str(parse_goal(config["goal"])))
        ids = _scored(folder)
        timing = summary.pop("timing")
        return {
            **question(config),
            **summary,
            "ap": average_precision(
                dataset,
                card,
                ids,
                lambda: coco_results(folder.iterate(), card, dataset, "clean"),
                lambda: coco_results(folder.iterate(), card, dataset, "adversarial"),
                most,
            ),
            **breakdown(folder.iterate(), card, dataset, threshold, most),
            "questions": questions(threshold, card.eval_threshold, most),
            "timing": timing,
        }

    def annotations_in(self, folder: RunFolder[DetectionRecord]) -> Dataset:
        """Read `annotations.json`."""
        return truth_of(folder)

    def transfer_scores(
        self,
        folder: RunFolder[DetectionRecord],
        model: Detector,
        seen: Sequence[DetectionRecord],
        corruption: Corruption,
    ) -> dict[str, Any] | None:
        """Score AP of another detector, clean and adversarial, over the classes that it shares with the annotations."""
        truth = truth_after(folder, corruption)
        most = folder.manifest["config"].get("max_detections", DEFAULT_MAX_DETECTIONS)
        scores = average_precision(
            truth,
            model,
            [record.id for record in seen],
            lambda: coco_results(seen, model, truth, "clean"),
            lambda: coco_results(seen, model, truth, "adversarial"),
            most,
        )
        return None if scores is None else {key: scores[key] for key in TRANSFERRED if key in scores}

    def scores_within(
        self, folder: RunFolder[DetectionRecord], dataset: Dataset, chosen: Sequence[Collection[int]]
    ) -> Sequence[float | None]:
        """Score the AP that is left where only the images of each choice are shown attacked."""
        if not dataset.categories:
            return [None] * len(chosen)
        card = card_of(folder.manifest)
        shared = category_ids(card.categories, dataset.categories).values()
        most = folder.manifest["config"].get("max_detections", DEFAULT_MAX_DETECTIONS)
        precision = PrecisionTable(
            GroundTruth(dataset.annotations, dataset.categories, _scored(folder), set(shared), most),
            coco_results(folder.iterate(), card, dataset, "clean"),
            coco_results(folder.iterate(), card, dataset, "adversarial"),
        )
        return [mean_ap(precision.of(images)) for images in chosen]

    def comparison_row(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Tell AP clean and attacked."""
        ap = summary.get("ap") or {"clean": {"ap": None}, "adversarial": {"ap": None}}
        clean, adversarial = ap["clean"], ap["adversarial"]
        return {
            "ap_clean": clean["ap"],
            "ap_adversarial": adversarial["ap"],
            "ap50_adversarial": adversarial.get("ap50"),
        }

    def budget_row(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Tell AP clean and attacked, and recall and false positives at τ."""
        own = self.comparison_row(summary)
        attacked = (summary.get("above_threshold") or {}).get("adversarial", {})
        return {
            "ap_clean": own["ap_clean"],
            "ap": own["ap_adversarial"],
            "ap50": own["ap50_adversarial"],
            "recall": attacked.get("recall"),
            "false_positives": attacked.get("false_positives_per_image"),
        }

    # What people read

    def summary_lines(self, summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Tell success at τ, AP, collateral damage, distances and cost."""
        return summary_lines(summary)

    def warnings(self, summary: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is wrong with the clean AP."""
        problem = clean_ap_problem(summary["ap"])
        yield from [f"WARNING: {problem}"] if problem else []

    def notes(self, summary: Mapping[str, Any]) -> Sequence[str]:
        """List what AP does not count."""
        return ap_notes(summary["ap"])

    def skipped_lines(self, records: Sequence[DetectionRecord], manifest: Mapping[str, Any]) -> Iterator[str]:
        """Say of each image with nothing to attack what it shows, and which options attack it."""
        threshold = manifest["config"].get("score_threshold", DEFAULT_SCORE_THRESHOLD)
        return skipped.skipped_lines(records, card_of(manifest), threshold)

    def skipped_line(self, folder: RunFolder[DetectionRecord], summary: Mapping[str, Any]) -> str:
        """Say in a line how many images had nothing to attack, and what they show."""
        return skipped.skipped_line(folder, card_of(folder.manifest), summary)

    def title(self, records: Sequence[DetectionRecord]) -> str:
        """Name the goal."""
        return next((record.goal for record in records if record.goal), "")

    def write_figure(
        self, path: Path, outcome: Outcome[DetectionRecord], model: Detector, config: DetectionConfig
    ) -> None:
        """Draw original and adversarial image with the detector's boxes, and their difference."""
        names = [category.name for category in model.categories]
        write_attack_figure(path, outcome, names, config.score_threshold, budget_of(config.attack))

    def read_run(self, path: Path) -> Any:
        """Read the records, the annotations and the detections of a run."""
        return run_data.read(path)

    def page_content(self, run: Any, pictures: dict[int, Pictures]) -> Content:
        """Tell goals, boxes, AP and collateral damage."""
        return report_page.page_content(run, pictures)


def _scored(folder: RunFolder[DetectionRecord]) -> list[int]:
    """List the images that AP is over: those that the detector has seen untouched and attacked."""
    return [record.id for record in folder.iterate() if record.is_scored]


DETECTION = DetectionTask()
register_task(DETECTION)
