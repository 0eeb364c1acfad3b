"""AP of a run on real photos, against pycocotools called directly on detections that the run had no part in."""

import contextlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detattack.cli import status_of
from detattack.detectors.registry import load_detector

SHARED = Path(os.environ.get("DETATTACK_SHARED", Path(__file__).parents[2] / ".." / "shared")).resolve()
YOLOX = SHARED / "tools" / "yolox_nano_coco.py"
DATA = SHARED / "data" / "coco-val80"

pytestmark = pytest.mark.skipif(
    not (YOLOX.is_file() and DATA.is_dir()), reason="needs YOLOX-Nano and COCO photos (DETATTACK_SHARED)"
)


def crowded(count: int) -> list[int]:
    """The photos with the most annotations: there the detector reports more than 100 objects, and of one class."""
    truth = json.loads((DATA / "instances.json").read_text())
    counts = {image["id"]: 0 for image in truth["images"]}
    for annotation in truth["annotations"]:
        counts[annotation["image_id"]] += 1
    return sorted(counts, key=lambda i: (-counts[i], i))[:count]


def write_subset(path: Path, ids: list[int]) -> None:
    """A file of annotations of some of the photos."""
    truth = json.loads((DATA / "instances.json").read_text())
    truth["images"] = [image for image in truth["images"] if image["id"] in ids]
    truth["annotations"] = [a for a in truth["annotations"] if a["image_id"] in ids]
    path.write_text(json.dumps(truth))


def detections(detector, truth: COCO, folder: Path, suffix: str) -> list[dict]:
    """All that the detector reports for the files in a folder, in COCO's results format."""
    found = []
    for image in truth.dataset["images"]:
        pixels = np.array(Image.open(folder / Path(image["file_name"]).with_suffix(suffix)).convert("RGB"))
        values = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
        one = detector.detect(values, detector.eval_threshold)[0]
        rows = zip(one.boxes.tolist(), one.scores.tolist(), one.labels.tolist(), strict=True)
        for (x1, y1, x2, y2), score, label in rows:
            category = detector.categories[label].coco_id
            bbox = [x1, y1, x2 - x1, y2 - y1]
            found.append({"image_id": image["id"], "category_id": category, "bbox": bbox, "score": score})
    return found


def test_ap_clean_and_attacked_is_that_of_all_detections(tmp_path):
    annotations, run = tmp_path / "instances.json", tmp_path / "run"
    write_subset(annotations, crowded(6))
    data = ["--images", str(DATA / "images"), "--annotations", str(annotations)]
    more = ["--model", f"{YOLOX}:factory", "--device", "cpu", "--batch", "1", "--quality", "quick"]
    few = ["--max-iterations", "2", "--out", str(run), "--quiet"]
    assert status_of(["evaluate", *data, *more, *few]) == 0
    ap = json.loads((run / "summary.json").read_text())["ap"]
    detector = load_detector(f"{YOLOX}:factory", "cpu")
    for which, folder, suffix in (("clean", DATA / "images", ".jpg"), ("adversarial", run / "images", ".png")):
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(str(annotations))
            results = detections(detector, truth, folder, suffix)
            evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        assert len(json.loads((run / f"{which}.json").read_text())) == len(results) > 6 * 100
        expected = [None if value < 0 else value for value in evaluation.stats]
        assert list(ap[which].values()) == pytest.approx(expected, abs=1e-9)
        precision = evaluation.eval["precision"][..., 0, -1]
        for row, category in enumerate(evaluation.params.catIds):
            known = precision[:, :, row][precision[:, :, row] > -1]
            scored = ap["per_category"][truth.cats[category]["name"]][f"{which}_ap"]
            assert scored == (pytest.approx(known.mean(), abs=1e-9) if known.size else None)
    assert ap["cut_images"]["clean"] > 0
