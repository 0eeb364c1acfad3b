"""An own data format: images with a table of boxes beside them, `--images FOLDER --format table`; in `boxes.csv`."""

import csv
import hashlib
from dataclasses import replace
from pathlib import Path

from detattack.datasets.base import folder_dataset
from detattack.datasets.open import register_format


@register_format("table")
def read_table(images, annotations):
    data, found = folder_dataset(images), []
    text = (annotations or images / "boxes.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))  # image, class, x1, y1, x2, y2
    names = sorted({row["class"] for row in rows})
    ids = {Path(sample.source).name: sample.id for sample in data.samples}
    for number, row in enumerate(rows, 1):
        x1, y1, x2, y2 = (float(row[side]) for side in ("x1", "y1", "x2", "y2"))
        known = {"id": number, "image_id": ids[row["image"]], "category_id": names.index(row["class"])}
        found.append({**known, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0})
    categories = tuple({"id": number, "name": name} for number, name in enumerate(names))
    fingerprint = f"{data.fingerprint}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return replace(data, categories=categories, annotations=tuple(found), fingerprint=fingerprint)
