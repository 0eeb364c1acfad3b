"""Images with labels: CIFAR-10, class folders, a folder with a labels file, and photos that are always there.

A label is what the source has: a class name, an index, or nothing. `resolve_labels` turns it into an index of a
model's classes, once that model is known. Images are read when their turn comes.
"""

import csv
import hashlib
import io
import itertools
import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from classify.objective import shares
from classify.types import Classifier
from detattack.core.errors import InputError, unknown
from detattack.core.faults import check_device
from detattack.core.wording import counted, worded
from detattack.datasets.base import (
    Dataset,
    Label,
    Picture,
    Sample,
    decoded,
    file_fingerprint,
    file_sample,
    folder_dataset,
    image_files,
    missing_images,
    parse_json,
    read_description,
    renamed_images,
    unique_stems,
)
from detattack.datasets.image_io import read_image, to_tensor
from detattack.datasets.image_names import IMAGE_SUFFIXES, find_files, image_paths, images_inside
from detattack.datasets.source import DatasetSource, absolute

log = logging.getLogger(__name__)
SPLITS = ("train", "test")
CIFAR10_FOLDER = "cifar-10-batches-py"
PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
"""What scikit-image installs with itself and shows one thing that ImageNet has a class for, or nearly so."""

FILE_COLUMNS = ("file", "filename", "file_name", "image", "path")
LABEL_COLUMNS = ("label", "class", "name")
"""What a labels file may call its columns; of several the first named here."""

_WORDNET_ID = re.compile(r"n\d{8}")
_IMAGENET_CLASSES = 1000
_INTEGER = re.compile(r"([+-]?[0-9]{1,18})(?:\.0*)?")
"""An index, also as pandas writes it in a column that has gaps: 3.0."""


def open_labeled(
    images: Path | None, labels: Path | None, split: str = "test", side: int = 32, missing: str = "skip"
) -> Dataset:
    """Open what the command line names: nothing (photos of `side` pixels), a labels file, CIFAR-10, or a folder.

    A folder is taken for CIFAR-10 if `cifar-10-batches-py` is in it or is its name; where it has a subfolder named
    after the split, that is taken in its place; with subfolders of images it is one of class folders, and else
    one of images without labels.

    - images, labels: paths; None: not given
    - split: `train` or `test`
    - side: of the photos, in pixels
    - missing: as of `labels_file`

    Raises `InputError`.
    """
    if images is None:
        if labels is not None:
            raise InputError(f"labels {labels}: the folder of their images is not given")
        return photos(side)
    data = _open_folder(Path(images), labels, split, missing)
    source = DatasetSource(images=absolute(images), labels=None if labels is None else absolute(labels), split=split)
    return replace(data, source=source)


def named_images(paths: Sequence[Path]) -> Dataset:
    """Images named by the user, without labels. Raises `InputError` for one that cannot be read."""
    dataset = image_files(paths)
    return replace(dataset, labels=dict.fromkeys((sample.id for sample in dataset.samples), None))


def _open_folder(images: Path, labels: Path | None, split: str, missing: str) -> Dataset:
    if labels is not None:
        return labels_file(images, labels, missing)
    if images.resolve().name == CIFAR10_FOLDER:
        return cifar10(images.resolve().parent, split)
    if (images / CIFAR10_FOLDER).is_dir():
        return cifar10(images, split)
    root = images
    if (images / split).is_dir():
        images = images / split
    if images.is_dir() and any(image_paths(folder, root) for folder in _subfolders(images)):
        return class_folders(images, root)
    dataset = folder_dataset(images, root)
    return replace(dataset, labels=dict.fromkeys((sample.id for sample in dataset.samples), None))


def cifar10(root: Path, split: str) -> Dataset:
    """CIFAR-10 as torchvision reads it (`root` contains `cifar-10-batches-py`), in the official order.

    split: "train" or "test". Raises `InputError`.
    """
    if split not in SPLITS:
        raise unknown("split of CIFAR-10", split, SPLITS)
    from torchvision.datasets import CIFAR10

    try:
        data = CIFAR10(str(root), train=split == "train", download=False)
    except (RuntimeError, OSError) as error:
        problem = "CIFAR-10 is incomplete or damaged; detattack data prepare cifar10 fetches it"
        raise InputError(f"images {root}: {problem}") from error
    pixels = np.ascontiguousarray(data.data)
    digest = hashlib.sha256(np.asarray(data.targets).tobytes())
    digest.update(pixels.data)
    height, width = pixels.shape[1:3]
    samples = tuple(
        Sample(i + 1, f"{split}{i:05d}", f"CIFAR-10 {split}[{i}]", (width, height), partial(Picture, row))
        for i, row in enumerate(pixels)
    )
    labels = {i: data.classes[target] for i, target in enumerate(data.targets, 1)}
    return Dataset(samples, digest.hexdigest()[:16], labels=labels)


def class_folders(root: Path, top: Path | None = None) -> Dataset:
    """Read a folder with a subfolder of images for each class; their names are the labels.

    The classes take turns, so that the first N images are spread evenly over them. A thousand folders named by
    WordNet ids are ImageNet's classes in its order: their labels are indices. top: the folder that links must not
    leave; None: `root`. Raises `InputError`.
    """
    root = _folder(root)
    found = {folder: image_paths(folder, top or root) for folder in _subfolders(root)}
    classes = {folder.name: paths for folder, paths in found.items() if paths}
    if not classes:
        raise InputError(f"images {root}: no class folder with an image in it")
    turns = itertools.zip_longest(*([(name, path) for path in paths] for name, paths in classes.items()))
    order = [pair for turn in turns for pair in turn if pair]
    names, paths = [name for name, _ in order], [path for _, path in order]
    stems = [path.stem for path in paths]
    if len(set(stems)) < len(stems):
        stems = [f"{name}-{stem}" for name, stem in zip(names, stems, strict=True)]
    labels = _folder_labels(list(classes))
    dataset = _file_dataset(root, paths, stems, b"", _folder_notes(root, found))
    return replace(dataset, labels={i: labels[name] for i, name in enumerate(names, 1)})


def labels_file(images: Path, labels: Path, missing: str = "skip") -> Dataset:
    """Read the images that a labels file names and that are in the folder, in its order. What is left out is noted.

    The file is JSON, either `{"file": label, ...}` or `[{"file": ..., "label": ...}, ...]`, or rows `file,label` with
    commas, semicolons or tabs between, with or without a header. A file is a path in the folder; a label is a class
    name or an index.
    missing: "skip" for images that are not in the folder, or "error". Raises `InputError` for all that is wrong in it,
    saying the row, and where no image is there.
    """
    images, labels = _folder(images), Path(labels)
    where = f"labels {labels}"
    data = read_description(labels, where)
    rows = list((_json_rows if labels.suffix.lower() == ".json" else _table_rows)(data, where))
    if not rows:
        raise InputError(f"{where}: has no row")
    names = [name for _, name, _ in rows]
    found = find_files(images, names, lambda number: f"{rows[number][0]}: file")
    notes = missing_images(names, found, images, "labeled", missing) + renamed_images(names, found, images)
    given: dict[Path, Label] = {}
    again = 0
    for (place, name, label), path in zip(rows, found, strict=True):
        if path in given and given[path] != label:
            raise InputError(f"{place}: file {name!r} has a row already, with another label")
        if path is not None:
            again += path in given
            given[path] = label
    if again:
        notes.append(f"{counted(again, 'row')} of {labels} {worded(again, 'is', 'are')} there twice; taken once")
    paths = list(given)
    left = [path for path in images_inside(images) if path not in given]
    if left:
        notes.append(f"{counted(len(left), 'image')} without a row in {labels} left out (the first: {left[0]})")
    dataset = _file_dataset(images, paths, [path.stem for path in paths], data, tuple(notes))
    return replace(dataset, labels=dict(enumerate(given.values(), 1)))


def photos(side: int) -> Dataset:
    """Photos that scikit-image installs with itself, cut to a square of `side`×`side` pixels; without labels."""
    import skimage

    if side < 1:
        raise InputError(f"photos of {side} pixels: at least one is needed")
    folder = Path(skimage.__file__).parent / "data"
    paths = [folder / name for name in PHOTOS]
    stems = [path.stem.removesuffix("_left") for path in paths]
    samples = tuple(
        Sample(i, stem, str(path), (side, side), partial(_photo, path, side))
        for i, (stem, path) in enumerate(zip(stems, paths, strict=True), 1)
    )
    fingerprint = f"{file_fingerprint(b'', PHOTOS, paths)} at {side}"
    dataset = Dataset(samples, fingerprint, source=DatasetSource(side=side))
    return replace(dataset, labels=dict.fromkeys(range(1, len(paths) + 1), None))


def only_right(classifier: Classifier, data: Dataset, skip: int = 0, limit: int | None = None) -> Dataset:
    """Select the images that the classifier gets right, in order: of these, `limit` after the first `skip`.

    An image that cannot be read, or that the classifier fails on, counts as not right. Raises `InputError` where there
    are none or too few, and `DeviceBroken`.
    """
    labels = resolve_labels(data, classifier.classes)
    if any(label is None for label in labels.values()):
        raise InputError("--only-right needs images with labels")
    right = (s.id for s in data.samples if _predicted(classifier, s) == labels[s.id])
    ids = list(itertools.islice(right, skip, None if limit is None else skip + limit))
    if len(ids) < (limit or 1):
        right_ones = f"{counted(len(ids), 'image')} that {classifier.name} gets right"
        raise InputError(f"{right_ones} {worded(len(ids), 'is', 'are')} left, {limit or 1} asked for")
    what = f"{len(ids)} right ones of {classifier.name} after {skip}"
    return data.pick(ids, what, only_right=True, skip=skip, limit=limit)


def _predicted(classifier: Classifier, sample: Sample) -> int | None:
    try:
        return int(shares(classifier, to_tensor(sample.load().pixels)).argmax())
    except (InputError, ValueError):
        return None
    except Exception as error:  # the model is someone else's code: whatever it raises concerns this image
        check_device(error, sample.source)
        said = " ".join(str(error).split())[:300]
        log.warning("%s: left out, %s fails on it (%s: %s)", sample.source, classifier.name, type(error).__name__, said)
        return None


def resolve_labels(data: Dataset, classes: Sequence[str]) -> dict[int, int | None]:
    """Resolve the labels to indices of a model's classes, by sample id; None where a label is unknown.

    Names match as in `ClassNames`; one that is no class, but an integer, is an index. Raises `InputError` for a name
    that is no class or several, and for an index out of range, naming the image.
    """
    names = ClassNames(classes)

    def resolve(label: Label, source: str) -> int | None:
        if isinstance(label, int) and not 0 <= label < len(classes):
            raise InputError(f"label {label} of {source}: the model has the classes 0 to {len(classes) - 1}")
        if not isinstance(label, str):
            return label
        found = names.find(label, f" of {source}")
        integer = _INTEGER.fullmatch(label)
        if found is None and integer:
            return resolve(int(integer[1]), source)
        if found is None:
            raise unknown(f"class of {source}", label, classes)
        return found

    return {sample.id: resolve(data.labels.get(sample.id), sample.source) for sample in data.samples}


def _folder(path: Path) -> Path:
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"images {path}: {'not a folder' if path.exists() else 'no such folder'}")
    return path


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _file_dataset(
    root: Path, paths: Sequence[Path], stems: Sequence[str], start: bytes, notes: tuple[str, ...]
) -> Dataset:
    ids = range(1, len(paths) + 1)
    samples = tuple(map(file_sample, ids, unique_stems(stems, ids), paths, [None] * len(paths)))
    names = [path.relative_to(root).as_posix() for path in paths]
    return Dataset(samples, file_fingerprint(start, names, paths), notes=notes)


def _folder_labels(names: list[str]) -> dict[str, Label]:
    if len(names) == _IMAGENET_CLASSES and all(map(_WORDNET_ID.fullmatch, names)):
        return {name: index for index, name in enumerate(sorted(names))}
    return {name: name for name in names}


def _folder_notes(root: Path, found: Mapping[Path, list[Path]]) -> tuple[str, ...]:
    beside = sum(p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "." and p.is_file() for p in root.iterdir())
    empty = [folder.name for folder, paths in found.items() if not paths]
    notes = []
    if beside:
        notes.append(f"{counted(beside, 'image')} of {root} in no class folder; left out")
    if empty:
        notes.append(f"{counted(len(empty), 'class folder')} of {root} without an image (the first: {empty[0]})")
    return tuple(notes)


def _json_rows(data: bytes, where: str) -> Iterator[tuple[str, str, Label]]:
    content = parse_json(data, where, _Pairs)
    if isinstance(content, _Pairs):
        for name, label in content:
            yield f"{where}: {name!r}", name, _checked(label, f"{where}: {name!r}")
        return
    if not isinstance(content, list):
        raise InputError(f"{where}: neither a list of rows nor an object of files")
    for number, item in enumerate(content, 1):
        place = f"{where}: row {number}"
        if not isinstance(item, _Pairs):
            raise InputError(f"{place}: not an object with 'file' and 'label'")
        keys = dict(item)
        name = keys[_column(keys, FILE_COLUMNS, place)]
        if not isinstance(name, str):
            raise InputError(f"{place}: file is {name!r}, not a text")
        yield place, name, _checked(keys[_column(keys, LABEL_COLUMNS, place)], place)


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON with its keys as they stand, twice where they stand twice."""


def _table_rows(data: bytes, where: str) -> Iterator[tuple[str, str, Label]]:
    text = decoded(data, where)
    reader = csv.reader(io.StringIO(text), delimiter=_delimiter(text), strict=True)
    file_at, label_at = 0, 1
    try:
        for number, row in enumerate(filter(None, reader)):
            place = f"{where}: line {reader.line_num}"
            cells = [cell.strip() for cell in row]
            if number == 0 and any(cell.lower() in FILE_COLUMNS for cell in cells):
                header = [cell.lower() for cell in cells]
                file_at = header.index(_column(header, FILE_COLUMNS, place))
                label_at = header.index(_column(header, LABEL_COLUMNS, place))
                continue
            if len(cells) <= max(file_at, label_at) or not cells[label_at]:
                raise InputError(f"{place}: has no label")
            yield place, cells[file_at], cells[label_at]
    except csv.Error as error:
        raise InputError(f"{where}: line {reader.line_num}: {error}") from error


def _delimiter(text: str) -> str:
    """Tell by the first row what parts the cells: a tab, a comma, or the semicolon of spreadsheets.

    A row without a header that has both of the latter has the semicolon in a name.
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    outside = re.sub(r'"[^"]*"', "", first)
    if "\t" in outside:
        return "\t"
    is_header = any(cell.strip().lower() in FILE_COLUMNS for cell in outside.split(";"))
    return ";" if ";" in outside and (is_header or "," not in outside) else ","


def _column(names: Collection[str], known: Sequence[str], place: str) -> str:
    for name in known:
        if name in names:
            return name
    raise InputError(f"{place}: has no {known[0]!r}")


def _checked(label: Any, place: str) -> Label:
    if isinstance(label, float) and label.is_integer():
        return int(label)
    if isinstance(label, bool) or not isinstance(label, str | int):
        shown = "an object or a list" if isinstance(label, list) else repr(label)
        raise InputError(f"{place}: label is {shown}, neither a class name nor an index")
    return label


def _photo(path: Path, side: int) -> Picture:
    image = Image.fromarray(read_image(path).pixels)
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    return Picture(np.asarray(image.resize((side, side), Image.Resampling.LANCZOS, box=box)))


def _plain(name: str) -> str:
    return re.sub(r"[\s_,-]+", "", name.casefold())


def _synonyms(name: str) -> list[str]:
    return [part.strip() for part in name.split(",") if part.strip()]


_SPELLINGS: tuple[Callable[[str], list[str]], ...] = (
    lambda name: [name],  # ImageNet has Cardigan, a dog, and cardigan, to wear
    lambda name: [_plain(name)],
    _synonyms,
    lambda name: [_plain(part) for part in _synonyms(name)],
)


class ClassNames:
    """The names of a classifier's classes, as people write them.

    A name matches as it is written, else whatever its letter case, blanks, `_`, `-` and commas, else by one of its
    synonyms (parted by commas, as in ImageNet's lists).
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._indices = [_index(classes, spelled) for spelled in _SPELLINGS]

    def find(self, name: str, where: str = "") -> int | None:
        """Find the index of a class; None where no class is called so.

        Raises `InputError` for a name of several classes, saying `where`.
        """
        for spelled, index in zip(_SPELLINGS, self._indices, strict=True):
            found = {i for spelling in spelled(name) for i in index.get(spelling, ())}
            if len(found) == 1:
                return found.pop()
            if found:
                several = " and ".join(map(str, sorted(found)))
                raise InputError(f"class {name!r}{where}: is the name of classes {several}; give the index")
        return None


def _index(classes: Sequence[str], spelled: Callable[[str], list[str]]) -> dict[str, set[int]]:
    index: dict[str, set[int]] = {}
    for number, name in enumerate(classes):
        for spelling in spelled(name):
            index.setdefault(spelling, set()).add(number)
    return index
