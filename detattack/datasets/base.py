"""Data sets of image files and folders (COCO: `coco`; rendered scenes: `rendered`); images are read one by one."""

import hashlib
import json
import stat
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from detattack.core.boxes import Box
from detattack.core.errors import InputError
from detattack.core.files import is_plain
from detattack.core.wording import counted, worded
from detattack.datasets.image_io import image_size, read_image
from detattack.datasets.image_names import image_paths, is_named
from detattack.datasets.source import DatasetSource, absolute


@dataclass(frozen=True, eq=False, repr=False)
class Picture:
    """An image that has been read.

    - pixels: uint8 `[H,W,3]` RGB
    - notes: the conversions made while reading
    - road: a box on free road, where the image is rendered and has one
    - start: float `[3,H,W]` in [0,1], where an attack on it begins; None: at the image
    """

    pixels: np.ndarray
    notes: tuple[str, ...] = ()
    road: Box | None = None
    start: Tensor | None = None

    def __repr__(self) -> str:
        return f"Picture({self.pixels.shape[1]}×{self.pixels.shape[0]})"


@dataclass(frozen=True, eq=False, repr=False)
class Sample:
    """One image of a data set, not read yet.

    - id: its id in the data set
    - stem: the file stem of the files written for it
    - source: human-readable origin: its path, or the number of its scene
    - size: (width, height)
    - load: reads the image
    """

    id: int
    stem: str
    source: str
    size: tuple[int, int]
    load: Callable[[], Picture]

    def __repr__(self) -> str:
        return f"Sample({self.id}, {self.source!r}, {self.size[0]}×{self.size[1]})"


Label = str | int | None
"""What an image shows, as its source has it: the name of a class, its index, or nothing."""


@dataclass(frozen=True)
class OriginalIds:
    """Ids of images and categories in a COCO file where others, all of them integers, stand for them here; by these."""

    images: Mapping[int, int | str] = field(default_factory=dict)
    categories: Mapping[int, int | str] = field(default_factory=dict)

    def restored(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return an annotation or a result with the ids of its image and category as in the file."""
        image, category = item["image_id"], item["category_id"]
        ids = {"image_id": self.images.get(image, image), "category_id": self.categories.get(category, category)}
        return {**item, **ids}


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Samples in order, with their COCO annotations if there are any.

    - samples: the images
    - fingerprint: identifies the data
    - categories, annotations: as in a COCO file
    - labels: what classifiers should say, by sample id: a class name, an index, or None where it is unknown
    - notes: messages for the user, each printed once
    - source: how to open it again, where that is known
    - original_ids: ids in the annotation file where they are others here
    """

    samples: tuple[Sample, ...]
    fingerprint: str
    categories: tuple[dict[str, Any], ...] = ()
    annotations: tuple[dict[str, Any], ...] = field(default=())
    notes: tuple[str, ...] = ()
    source: DatasetSource | None = None
    original_ids: OriginalIds = OriginalIds()
    labels: Mapping[int, Label] = field(default_factory=dict)

    def __repr__(self) -> str:
        counts = [counted(len(self.samples), "image")]
        if self.categories:
            counts += [counted(len(self.annotations), "annotation"), counted(len(self.categories), "category")]
        return f"Dataset({', '.join(counts)})"

    def first(self, count: int | None) -> "Dataset":
        """Return the first `count` samples and their annotations; None: all."""
        if count is None or count >= len(self.samples):
            return self
        return self._part(self.samples[:count], f"first {count}", limit=count)

    def after(self, count: int) -> "Dataset":
        """Return all samples but the first `count`, and their annotations. Raises `InputError` if none is left."""
        if not count:
            return self
        if count >= len(self.samples):
            raise InputError(f"--skip {count}: the data set has {counted(len(self.samples), 'image')}")
        return self._part(self.samples[count:], f"after {count}", skip=count)

    def thinned(self, every: int = 1, first: int | None = None) -> "Dataset":
        """Return each `every`-th sample, and of these the first so many (None: all), as the fields of a source say."""
        data = self if every == 1 else self._part(self.samples[::every], f"every {every}", every=every)
        if first is None or first >= len(data.samples):
            return data
        return data._part(data.samples[:first], f"first {first}", first=first)

    def pick(self, ids: Collection[int], what: str, **which: Any) -> "Dataset":
        """Pick the samples of these ids, in order; `what`, `which`: as of `_part`."""
        wanted = set(ids)
        return self._part(tuple(sample for sample in self.samples if sample.id in wanted), what, **which)

    def _part(self, samples: tuple[Sample, ...], what: str, **which: Any) -> "Dataset":
        """Return a part of the data set.

        - samples: those of the part
        - what: names the part in the fingerprint
        - which: the fields of the source that select it
        """
        ids = {sample.id for sample in samples}
        annotations = tuple(a for a in self.annotations if a["image_id"] in ids)
        source = replace(self.source, **which) if which and self.source else None
        labels = {i: label for i, label in self.labels.items() if i in ids}
        fingerprint = f"{self.fingerprint}:{what}"
        return replace(
            self, samples=samples, annotations=annotations, labels=labels, fingerprint=fingerprint, source=source
        )


def image_files(paths: Sequence[Path]) -> Dataset:
    """Make a data set of images given by path.

    Each is read at once, so that bad input is known before anything is written. Raises `InputError`.
    """
    digest = hashlib.sha256()
    samples = []
    stems = unique_stems([path.stem for path in paths], list(range(1, len(paths) + 1)))
    for number, (path, stem) in enumerate(zip(paths, stems, strict=True), 1):
        image = read_image(path)
        digest.update(image.pixels.tobytes())
        samples.append(Sample(number, stem, str(path), (image.width, image.height), partial(read_picture, path)))
    return Dataset(tuple(samples), digest.hexdigest()[:16], source=DatasetSource(files=tuple(map(absolute, paths))))


def folder_dataset(folder: Path, root: Path | None = None) -> Dataset:
    """Make a data set of all images of a folder and its subfolders, in the order of their paths.

    Hidden files and files without an image suffix are left out; one that cannot be read is reported when it is
    attacked.

    - folder: of the images
    - root: the folder that links must not leave; None: `folder`

    Raises `InputError` if a link does, unless the environment allows it (`image_names.LINKS`), if there is no such
    folder, and if it has no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"images {folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    paths = image_paths(folder, root)
    if not paths:
        raise InputError(f"images {folder}: no image in this folder")
    names = [path.relative_to(folder).as_posix() for path in paths]
    ids = range(1, len(paths) + 1)
    stems = unique_stems([path.stem for path in paths], ids)
    samples = tuple(map(file_sample, ids, stems, paths, [None] * len(paths)))
    return Dataset(samples, file_fingerprint(b"", names, paths), source=DatasetSource(images=absolute(folder)))


def file_sample(number: int, stem: str, path: Path, size: tuple[int, int] | None) -> Sample:
    """Make a sample of a file.

    - number: its id
    - stem: the file stem of the files written for it
    - path: of the image
    - size: (width, height); None: read from its header (0×0 if that fails)
    """
    return Sample(number, stem, str(path), size or image_size(path) or (0, 0), partial(read_picture, path))


def file_fingerprint(start: bytes, names: Sequence[str], paths: Sequence[Path | None]) -> str:
    """Return a hash of the files' names and sizes: cheap also for many images.

    - start: hashed first; it names the missing images
    - names: one per image
    - paths: None for a missing image
    """
    digest = hashlib.sha256(start)
    for name, path in zip(names, paths, strict=True):
        said = "missing\n" if path is None else f"{name}\0{_file_size(path)}\n"
        digest.update(said.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _file_size(path: Path) -> int:
    try:
        found = path.stat()
    except OSError:
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1


def missing_images(
    names: Sequence[str], paths: Sequence[Path | None], folder: Path, kind: str, missing: str
) -> list[str]:
    """Return the note on images that a description names and that are not in the folder; none if all are there.

    - names, paths: one per image; the path is None if it is missing
    - folder: of the images
    - kind: of those images, for the message
    - missing: "skip", or "error" to refuse them

    Raises `InputError`, also if all are missing.
    """
    away = [name for name, path in zip(names, paths, strict=True) if path is None]
    if not away:
        return []
    if len(away) == len(names):
        none_is = worded(len(names), f"the one {kind} image is not", f"none of the {len(names)} {kind} images is")
        raise InputError(f"{none_is} in {folder} (the first: {away[0][:80]!r})")
    of_all = f"{len(away)} of the {len(names)} {kind} images {worded(len(away), 'is', 'are')}"
    said = f"{of_all} not in {folder} (the first: {away[0][:80]!r})"
    if missing == "error":
        raise InputError(said)
    return [f"{said}; left out of every figure"]


def renamed_images(names: Sequence[str], paths: Sequence[Path | None], folder: Path) -> list[str]:
    """Return the note on images that are in the folder under another name than in the description, if there are any."""
    other = [(name, path) for name, path in zip(names, paths, strict=True) if path and not is_named(path, folder, name)]
    if not other:
        return []
    name, path = other[0]
    said = f"{counted(len(other), 'image is', 'images are')} named otherwise in {folder}"
    return [f"{said} (the first: {name[:80]!r} is {path.relative_to(folder).as_posix()!r})"]


def read_description(path: Path, where: str) -> bytes:
    """Read the bytes of a file that describes a data set. Raises `InputError` if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror or error})") from error


def parse_json(data: bytes, where: str, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Parse JSON that describes a data set.

    - data: its bytes
    - where: names the file in messages
    - pairs_hook: as json's `object_pairs_hook`

    Raises `InputError` that names the line.
    """
    try:
        return json.loads(decoded(data, where), object_pairs_hook=pairs_hook)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: broken JSON at line {error.lineno}, column {error.colno} ({error.msg})") from error
    except RecursionError as error:
        raise InputError(f"{where}: nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise InputError(f"{where}: {error}") from error


def decoded(data: bytes, where: str) -> str:
    """Decode UTF-8 text, with or without a byte order mark. Raises `InputError`."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 text (byte {error.start})") from error


def unique_stems(stems: Sequence[str], ids: Sequence[int]) -> list[str]:
    """Make file stems unique: append the id where two collide, also by letter case, which some file systems ignore.

    What cannot be a file name everywhere is replaced by the id.
    """
    found = [stem if is_plain(stem) else f"image-{i}" for stem, i in zip(stems, ids, strict=True)]
    while True:
        counts = Counter(stem.lower() for stem in found)
        if len(counts) == len(found):
            return found
        found = [f"{s}-{i}" if counts[s.lower()] > 1 else s for s, i in zip(found, ids, strict=True)]


def read_picture(path: Path) -> Picture:
    """Read an image file. Raises `InputError`."""
    image = read_image(path)
    return Picture(image.pixels, image.notes)
