"""Run folders made by hand: no model, no attack, but everything that a page can show."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classify.methods import PRESETS
from classify.record import ClassificationRecord
from classify.summary import summarize
from classify.task import CLASSIFICATION
from detattack.datasets.base import Dataset
from detattack.datasets.image_io import png_bytes
from detattack.engine import Attack
from detattack.metrics.image_quality import measure, quick_measures
from detattack.runs.folder import RunFolder
from detattack.runs.record import Outcome
from detattack.tasks.detection.record import DetectionRecord
from detattack.tasks.detection.task import DETECTION
from tests.browser import window  # noqa: F401

NAMES = ("car", "dog", "traffic light")
STATUSES = ("success", "failure", "nothing", "already", "error")


JND = {"name": "jnd", "levels": 256}
SPENDING = {"name": "ensemble", "levels": 256, "stop": "worst", "radius": 2 / 255, "norm": "linf"}


def manifest(names, images: int, attack=JND) -> dict:
    return {
        "detattack": "0",
        "config": {
            "goal": "suppress:all",
            "model": "toy",
            "score_threshold": 0.5,
            "attack": attack,
        },
        "model": "m",
        "data": "d",
        "images": images,
        "annotated": True,
        "detector": {"name": "toy", "eval_threshold": 0.05},
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, 1)],
        "versions": {"torch": "0"},
    }


def found(*scores: float, shift: float = 0.0) -> dict:
    boxes = [[4.0 + 9 * i + shift, 6.0, 24.0 + 9 * i + shift, 30.0] for i in range(len(scores))]
    return {"boxes": boxes, "scores": list(scores), "labels": [i % 3 for i in range(len(scores))]}


def outcome(folder: Path, number: int, stem: str, status: str, reason: str = "it broke") -> Outcome:
    """An image of a run: number i has L2 growing with i, K = i; its original is a file beside the run."""
    rng = np.random.default_rng(number)
    original = rng.integers(60, 190, (48, 64, 3), dtype=np.uint8)
    source = folder / f"source-{number}.png"
    Image.fromarray(original).save(source)
    record = DetectionRecord(
        number, stem, str(source), status, width=64, height=48, goal="suppress:all", digest="x", seconds=0.5
    )
    if status in ("nothing", "already"):
        return Outcome(
            replace(record, clean=found(0.4), adversarial=found(0.4)), original, png_bytes(original), original
        )
    if status == "error":
        return Outcome(replace(record, reason=reason, digest=""))
    pixels = original.copy()
    pixels[:number, :8] += 10
    won = status == "success"
    record = replace(
        record,
        k=number if won else -1,
        confidence_before=0.9,
        confidence_after=0.45 if won else 0.8,
        file_success=won,
        quality=measure(original, pixels, quick_measures()).as_json(),
        forwards=number + 2,
        backwards=number,
        clean=found(0.9, 0.7, 0.3),
        adversarial=found(0.45, 0.2) if won else found(0.8, 0.2),
        trace={"confidence": [round(0.9 - 0.45 * i / number, 6) for i in range(number + 1)]},
    )
    return Outcome(record, original, png_bytes(pixels), pixels)


def annotations(records: list[DetectionRecord]) -> tuple[dict, ...]:
    rows = []
    for record in records:
        box = {"bbox": [4, 6, 20, 24], "area": 480, "iscrowd": 0}
        rows.append({"id": len(rows) + 1, "image_id": record.id, "category_id": 1, **box})
    return tuple(rows)


def write_run(path: Path, outcomes: list[Outcome], names=NAMES, annotated: bool = True, attack=JND) -> Path:
    """A finished run folder."""
    folder = RunFolder.create(path, DetectionRecord, manifest(names, len(outcomes), attack))
    folder.commit(outcomes)
    categories = tuple({"id": i, "name": name} for i, name in enumerate(names, 1))
    rows = annotations([o.record for o in outcomes]) if annotated else ()
    DETECTION.write_derived(folder, Dataset((), "", categories if annotated else (), rows))
    folder.close()
    return path


@pytest.fixture
def run(tmp_path) -> Path:
    """Twelve images: eight attacked (two failures), of the others one of each status and one success more."""
    statuses = ["success", "success", "failure", "success", "success", "failure", "success", "success"]
    statuses += ["nothing", "already", "error", "success"]
    outcomes = [outcome(tmp_path, i, f"image {i:02d}", status) for i, status in enumerate(statuses, 1)]
    return write_run(tmp_path / "run", outcomes)


def said(*pairs: tuple[int, float]) -> dict:
    return {"labels": [label for label, _ in pairs], "scores": [score for _, score in pairs]}


def classified(folder: Path, number: int, status: str, label: int = 0, **changes) -> Outcome:
    """An image of a classifier's run: 0 at first, of 32 pixels; a success is taken for 1, other images stay."""
    one = outcome(folder, number, f"{number:02d}", status if status != "already" else "nothing")
    small = None if one.original is None else one.original[:32, :32]
    pixels = None if one.pixels is None else one.pixels[:32, :32]
    before, after = said((0, 0.9), (1, 0.08)), said((1, 0.5), (0, 0.49))
    names = ("id", "stem", "source", "reason", "k", "quality", "forwards", "backwards", "seconds", "trace", "digest")
    record = ClassificationRecord(
        **{name: getattr(one.record, name) for name in names},
        status=status,
        width=32,
        height=32,
        label=label,
        leaves=0,
        wrong=1,
        file_success=one.record.file_success,
        confidence_before=0.08,
        confidence_after=0.5,
        clean={} if status == "error" else before,
        adversarial={} if status == "error" else after if status == "success" else before,
    )
    if pixels is None:
        return Outcome(record)
    Image.fromarray(small).save(record.source)
    if record.quality:
        record = replace(record, quality=measure(small, pixels, quick_measures()).as_json())
    return Outcome(replace(record, **changes), small, png_bytes(pixels), pixels)


def write_classified(
    path: Path, outcomes: list[Outcome], names=NAMES, attack: Attack = PRESETS["jnd"], **config
) -> Path:
    """The finished folder of a classifier's run."""
    made = CLASSIFICATION.make_config(attack=attack, model="toy", **config).model_dump(mode="json")
    kept = {
        key: value for key, value in manifest(names, len(outcomes)).items() if key not in ("categories", "detector")
    }
    folder = RunFolder.create(
        path, ClassificationRecord, kept | {"task": "classify", "config": made, "classes": list(names)}
    )
    folder.commit(outcomes)
    folder.write_json("summary.json", summarize(folder.iterate(), names))
    folder.close()
    return path


@pytest.fixture
def classified_run(tmp_path) -> Path:
    """Six images, all of class 0 at first: four attacked, one of them in vain; one already wrong; one broken."""
    statuses = ("success", "success", "failure", "success", "already", "error")
    outcomes = [classified(tmp_path, i, status, label=int(status == "already")) for i, status in enumerate(statuses, 1)]
    return write_classified(tmp_path / "classified", outcomes)
