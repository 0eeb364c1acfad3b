"""Photos with COCO annotations, converted to YOLO and Pascal VOC by supervision: the same clean AP.

Neither format knows crowds, so that COCO's file is without them here, and without masks, whose area AP by size goes by.
Pascal VOC's boxes are whole pixels: they are compared with COCO's, rounded alike.
"""

import json
import os
import shutil
from pathlib import Path

import pytest

from detattack.datasets.base import Dataset
from detattack.datasets.coco import category_ids, coco_dataset
from detattack.datasets.image_io import read_image, to_tensor
from detattack.datasets.open import open_dataset
from detattack.datasets.source import DatasetSource
from detattack.detectors.registry import load_detector
from detattack.metrics.coco import evaluate

SHARED = Path(os.environ.get("DETATTACK_SHARED", Path(__file__).parents[2] / ".." / "shared")).resolve()
NANODET = SHARED / "tools" / "nanodet_coco.py"
DATA = SHARED / "data" / "coco-val80"
IMAGES = DATA / "images"

pytestmark = pytest.mark.skipif(
    not (NANODET.is_file() and DATA.is_dir()), reason="needs NanoDet and COCO photos (DETATTACK_SHARED)"
)


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> Path:
    """COCO's file without crowds and masks."""
    content = json.loads((DATA / "instances.json").read_text())
    kept = [item for item in content["annotations"] if not item["iscrowd"]]
    for item in kept:
        del item["segmentation"]
        item["area"] = item["bbox"][2] * item["bbox"][3]
    assert len(content["annotations"]) - len(kept) == 11
    path = tmp_path_factory.mktemp("coco") / "instances.json"
    path.write_text(json.dumps(content | {"annotations": kept}))
    return path


@pytest.fixture(scope="module")
def converted(coco):
    supervision = pytest.importorskip("supervision", reason="needs supervision, which converts data sets")
    return supervision.DetectionDataset.from_coco(str(IMAGES), str(coco))


@pytest.fixture(scope="module")
def found():
    """All detections of each photo by its stem, and the detector."""
    detector = load_detector(f"{NANODET}:factory", "cpu")
    images = {path.stem: to_tensor(read_image(path).pixels)[None] for path in sorted(IMAGES.glob("*.jpg"))}
    return detector, {stem: detector.detect(image, detector.eval_threshold)[0] for stem, image in images.items()}


def ap(dataset: Dataset, found) -> dict:
    """COCO's twelve figures of the detections."""
    detector, detections = found
    numbers = category_ids(detector.categories, dataset.categories)
    results = []
    for sample in dataset.samples:
        one = detections[Path(sample.source).stem]
        rows = zip(one.boxes.tolist(), one.scores.tolist(), one.labels.tolist(), strict=True)
        for (x1, y1, x2, y2), score, label in rows:
            where = {"image_id": sample.id, "category_id": numbers.get(label), "bbox": [x1, y1, x2 - x1, y2 - y1]}
            results += [{**where, "score": score}] if label in numbers else []
    ids = [sample.id for sample in dataset.samples]
    return evaluate(dataset.annotations, dataset.categories, results, ids, set(numbers.values())).figures()


def test_yolo(converted, coco, found, tmp_path):
    shutil.copytree(IMAGES, tmp_path / "images" / "val")
    description = tmp_path / "data.yaml"
    labels = str(tmp_path / "labels" / "val")
    converted.as_yolo(annotations_directory_path=labels, data_yaml_path=str(description))
    description.write_text(description.read_text() + "val: images/val\n")
    ours, theirs = open_dataset(DatasetSource(images=str(description))), coco_dataset(IMAGES, coco)
    assert (len(ours.samples), len(ours.annotations)) == (80, len(theirs.annotations))
    assert ap(ours, found) == pytest.approx(ap(theirs, found), abs=1e-6)


def test_voc(converted, coco, found, tmp_path):
    shutil.copytree(IMAGES, tmp_path / "JPEGImages")
    converted.as_pascal_voc(annotations_directory_path=str(tmp_path / "Annotations"))
    content = json.loads(coco.read_text())
    for item in content["annotations"]:
        x, y, width, height = item["bbox"]
        x1, y1 = round(x + 1) - 1, round(y + 1) - 1
        x2, y2 = max(round(x + width), x1 + 1), max(round(y + height), y1 + 1)
        item["bbox"], item["area"] = [x1, y1, x2 - x1, y2 - y1], (x2 - x1) * (y2 - y1)
    rounded = tmp_path / "rounded.json"
    rounded.write_text(json.dumps(content))
    ours, theirs = open_dataset(DatasetSource(images=str(tmp_path))), coco_dataset(IMAGES, rounded)
    assert (len(ours.samples), len(ours.annotations)) == (80, len(theirs.annotations))
    figures = ap(ours, found)
    assert figures == pytest.approx(ap(theirs, found), abs=1e-6)
    assert figures["ap"] == pytest.approx(ap(coco_dataset(IMAGES, coco), found)["ap"], abs=0.005)
