"""A small COCO data set of colored squares for the toy detector, with images of two sizes."""

import json
from pathlib import Path

from PIL import Image

from tests.toy_pictures import marked, squares

SIZES = ((64, 48), (96, 64))
CATEGORIES = [
    {"id": 7, "name": "person"},
    {"id": 2, "name": "car"},
    {"id": 40, "name": "Dog"},
    {"id": 9, "name": "kite"},
]


def write_data(root: Path, count: int = 6, mark: int | None = None) -> list[str]:
    """Writes `count` images with a car and a dog each, the last one empty, and returns the options that name them.

    mark: the image that some of the toy's factories trip over.
    """
    images, annotations = [], []
    for number in range(count):
        width, height = SIZES[number % 3 == 1]
        places = [] if number == count - 1 else ["car@8,8", "dog@40,24"]
        path = root / "data" / f"{number % 2}" / f"i{number // 2}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = squares(*places, width=width, height=height, seed=number)
        Image.fromarray(marked(pixels) if number == mark else pixels).save(path)
        name = path.relative_to(root / "data").as_posix()
        images.append({"id": 100 - number, "file_name": name, "width": width, "height": height})
        for place in places:
            x, y = (int(v) for v in place.partition("@")[2].split(","))
            category = 2 if place.startswith("car") else 40
            box = {"bbox": [x, y, 16, 16], "area": 256, "iscrowd": 0}
            annotations.append({"id": len(annotations), "image_id": 100 - number, "category_id": category, **box})
    file = root / "instances.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES}))
    return ["--images", str(root / "data"), "--annotations", str(file)]


def made(folder: Path) -> dict[str, bytes]:
    """What a run made: its files by name, timings, manifest and ledger aside."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != "run.json" and not name.startswith("ledger.sqlite"):
            found[name] = path.read_bytes()
    summary = json.loads(found["summary.json"])
    del summary["timing"]
    found["summary.json"] = json.dumps(summary).encode()
    del found["images.csv"]  # it tells seconds
    found.pop("images.parquet", None)
    return found
