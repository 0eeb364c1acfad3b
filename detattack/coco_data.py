"""COCO data sets, `instances_*.json` and a folder of images, as they are published and as others write them.

The whole annotation file is checked before anything runs; what is wrong is said in one line. Images are not
read here: one that is missing or damaged is recorded when its turn comes.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from detattack.datasets import (
    Dataset,
    Sample,
    file_fingerprint,
    file_sample,
    parse_json,
    path_inside,
    read_description,
    unique_stems,
)
from detattack.detectors.names import canonical, pairs
from detattack.errors import InputError
from detattack.origins import Origin, absolute
from detattack.types import Category

Record = dict[str, Any]
LARGEST_ID = 2**63 - 1
UNKNOWN, AMBIGUOUS = "no such class in the model", "not the only class of that name"
"""Why an annotated category is not counted."""


def coco_dataset(images_dir: Path, annotations_file: Path) -> Dataset:
    """The images of a COCO file, in its order, with its annotations and categories.

    Crowds and masks (polygons, run lengths) are kept as they are; a missing `iscrowd` is 0, a missing `area` that
    of the box. Raises `InputError` for anything that is not as COCO has it, naming what and where.
    """
    images_dir, annotations_file = Path(images_dir), Path(annotations_file)
    if not images_dir.is_dir():
        raise InputError(f"images {images_dir}: {'not a folder' if images_dir.exists() else 'no such folder'}")
    where = f"annotations {annotations_file}"
    data = read_description(annotations_file, where)
    images, annotations, categories = parse_coco(data, where)
    if not images:
        raise InputError(f"{where}: has no image")
    samples, fingerprint = _samples(images_dir, images, data, where)
    origin = Origin(images=absolute(images_dir), annotations=absolute(annotations_file))
    return Dataset(samples, fingerprint, tuple(categories), tuple(annotations), _notes(annotations), origin)


def parse_coco(data: bytes, where: str) -> tuple[list[Record], list[Record], list[Record]]:
    """Images, annotations and categories of a COCO file, each checked. `where` is said of what is wrong. Raises
    `InputError`."""
    content = _parse(data, where)
    categories = _categories(content["categories"], where)
    images = _images(content["images"], where)
    annotations = _annotations(content["annotations"], {i["id"] for i in images}, {c["id"] for c in categories}, where)
    return images, annotations, categories


def category_ids(categories: Sequence[Category], of_data: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """From a detector's labels to the category ids of the annotations, matched by name as `detectors.names.pairs` does.

    A class that the data set does not have is left out. No categories in the data: the detector's COCO ids.
    """
    if not of_data:
        return {label: c.coco_id for label, c in enumerate(categories)}
    found = pairs([c.name for c in categories], [c["name"] for c in of_data])
    return {label: of_data[i]["id"] for label, i in found.items()}


def classes_not_counted(
    categories: Sequence[Category], of_data: Sequence[Mapping[str, Any]], annotations: Iterable[Mapping[str, Any]]
) -> dict[str, str]:
    """Names of annotated categories that no class of the detector is matched with, and why each is not."""
    annotated = {a["category_id"] for a in annotations} - set(category_ids(categories, of_data).values())
    known = {canonical(c.name) for c in categories}
    names = [c["name"] for c in of_data if c["id"] in annotated]
    return {name: AMBIGUOUS if canonical(name) in known else UNKNOWN for name in names}


def _parse(data: bytes, where: str) -> Record:
    content = parse_json(data, where)
    if not isinstance(content, dict):
        raise InputError(f"{where}: holds a {type(content).__name__} where COCO has an object")
    for key in ("images", "annotations", "categories"):
        if key not in content:
            raise InputError(f"{where}: has no {key!r}")
        if not isinstance(content[key], list):
            raise InputError(f"{where}: {key!r} is not a list")
    return content


def _categories(items: list[Any], where: str) -> list[Record]:
    _check_ids(items, "category", where)
    names: set[str] = set()
    for item in items:
        place = f"{where}: category {item['id']}"
        name = _value(item, "name", str, place)
        if name in names:
            raise InputError(f"{place}: the name {name!r} is taken by another category")
        names.add(name)
        _check_numbers(item, place)
    return items


def _images(items: list[Any], where: str) -> list[Record]:
    _check_ids(items, "image", where)
    for item in items:
        place = f"{where}: image {item['id']}"
        _value(item, "file_name", str, place)
        for key in ("width", "height"):
            if key in item and (not _is_integer(item[key]) or item[key] < 1):
                raise InputError(f"{place}: {key} is {item[key]!r}, not a number of pixels")
    return items


def _annotations(items: list[Any], images: set[int], categories: set[int], where: str) -> list[Record]:
    _check_ids(items, "annotation", where)
    kept = []
    for item in items:
        place = f"{where}: annotation {item['id']}"
        for key, known in (("image_id", images), ("category_id", categories)):
            value = _value(item, key, int, place)
            if value not in known:
                raise InputError(f"{place}: {key} {value} is not in the file")
        x, y, w, h = _bbox(item, place)
        crowd = item.get("iscrowd", 0)
        if crowd not in (0, 1):
            raise InputError(f"{place}: iscrowd is {crowd!r}, not 0 or 1")
        area = item.get("area", w * h)
        if not _is_number(area) or area < 0:
            raise InputError(f"{place}: area is {area!r}")
        _check_numbers(item, place)
        kept.append({**item, "bbox": [x, y, w, h], "area": area, "iscrowd": int(crowd)})
    return kept


def _bbox(item: Record, place: str) -> list[float]:
    box = _value(item, "bbox", list, place)
    if len(box) != 4 or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in box):
        raise InputError(f"{place}: bbox is {_shown(box)}, not four numbers x,y,width,height")
    if not all(_is_number(v) for v in box):
        raise InputError(f"{place}: bbox {_shown(box)} has a number that is not finite")
    if box[2] < 0 or box[3] < 0:
        raise InputError(f"{place}: bbox {_shown(box)} has a negative size")
    return box


def _samples(folder: Path, images: list[Record], data: bytes, where: str) -> tuple[tuple[Sample, ...], str]:
    paths = [path_inside(folder, i["file_name"], f"{where}: image {i['id']}: file_name") for i in images]
    ids = [i["id"] for i in images]
    stems = unique_stems([path.stem for path in paths], ids)
    sizes = [(i["width"], i["height"]) if "width" in i and "height" in i else None for i in images]
    samples = tuple(map(file_sample, ids, stems, paths, sizes))
    return samples, file_fingerprint(data, [i["file_name"] for i in images], paths)


def _notes(annotations: list[Record]) -> tuple[str, ...]:
    flat = [a["id"] for a in annotations if a["bbox"][2] == 0 or a["bbox"][3] == 0]
    if not flat:
        return ()
    return (f"{len(flat)} annotations have a box without area (the first: annotation {flat[0]}); kept",)


def _check_ids(items: list[Any], kind: str, where: str) -> None:
    seen: set[int] = set()
    for number, item in enumerate(items, 1):
        place = f"{where}: {kind} number {number}"
        if not isinstance(item, dict):
            raise InputError(f"{place}: not an object but {_shown(item)}")
        value = _value(item, "id", int, place)
        if not 0 <= value <= LARGEST_ID:
            raise InputError(f"{place}: id {value} is out of range")
        if value in seen:
            raise InputError(f"{where}: {kind} id {value} occurs twice")
        seen.add(value)


def _value(item: Record, key: str, kind: type, place: str) -> Any:
    if key not in item:
        raise InputError(f"{place}: has no {key!r}")
    value = item[key]
    if not (_is_integer(value) if kind is int else isinstance(value, kind)):
        names = {int: "an integer", str: "a text", list: "a list"}
        raise InputError(f"{place}: {key} is {_shown(value)}, not {names[kind]}")
    return value


def _check_numbers(item: Record, place: str) -> None:
    """Raises `InputError` for what could be read, but not be written again with the adversarial images."""
    try:
        json.dumps(item, allow_nan=False)
    except ValueError:
        raise InputError(f"{place}: holds a number that is not finite") from None
    except RecursionError:
        raise InputError(f"{place}: nested too deeply") from None


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."
