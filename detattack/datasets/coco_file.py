"""Read COCO annotation files, as published or as exported by other tools, and repair what has a plain meaning.

What is repaired or left out is noted once per kind, with a count and the first place; what cannot be is an
`InputError`. Numbers may be written as 12.0 or "12".
"""

import json
import math
import re
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from pycocotools import mask

from detattack.core.errors import InputError
from detattack.core.wording import counted
from detattack.datasets.base import OriginalIds, parse_json

CocoItem = dict[str, Any]
"""An image, an annotation or a category of a COCO file."""
LARGEST_ID = 2**63 - 1

_DIGITS = re.compile(r"[0-9]{1,18}")
_RUNS = re.compile(r"(?:[P-o]{0,6}[0-O])+")
"""Run lengths as packed by pycocotools: a character from P on means that another one follows."""
_LARGEST_MASK = 2**31
_DEEPEST = 4
_CHECKED = frozenset(("id", "image_id", "category_id", "bbox", "area", "iscrowd"))
_encode = json.JSONEncoder(allow_nan=False).encode


@dataclass(frozen=True)
class CocoFile:
    """The content of a COCO file, repaired, with integer ids.

    original_ids: the ids that the file has in another form.
    """

    images: list[CocoItem]
    annotations: list[CocoItem]
    categories: list[CocoItem]
    original_ids: OriginalIds
    notes: tuple[str, ...]


class Repairs:
    """The repairs of a file: how often each was made, and where first."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], tuple[int, object]] = {}

    def add(self, kind: str, what: str, place: object, done: str) -> None:
        """Count a repair.

        - kind: of the item, e.g. `annotation`
        - what: is wrong with it
        - place: its id or number
        - done: how it was repaired
        """
        number, first = self._found.get((kind, what, done), (0, place))
        self._found[kind, what, done] = (number + 1, first)

    def notes(self) -> tuple[str, ...]:
        """Return a line for each kind of repair."""
        return tuple(
            f"{counted(number, kind)} {what} (the first: {kind} {first}); {done}"
            for (kind, what, done), (number, first) in self._found.items()
        )


def parse_coco(data: bytes, where: str, as_written: bool = False) -> CocoFile:
    """Parse the images, annotations and categories of a COCO file.

    - data: its bytes
    - where: names the file in messages
    - as_written: whether each category is a class, also one without annotations that others belong to

    Raises `InputError`.
    """
    content = _parse(data, where)
    repairs = Repairs()
    items = list(_items(content["annotations"], where))
    images = _Ids(content["images"], "image", where, repairs)
    categories = _Ids(content["categories"], "category", where, repairs)
    used = (
        {item["id"] for item in categories.items}
        if as_written
        else {categories.number(item.get("category_id")) for item in items}
    )
    classes, merged = _classes(categories.items, used, where, repairs)
    pictures = [_image(item, f"{where}: image {images.written(item['id'])}", repairs) for item in images.items]
    annotations = list(_annotations(items, images, categories, where, repairs))
    if annotations and all(_is_share(annotation["bbox"]) for annotation in annotations):
        raise InputError(
            f"{where}: no box reaches beyond the first pixel: COCO's are in pixels, not shares of the image"
        )
    if items and not annotations:
        raise InputError(f"{where}: of its {counted(len(items), 'annotation')} none is left: {repairs.notes()[-1]}")
    _give_ids(annotations, repairs)
    for annotation in annotations:
        annotation["category_id"] = merged.get(annotation["category_id"], annotation["category_id"])
    original_ids = OriginalIds(images.original_ids, categories.original_ids)
    return CocoFile(pictures, annotations, classes, original_ids, repairs.notes())


def _parse(data: bytes, where: str) -> CocoItem:
    content = parse_json(data, where)
    if not isinstance(content, dict):
        raise InputError(f"{where}: holds a {type(content).__name__} where COCO has an object")
    for key in ("images", "annotations", "categories"):
        if key not in content:
            raise InputError(f"{where}: has no {key!r}")
        if not isinstance(content[key], list):
            raise InputError(f"{where}: {key!r} is not a list")
    return content


def _items(annotations: list[Any], where: str) -> Iterator[CocoItem]:
    """Yield the annotations; of a panoptic file, which has one annotation per image, their segments."""
    for number, item in enumerate(annotations, 1):
        place = f"{where}: annotation number {number}"
        segments = _object(item, place).get("segments_info")
        if isinstance(segments, list):
            yield from ({**_object(one, place), "image_id": item.get("image_id")} for one in segments)
        else:
            yield item


class _Ids:
    """Images or categories with integer ids. original_ids: the ids in the file that are others, by the integer.

    Texts of digits become these integers; if that makes two equal, or one is another text, all are numbered in the
    order of the file. What is listed twice is taken once. Raises `InputError`.
    """

    def __init__(self, items: list[Any], kind: str, where: str, repairs: Repairs) -> None:
        unique: dict[int | str, CocoItem] = {}
        for number, item in enumerate(items, 1):
            place = f"{where}: {kind} number {number}"
            written = _written_id(_object(item, place), place)
            if unique.setdefault(written, item) is not item:
                if any(unique[written].get(key) != item.get(key) for key in ("name", "file_name", "coco_url")):
                    raise InputError(f"{where}: {kind} id {written} occurs twice")
                repairs.add(kind, "listed twice", written, "taken once")
        values = [_integer(written) for written in unique]
        said = [value for value in values if value is not None]
        renumbered = len(set(said)) < len(unique)
        if renumbered:
            said = list(range(1, len(unique) + 1))
            values = []
        own = dict(zip(unique, said, strict=True))
        self.items = [{**item, "id": own[written]} for written, item in unique.items()]
        self.original_ids = {
            number: written for written, number in own.items() if renumbered or isinstance(written, str)
        }
        for written in (one for one in self.original_ids.values() if isinstance(one, str)):
            repairs.add(kind, "with a text for an id", written, "an integer here, the text again in the results")
        self._numbers: dict[Any, int] = {value: value for value in values if value is not None} | own

    def number(self, written: Any) -> int | None:
        """Return the integer for an id that another item refers to; None if there is no such item."""
        if isinstance(written, bool) or not isinstance(written, int | float | str):
            return None
        if written in self._numbers:
            return self._numbers[written]
        value = _integer(written)
        return self._numbers.get(value, self._numbers.get(str(value)))

    def written(self, number: int) -> int | str:
        """Return the id as in the file."""
        return self.original_ids.get(number, number)


def _image(item: CocoItem, where: str, repairs: Repairs) -> CocoItem:
    name = item.get("file_name") or item.get("coco_url", item.get("file_name"))  # LVIS has URLs alone
    if name is None:
        raise InputError(f"{where}: has no 'file_name'")
    if not isinstance(name, str):
        raise InputError(f"{where}: file_name is {_shown(name)}, not a text")
    sizes = {key: _integer(item[key]) for key in ("width", "height") if item.get(key) is not None}
    if any(size is None or size < 1 for size in sizes.values()):
        repairs.add("image", "of a size that cannot be", item["id"], "that of the file counts")
        sizes = {}
    kept = {key: value for key, value in item.items() if key not in ("width", "height")}
    return {**kept, "file_name": name, **sizes}


def _classes(
    items: list[CocoItem], used: Container[int | None], where: str, repairs: Repairs
) -> tuple[list[CocoItem], dict[int, int]]:
    """Return the categories that are classes, and a mapping from ids of duplicates to these, by name.

    A category without annotations that is the supercategory of others, as Roboflow writes it, is no class.
    """
    named = [_category(item, f"{where}: category", repairs) for item in items]
    parents = Counter(item["supercategory"] for item in named if isinstance(item.get("supercategory"), str))
    classes: dict[str, CocoItem] = {}
    merged = {}
    for item in named:
        children = parents[item["name"]] - (item.get("supercategory") == item["name"])
        if children and item["id"] not in used:
            repairs.add("category", "without an annotation that others belong to", _labeled(item), "no class")
        elif item["name"] in classes:
            merged[item["id"]] = classes[item["name"]]["id"]
            repairs.add("category", "with the name of another", _labeled(item), "taken for that one")
        else:
            classes[item["name"]] = item
    return list(classes.values()), merged


def _labeled(category: CocoItem) -> str:
    return f"{category['id']} {category['name']!r}"


def _category(item: CocoItem, where: str, repairs: Repairs) -> CocoItem:
    place = f"{where} {item['id']}"
    if "name" not in item:
        raise InputError(f"{place}: has no 'name'")
    name = item["name"]
    if isinstance(name, int | float) and not isinstance(name, bool):
        repairs.add("category", "with a number for a name", item["id"], "read as a text")
        name = str(name)
    if not isinstance(name, str):
        raise InputError(f"{place}: name is {_shown(name)}, not a text")
    return {**_writable(item, "category", item["id"], repairs), "name": name}


def _annotations(
    items: list[CocoItem], images: _Ids, categories: _Ids, where: str, repairs: Repairs
) -> Iterator[CocoItem]:
    """Yield the valid annotations, each with a box, an area and `iscrowd`; their ids as they are."""
    for number, item in enumerate(items, 1):
        written = item.get("id")
        place = written if isinstance(written, int | str) else f"number {number}"
        image, category = images.number(item.get("image_id")), categories.number(item.get("category_id"))
        box = _box(item, place, repairs)
        if image is None:
            repairs.add("annotation", "of an image that the file does not have", place, "left out")
        elif category is None:
            repairs.add("annotation", "of a category that the file does not have", place, "left out")
        elif box is not None:
            item = _writable(item, "annotation", place, repairs)
            crowd = _crowd(item, place, where, repairs)
            area = _area(item, box, place, repairs)
            ids = {"image_id": image, "category_id": category}
            yield {**item, **ids, "bbox": box, "area": area, "iscrowd": crowd}


def _box(item: CocoItem, place: object, repairs: Repairs) -> list[float] | None:
    """Return x, y, width, height as annotated, else the box around the segmentation; None where neither is valid."""
    written = item.get("bbox")
    box = _four_numbers(written)
    if box is not None and any(box):
        if box[2] == 0 or box[3] == 0:
            repairs.add("annotation", "with a box without area", place, "kept")
        return box
    around = _box_around(item.get("segmentation"))
    what = "with a box that cannot be" if written else "without a box"
    if around is not None:
        repairs.add("annotation", what, place, "the box around its segmentation counts")
        return around
    if box is not None:
        repairs.add("annotation", "with a box without area", place, "kept")
        return box
    repairs.add("annotation", what, place, "left out")
    return None


def _four_numbers(box: Any) -> list[float] | None:
    """Return a box of finite numbers and a size that is not negative, or None."""
    if not isinstance(box, list) or len(box) != 4:
        return None
    values = [v if type(v) is float or type(v) is int else _number(v) for v in box]
    try:
        fine = math.isfinite(sum(values)) and values[2] >= 0 and values[3] >= 0  # type: ignore[arg-type, operator]
    except (TypeError, OverflowError):  # one is none, or has hundreds of digits
        return None
    return values if fine else None  # type: ignore[return-value]


def _is_share(box: list[float]) -> bool:
    x, y, width, height = box
    return 0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 and 0 < height <= 1


def _box_around(segmentation: Any) -> list[float] | None:
    """Return the box around polygons or a mask of run lengths, or None."""
    if isinstance(segmentation, dict):
        return _box_of_mask(segmentation)
    numbers = list(_numbers(segmentation, _DEEPEST)) if isinstance(segmentation, list) else []
    if len(numbers) < 6 or len(numbers) % 2 or None in numbers:
        return None
    xs, ys = numbers[::2], numbers[1::2]
    return _four_numbers([min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)])  # type: ignore[type-var, operator]


def _numbers(values: list[Any], depth: int) -> Iterator[float | None]:
    """Yield all numbers in lists of lists; None for what is no number."""
    for value in values:
        if isinstance(value, list) and depth:
            yield from _numbers(value, depth - 1)
        else:
            yield _number(value)


def _box_of_mask(runs: CocoItem) -> list[float] | None:
    """Return the box around run lengths, packed or not, or None.

    The file may come from anybody, and pycocotools trusts its input, so they are checked first.
    """
    size, counts = runs.get("size"), runs.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(_is_integer(v) and v > 0 for v in size):
        return None
    height, width = size
    if height * width > _LARGEST_MASK:
        return None
    if isinstance(counts, list):
        if not all(_is_integer(v) and v >= 0 for v in counts) or sum(counts) != height * width:
            return None
        packed = mask.frPyObjects({"size": size, "counts": counts}, height, width)
    elif isinstance(counts, str) and _RUNS.fullmatch(counts):
        packed = {"size": size, "counts": counts.encode()}
    else:
        return None
    x, y, w, h = mask.toBbox([packed])[0].tolist()
    return [x, y, w, h] if 0 <= x < x + w <= width and 0 <= y < y + h <= height else None


def _crowd(item: CocoItem, place: object, where: str, repairs: Repairs) -> int:
    written = item.get("iscrowd", 0)
    if written is None:
        repairs.add("annotation", "with null for iscrowd", place, "0 counts")
        return 0
    crowd = int(written) if isinstance(written, bool) else _integer(written)
    if crowd not in (0, 1):
        raise InputError(f"{where}: annotation {place}: iscrowd is {_shown(written)}, not 0 or 1")
    return crowd


def _area(item: CocoItem, box: list[float], place: object, repairs: Repairs) -> float:
    written = item.get("area")
    area = _number(written)
    if area is not None and area >= 0:
        return area
    if "area" in item:
        what = "with null for area" if written is None else "with an area that cannot be"
        repairs.add("annotation", what, place, "that of the box counts")
    return box[2] * box[3]


def _give_ids(annotations: list[CocoItem], repairs: Repairs) -> None:
    """Make the ids unique integers. What has no such id is numbered after those that have."""
    taken: set[int] = set()
    without = []
    for number, annotation in enumerate(annotations, 1):
        written = annotation.get("id")
        value = _integer(written)
        if value is not None and 0 <= value <= LARGEST_ID and value not in taken:
            taken.add(value)
            annotation["id"] = value
            continue
        what = "an id that is taken" if value in taken else "an id that is no number from 0 on"
        what = "without an id" if written is None else f"with {what}"
        repairs.add("annotation", what, f"number {number}", "numbered anew")
        without.append(annotation)
    for value, annotation in zip(count(max(taken, default=0) + 1), without, strict=False):
        annotation["id"] = value


def _writable(item: CocoItem, kind: str, place: object, repairs: Repairs) -> CocoItem:
    """Return an item without the keys that could not be written again with the adversarial images."""
    bad = [key for key, value in item.items() if key not in _CHECKED and not _is_writable(value)]
    for key in bad:
        what = f"with a {key[:40]!r} that is not finite, or nested too deeply"
        repairs.add(kind, what, place, "the key is left out")
    return {key: value for key, value in item.items() if key not in bad} if bad else item


def _is_writable(value: Any) -> bool:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is list and _are_polygons(value):
        return True
    try:
        _encode(value)
    except (ValueError, RecursionError):
        return False
    return True


def _are_polygons(value: list[Any]) -> bool:
    """Return whether these are lists of finite numbers: most of a file, checked without a call per number."""
    try:
        return all(type(one) is list and math.isfinite(sum(one)) for one in value)
    except (TypeError, OverflowError):
        return False


def _written_id(item: CocoItem, place: str) -> int | str:
    if "id" not in item:
        raise InputError(f"{place}: has no 'id'")
    written = item["id"]
    if isinstance(written, str) and written:
        return written
    value = _integer(written)
    if value is None:
        raise InputError(f"{place}: id is {_shown(written)}, not an integer")
    if not 0 <= value <= LARGEST_ID:
        raise InputError(f"{place}: id {value} is out of range")
    return value


def _object(item: Any, place: str) -> CocoItem:
    if not isinstance(item, dict):
        raise InputError(f"{place}: not an object but {_shown(item)}")
    return item


def _integer(value: Any) -> int | None:
    """Return the integer that is written as 12, 12.0 or "12"; None for anything else."""
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else None


def _number(value: Any) -> float | None:
    """Return the finite number that is written as a number or a text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value) if isinstance(value, str) else value
        return number if math.isfinite(number) else None
    except (ValueError, OverflowError):
        return None


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."
