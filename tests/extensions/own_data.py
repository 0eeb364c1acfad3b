"""An own data format: images with YOLO labels beside them, `--images FOLDER --format yolo`; names in `classes.txt`."""

import hashlib
from dataclasses import replace
from pathlib import Path

from PIL import Image

from detattack.datasets.base import folder_dataset
from detattack.datasets.open import register_format


@register_format("yolo")
def read_yolo(images, annotations):
    data, found, digest = folder_dataset(images), [], hashlib.sha256()
    names = (annotations or images / "classes.txt").read_text(encoding="utf-8").split("\n")
    for sample in data.samples:
        width, height = Image.open(sample.source).size
        text = Path(sample.source).with_suffix(".txt").read_text(encoding="utf-8")
        digest.update(text.encode())
        for line in text.splitlines():
            number, x, y, w, h = map(float, line.split())
            box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
            known = {"image_id": sample.id, "category_id": int(number), "area": box[2] * box[3], "iscrowd": 0}
            found.append({"id": len(found) + 1, "bbox": box, **known})
    categories = tuple({"id": number, "name": name} for number, name in enumerate(names) if name)
    fingerprint = f"{data.fingerprint}:{digest.hexdigest()[:16]}"
    return replace(data, categories=categories, annotations=tuple(found), fingerprint=fingerprint)
