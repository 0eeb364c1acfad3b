"""Compare two images, or two folders of images matched by file name."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from detattack.core.errors import InputError
from detattack.core.processes import parallel_map
from detattack.datasets.image_io import LoadedImage, read_image
from detattack.datasets.image_names import image_paths
from detattack.metrics.image_quality import ImageQuality, measure


@dataclass(frozen=True)
class ImagePair:
    """An image and the one that it is compared with.

    - name: of the original, in its folder
    - original, other: the files
    """

    name: str
    original: Path
    other: Path


@dataclass(frozen=True)
class MeasuredPair:
    """A pair and its quality measures.

    - quality: None where it could not be measured
    - reason: why not; empty otherwise
    - notes: the conversions made while reading
    """

    pair: ImagePair
    quality: ImageQuality | None
    reason: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class MatchedFolders:
    """The image pairs of two folders, in the order of the first's paths, and the names without a partner in each."""

    pairs: tuple[ImagePair, ...]
    only_first: tuple[str, ...] = ()
    only_second: tuple[str, ...] = ()


def match_images(first: Path, second: Path) -> MatchedFolders:
    """Match two files, or the images of two folders.

    Two files are a pair whatever their names. The images of two folders are matched by relative path, the rest by
    relative path without suffix, the rest by file stem; a name that is not unique matches nothing.

    Raises `InputError` for a file and a folder, and for missing paths.
    """
    for path in (first, second):
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
    if not first.is_dir() and not second.is_dir():
        return MatchedFolders((ImagePair(first.name, first, second),))
    if not (first.is_dir() and second.is_dir()):
        folder, file = (first, second) if first.is_dir() else (second, first)
        raise InputError(f"{folder} is a folder and {file} is not: two images are measured, or two folders")
    return _match_folders(first, second)


def measure_pairs(pairs: Sequence[ImagePair], only: Sequence[str] | None = None) -> Iterator[MeasuredPair]:
    """Yield each pair's measures (see `image_quality.measure`) in order, over all cores; errors become reasons."""
    return parallel_map(partial(_measured, only), pairs)


def measure_pair(pair: ImagePair, only: Sequence[str] | None = None) -> MeasuredPair:
    """Measure one pair. Raises `InputError` if an image cannot be read or the sizes differ."""
    original, other = read_image(pair.original), read_image(pair.other)
    if original.pixels.shape != other.pixels.shape:
        sizes = f"{_size(original)} and {_size(other)}"
        raise InputError(f"{pair.original} and {pair.other}: images of different sizes, {sizes}")
    return MeasuredPair(pair, measure(original.pixels, other.pixels, only), notes=original.notes + other.notes)


def average_quality(measured: Sequence[MeasuredPair], mean: Callable[[list[float]], float]) -> ImageQuality:
    """Aggregate each measure by `mean` over the pairs for which it is defined; NaN if it is defined for none."""
    qualities = [one.quality for one in measured if one.quality]
    found = ImageQuality()
    for name in qualities[0] if qualities else ():
        defined = [values[name] for values in qualities if not math.isnan(values[name])]
        found[name] = mean(defined) if defined else math.nan
    return found


def _measured(only: Sequence[str] | None, pair: ImagePair) -> MeasuredPair:
    try:
        return measure_pair(pair, only)
    except InputError as error:
        return MeasuredPair(pair, None, str(error))


def _size(image: LoadedImage) -> str:
    return f"{image.width}×{image.height}"


def _match_folders(first: Path, second: Path) -> MatchedFolders:
    lefts, rights = ({path.relative_to(folder): path for path in image_paths(folder)} for folder in (first, second))
    partners: dict[Path, Path] = {}
    only_first, only_second = list(lefts), list(rights)
    for key in (lambda name: name, lambda name: name.with_suffix(""), lambda name: Path(name.stem)):
        found = _partners(only_first, only_second, key)
        partners |= found
        taken = set(found.values())
        only_first = [name for name in only_first if name not in found]
        only_second = [name for name in only_second if name not in taken]
    pairs = tuple(ImagePair(name.as_posix(), lefts[name], rights[partners[name]]) for name in lefts if name in partners)
    return MatchedFolders(pairs, tuple(map(Path.as_posix, only_first)), tuple(map(Path.as_posix, only_second)))


def _partners(lefts: list[Path], rights: list[Path], key: Callable[[Path], Path]) -> dict[Path, Path]:
    """Match names by a key that is unique on either side."""
    left_counts, right_counts = Counter(map(key, lefts)), Counter(map(key, rights))
    found = {key(name): name for name in rights if right_counts[key(name)] == 1}
    return {name: found[key(name)] for name in lefts if left_counts[key(name)] == 1 and key(name) in found}
