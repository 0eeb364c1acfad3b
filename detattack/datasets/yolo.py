"""YOLO data sets: a `data.yaml` that names classes and images, and a text file of labels for each image.

A line of a label file is a class and a box (center and size), or a class and a polygon, in shares of the image. The
labels of `.../images/a.jpg` are in `.../labels/a.txt`, those of an image with no folder `images` above it beside it.
An image without a label file shows nothing of the classes. Annotation tools that write no `data.yaml` leave the names
of the classes in `classes.txt`, one a line.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from detattack.core.categories import check_one_a_line
from detattack.core.errors import InputError, unknown
from detattack.core.wording import counted
from detattack.datasets.base import Dataset, decoded, missing_images, read_description
from detattack.datasets.coco_file import Repairs
from detattack.datasets.image_io import image_size
from detattack.datasets.image_names import find_files, image_paths
from detattack.datasets.labeled import CocoItem, LabeledImage, coco_object, labeled_dataset, read_labels

SUFFIXES = (".yaml", ".yml")
SPLITS = ("val", "test", "train")
"""Keys of a `data.yaml` that name images; the first that is there is taken where none is asked for."""
DESCRIPTIONS = ("data.yaml", "data.yml")
CLASSES = "classes.txt"
"""Names of the classes, where no YAML file describes a folder; no label file."""
NULLS = ("", "~", "null", "Null", "NULL")
"""How YAML writes that there is nothing."""
TOLERANCE = 0.01
"""How far a share may lie outside of 0 to 1: rounding, and boxes that were cut a little wide."""
_UP = "../"


def is_yolo(folder: Path) -> bool:
    """Return whether a folder has a `data.yaml` that names classes."""
    found = next((folder / name for name in DESCRIPTIONS if (folder / name).is_file()), None)
    return found is not None and re.search(rb"^names\s*:", read_description(found, f"data {found}"), re.M) is not None


def yolo_dataset(
    images: Path, annotations: Path | None = None, split: str | None = None, missing: str = "skip"
) -> Dataset:
    """Open a YOLO data set; the categories have the numbers of its classes as ids.

    - images: its `data.yaml`, or the folder that has one, or a `classes.txt` instead
    - annotations: not taken, since labels lie where the images are
    - split: a key of `data.yaml`; None: the first of `SPLITS`
    - missing: "skip" labels and lines of lists without an image, or "error"

    Raises `InputError` that names file and line.
    """
    if annotations is not None:
        raise InputError(f"--annotations {annotations}: {images} says where its labels are, or is no YOLO data set")
    file = _description(Path(images))
    said = read_description(file, f"data {file}")
    content = _classes(said, file) if file.name == CLASSES else _content(said, f"data {file}")
    names, splits = _names(content, f"data {file}"), [key for key in SPLITS if content.get(key)]
    if not splits:
        raise InputError(f"data {file}: names no images ({', '.join(map(repr, SPLITS))})")
    if split is not None and split not in splits:
        raise unknown(f"split of data {file}", split, splits)
    chosen = split or splits[0]
    notes = [] if split or len(splits) == 1 else [f"data {file}: the split {chosen!r} of {', '.join(splits)} is taken"]
    root = _root(content, file)
    paths, more = _images(content[chosen], root, f"data {file}: {chosen}", missing)
    repairs, digest = Repairs(), hashlib.sha256(said)
    labels = _Labels(names, _key_point_values(content, f"data {file}"), repairs, digest.update)
    labeled = [labels.of(path) for path in paths]
    if not labels.files:
        raise InputError(f"data {file}: {chosen}: no image has labels (the first would be in {label_path(paths[0])})")
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    return labeled_dataset(root, labeled, categories, digest.digest(), (*notes, *more, *repairs.notes()))


def label_path(image: Path) -> Path:
    """Return the file of an image's labels."""
    return folder_of_labels(image).with_suffix(".txt")


def folder_of_labels(path: Path) -> Path:
    """Return a path of images with `labels` for the last `images` in it, if there is one."""
    parts = list(path.parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts)


def _description(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [one for one in sorted(path.iterdir()) if one.suffix.lower() in SUFFIXES]
    named = [one for one in found if one.stem == "data"] or found
    if not named and (path / CLASSES).is_file():
        return path / CLASSES
    if len(named) != 1:
        raise InputError(f"images {path}: has {len(named) or 'no'} YAML files; name the one that describes the data")
    return named[0]


def _classes(said: bytes, file: Path) -> dict[str, Any]:
    """Return what a `data.yaml` would say of a folder that has the names of its classes alone."""
    lines = decoded(said, f"data {file}").splitlines()
    names = [line.strip() for line in lines if line.strip()]
    check_one_a_line(names, f"data {file}")
    return {"names": names, "train": "images" if (file.parent / "images").is_dir() else "."}


def _content(said: bytes, where: str) -> dict[str, Any]:
    try:
        # The base loader leaves a class that is called `no` or `010` the text that it is.
        content = yaml.load(decoded(said, where), Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{where}: broken YAML at line {line} ({error.problem})") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{where}: broken YAML ({' '.join(str(error).split())[:120]})") from error
    if not isinstance(content, dict):
        raise InputError(f"{where}: no mapping, as a data.yaml is")
    return {key: value for key, value in content.items() if value not in NULLS}


def _names(content: dict[str, Any], where: str) -> list[str]:
    """Return the names of the classes in the order of their numbers, which run from 0 on without a gap."""
    names = content.get("names")
    if isinstance(names, dict):
        numbers = {str(number) for number in range(len(names))}
        if set(names) != numbers:
            raise InputError(f"{where}: the numbers of 'names' do not run from 0 on without a gap")
        names = [names[str(number)] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"{where}: has no 'names', a list of the classes or a mapping from their numbers")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{where}: names {twice[:80]!r} twice")
    count = content.get("nc", str(len(names)))
    if count != str(len(names)):
        raise InputError(
            f"{where}: nc is {str(count)[:20]}, but {counted(len(names), 'class is', 'classes are')} named"
        )
    return names


def _key_point_values(content: dict[str, Any], where: str) -> int:
    """Return how many numbers of key points follow a box, of a data set for poses."""
    shape = content.get("kpt_shape", ["0", "0"])
    if not isinstance(shape, list) or len(shape) != 2 or not all(isinstance(n, str) and n.isdecimal() for n in shape):
        raise InputError(f"{where}: kpt_shape is no list of two numbers")
    return int(shape[0]) * int(shape[1])


def _root(content: dict[str, Any], file: Path) -> Path:
    """Return the folder that the images are relative to: `path`, from the file's folder or from here; else the former.

    Tools move data sets and leave `path` as it was.
    """
    said = content.get("path")
    if not isinstance(said, str) or not said:
        return file.parent
    return next((root for root in (file.parent / said, Path(said)) if root.is_dir()), file.parent)


def _images(said: Any, root: Path, where: str, missing: str) -> tuple[list[Path], list[str]]:
    """Return the images of a split and notes on them."""
    places = said if isinstance(said, list) else [said]
    if not all(isinstance(place, str) for place in places):
        raise InputError(f"{where}: neither a folder nor a list of images")
    found, notes = [], []
    for place in places:
        path = root / place
        if not path.exists() and place.startswith(_UP):  # as some tools write it, from a folder that they left out
            path = root / place.removeprefix(_UP)
        paths, more = _of_list(path, root, missing) if path.is_file() else _of_folder(path, where, missing)
        found += paths
        notes += more
    if not found:
        raise InputError(f"{where}: has no image")
    return list(dict.fromkeys(found)), notes


def _of_folder(folder: Path, where: str, missing: str) -> tuple[list[Path], list[str]]:
    if not folder.is_dir():
        raise InputError(f"{where}: no such folder or list {folder}")
    paths = image_paths(folder)
    labels = folder_of_labels(folder)
    if labels == folder or not labels.is_dir():
        return paths, []
    expected = {label_path(path) for path in paths}
    alone = [path for path in sorted(labels.rglob("*.txt")) if path not in expected and path.name != CLASSES]
    names = [path.relative_to(labels).as_posix() for path in alone]
    notes = missing_images([*map(str, paths), *names], [*paths, *[None] * len(alone)], folder, "labeled", missing)
    return paths, notes


def _of_list(file: Path, root: Path, missing: str) -> tuple[list[Path], list[str]]:
    lines = decoded(read_description(file, f"list {file}"), f"list {file}").splitlines()
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    names = [name.removeprefix("./") for _, name in numbered]
    paths = find_files(root, names, lambda index: f"{file}:{numbered[index][0]}:")
    notes = missing_images(names, paths, root, "listed", missing)
    return [path for path in paths if path], notes


class _Labels:
    """The label files of a data set.

    - names: of the classes
    - key_points: how many numbers follow a box
    - repairs: what is mended
    - hashed: takes the content of each file
    """

    def __init__(
        self, names: Sequence[str], key_points: int, repairs: Repairs, hashed: Callable[[bytes], None]
    ) -> None:
        self._names = names
        self._key_points = key_points
        self._repairs = repairs
        self._hashed = hashed
        self.files = 0

    def of(self, image: Path) -> LabeledImage:
        """Read the labels of an image. Of one that cannot be read, the labels are checked and left out."""
        path, size = label_path(image), image_size(image)
        objects: list[CocoItem] = []
        if path.is_file():
            self.files += 1
            content = read_labels(path, f"labels of {image}")
            self._hashed(content + b"\0")
            objects = list(self._objects(decoded(content, str(path)), path, size or (0, 0)))
        else:
            self._repairs.add("image", "without labels", image.name, "nothing is on it")
        return LabeledImage(image, size, objects if size else ())

    def _objects(self, text: str, path: Path, size: tuple[int, int]) -> Iterator[CocoItem]:
        seen = set()
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words:
                continue
            item = self._object(words, f"{path}:{number}", size)
            if line in seen:
                self._repairs.add("label", "written twice", f"{path.name}:{number}", "taken once")
            else:
                yield item
            seen.add(line)

    def _object(self, words: list[str], where: str, size: tuple[int, int]) -> CocoItem:
        try:
            label, *shares = map(float, words)
        except ValueError:
            raise InputError(f"{where}: not numbers ({' '.join(words)[:40]!r})") from None
        if not label.is_integer() or not 0 <= label < len(self._names):
            raise InputError(f"{where}: class {words[0][:20]}, but the classes are 0 to {len(self._names) - 1}")
        if self._key_points and len(shares) == 4 + self._key_points:
            shares = shares[:4]
        bad = next((share for share in shares if not -TOLERANCE <= share <= 1 + TOLERANCE), None)
        if bad is not None:
            raise InputError(f"{where}: {bad:g} is not within 0 to 1, a share of the image")
        if len(shares) == 4:
            return coco_object(int(label), self._box(shares, where, size))
        if len(shares) < 6 or len(shares) % 2:
            raise InputError(
                f"{where}: {counted(len(words), 'number')}, where a class and a box are 5, and a polygon has pairs"
            )
        return _outlined(int(label), shares, size)

    def _box(self, shares: Sequence[float], where: str, size: tuple[int, int]) -> list[float]:
        x, y, width, height = shares
        if width < 0 or height < 0:
            raise InputError(f"{where}: a box of negative size")
        if width == 0 or height == 0:
            self._repairs.add("label", "with a box without area", where, "kept")
        return [(x - width / 2) * size[0], (y - height / 2) * size[1], width * size[0], height * size[1]]


def _outlined(label: int, shares: Sequence[float], size: tuple[int, int]) -> CocoItem:
    """Make an annotation of a polygon, with the box around it and its area."""
    xs, ys = [x * size[0] for x in shares[::2]], [y * size[1] for y in shares[1::2]]
    around = zip(xs, ys, [*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True)
    area = abs(sum(x1 * y2 - x2 * y1 for x1, y1, x2, y2 in around)) / 2
    box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    outline = [value for point in zip(xs, ys, strict=True) for value in point]
    return coco_object(label, box, area, segmentation=[outline])
