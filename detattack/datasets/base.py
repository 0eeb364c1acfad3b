"""Where images come from: files, folders, rendered scenes (COCO files: `coco_data`). All as the same few nouns,
read when their turn comes."""

import hashlib
import json
import stat
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detattack.core.boxes import Box
from detattack.core.errors import InputError
from detattack.core.files import is_plain
from detattack.datasets.image_io import image_size, read_image
from detattack.datasets.image_names import image_paths, is_named
from detattack.datasets.source import Origin, absolute

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, eq=False, repr=False)
class Picture:
    """An image that has been read: pixels uint8 `[H,W,3]` RGB, what was converted, and free road if known."""

    pixels: np.ndarray
    notes: tuple[str, ...] = ()
    road: Box | None = None

    def __repr__(self) -> str:
        return f"Picture({self.pixels.shape[1]}×{self.pixels.shape[0]})"


@dataclass(frozen=True, eq=False, repr=False)
class Sample:
    """One image of a data set. stem: of the files written for it. source: where it came from, for people.
    size: (width, height)."""

    id: int
    stem: str
    source: str
    size: tuple[int, int]
    load: Callable[[], Picture]

    def __repr__(self) -> str:
        return f"Sample({self.id}, {self.source!r}, {self.size[0]}×{self.size[1]})"


@dataclass(frozen=True)
class Originals:
    """The ids of images and categories that are texts in a COCO file, by the integers that stand for them here."""

    images: Mapping[int, str] = field(default_factory=dict)
    categories: Mapping[int, str] = field(default_factory=dict)

    def restored(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """An annotation or a result with the ids of its image and category as the file has them."""
        image, category = item["image_id"], item["category_id"]
        ids = {"image_id": self.images.get(image, image), "category_id": self.categories.get(category, category)}
        return {**item, **ids}


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Samples in order, their COCO annotations if there are any, and a fingerprint of what they are.

    notes: what people should know of it, each said once. origin: what opens it again, where that is known. originals:
    ids that are not integers in the annotation file."""

    samples: tuple[Sample, ...]
    fingerprint: str
    categories: tuple[dict[str, Any], ...] = ()
    annotations: tuple[dict[str, Any], ...] = field(default=())
    notes: tuple[str, ...] = ()
    origin: Origin | None = None
    originals: Originals = Originals()

    def __repr__(self) -> str:
        truth = f", {len(self.annotations)} annotations, {len(self.categories)} categories" if self.categories else ""
        return f"Dataset({len(self.samples)} images{truth})"

    def first(self, count: int | None) -> "Dataset":
        """The first `count` samples and their annotations; None: all."""
        if count is None or count >= len(self.samples):
            return self
        return self._part(self.samples[:count], f"first {count}", limit=count)

    def after(self, count: int) -> "Dataset":
        """All samples but the first `count`, and their annotations. Raises `InputError` where none is left."""
        if not count:
            return self
        if count >= len(self.samples):
            raise InputError(f"--skip {count}: the data set has {len(self.samples)} images")
        return self._part(self.samples[count:], f"after {count}", skip=count)

    def _part(self, samples: tuple[Sample, ...], what: str, **which: Any) -> "Dataset":
        """Some samples; `what` says in the fingerprint which they are, and `which` in the origin, whose fields it
        has."""
        ids = {sample.id for sample in samples}
        annotations = tuple(a for a in self.annotations if a["image_id"] in ids)
        origin = self.origin and replace(self.origin, **which)
        fingerprint = f"{self.fingerprint}:{what}"
        return replace(self, samples=samples, annotations=annotations, fingerprint=fingerprint, origin=origin)


def image_files(paths: Sequence[Path]) -> Dataset:
    """Images named by the user. Each is read at once, so that bad input is known before anything is written."""
    digest = hashlib.sha256()
    samples = []
    stems = unique_stems([path.stem for path in paths], list(range(1, len(paths) + 1)))
    for number, (path, stem) in enumerate(zip(paths, stems, strict=True), 1):
        image = read_image(path)
        digest.update(image.pixels.tobytes())
        samples.append(Sample(number, stem, str(path), (image.width, image.height), partial(_picture, path)))
    return Dataset(tuple(samples), digest.hexdigest()[:16], origin=Origin(files=tuple(map(absolute, paths))))


def folder_dataset(folder: Path, root: Path | None = None) -> Dataset:
    """All images of a folder and its subfolders, in the order of their paths. Hidden files and files without the
    name of an image are left out; one that cannot be read is found out when its turn comes.

    root: the folder that links must not leave; None: `folder`. Raises `InputError` where one does, unless the
    environment lets it (`image_names.LINKS`), where there is no such folder, and no image in it.
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
    return Dataset(samples, file_fingerprint(b"", names, paths), origin=Origin(images=absolute(folder)))


def file_sample(number: int, stem: str, path: Path, size: tuple[int, int] | None) -> Sample:
    """A sample that is a file; its size from its header where it is not known (0×0 if that cannot be read)."""
    return Sample(number, stem, str(path), size or image_size(path) or (0, 0), partial(_picture, path))


def file_fingerprint(start: bytes, names: Sequence[str], paths: Sequence[Path | None]) -> str:
    """A hash of `start` and of the files' names and sizes: cheap also where the images are many. A path that is None is
    that of a missing image, which `start` names."""
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
    """What is to be said of images that a description names and that are not in the folder. kind: of those images.

    missing: "skip", or "error" to refuse them. Raises `InputError`, also where none is there.
    """
    away = [name for name, path in zip(names, paths, strict=True) if path is None]
    if not away:
        return []
    if len(away) == len(names):
        raise InputError(f"none of the {len(names)} {kind} images is in {folder} (the first: {away[0][:80]!r})")
    verb = "is" if len(away) == 1 else "are"
    said = f"{len(away)} of the {len(names)} {kind} images {verb} not in {folder} (the first: {away[0][:80]!r})"
    if missing == "error":
        raise InputError(said)
    return [f"{said}; left out of every figure"]


def renamed_images(names: Sequence[str], paths: Sequence[Path | None], folder: Path) -> list[str]:
    """What is to be said of images that are in the folder by another name than the description has."""
    other = [(name, path) for name, path in zip(names, paths, strict=True) if path and not is_named(path, folder, name)]
    if not other:
        return []
    name, path = other[0]
    said = f"{len(other)} {'image is' if len(other) == 1 else 'images are'} named otherwise in {folder}"
    return [f"{said} (the first: {name[:80]!r} is {path.relative_to(folder).as_posix()!r})"]


def read_description(path: Path, where: str) -> bytes:
    """The bytes of a file that describes a data set. Raises `InputError` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror or error})") from error


def parse_json(data: bytes, where: str, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """JSON that describes a data set; `pairs_hook` as json's. Raises `InputError` that says the line."""
    try:
        return json.loads(decoded(data, where), object_pairs_hook=pairs_hook)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: broken JSON at line {error.lineno}, column {error.colno} ({error.msg})") from error
    except RecursionError as error:
        raise InputError(f"{where}: nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise InputError(f"{where}: {error}") from error


def decoded(data: bytes, where: str) -> str:
    """UTF-8 text, with or without a byte order mark. Raises `InputError`."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 text (byte {error.start})") from error


def unique_stems(stems: Sequence[str], ids: Sequence[int]) -> list[str]:
    """Stems, with the id where two collide (also by letter case, which some file systems ignore); the id alone for
    what cannot name a file everywhere."""
    found = [stem if is_plain(stem) else f"image-{i}" for stem, i in zip(stems, ids, strict=True)]
    while True:
        counts = Counter(stem.lower() for stem in found)
        if len(counts) == len(found):
            return found
        found = [f"{s}-{i}" if counts[s.lower()] > 1 else s for s, i in zip(found, ids, strict=True)]


def _picture(path: Path) -> Picture:
    image = read_image(path)
    return Picture(image.pixels, image.notes)
