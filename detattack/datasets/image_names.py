"""Which images are in a folder, what links in it may do, and which file a description of a data set means by a name.

A data set may come from anybody, so a link that leads out of the folder is not followed unless the environment says so.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from detattack.core.errors import InputError

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo"),
    *(".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"),
)
"""Files of these names in a folder, in any letter case, are taken for images."""
LINKS = "DETATTACK_FOLLOW_LINKS"
"""The variable of the environment that says whether links out of a folder of images are followed: 0 or 1."""

_HOST = re.compile(r"[A-Za-z][\w+.-]*://[^/\\]*")
_DRIVE = re.compile(r"^[a-z]:")


def follows_links() -> bool:
    """Whether the environment lets links lead out of a folder of images. Raises `InputError`."""
    said = os.environ.get(LINKS, "0")
    if said not in ("0", "1"):
        raise InputError(f"{LINKS}={said}: neither 0 nor 1")
    return said == "1"


def image_paths(folder: Path, root: Path | None = None) -> list[Path]:
    """Files with the name of an image in a folder and its subfolders, in the order of their paths; hidden ones not.

    root: the folder that links must not leave; None: `folder`. Raises `InputError` where one does, unless `LINKS`.
    """
    found = list(_walk(folder, root or folder))
    leaving = [path for path, leaves in found if leaves]
    if leaving:
        said = f"{len(leaving)} links lead out of the folder (the first: {leaving[0]})"
        raise InputError(f"images {root or folder}: {said}; {LINKS}=1 follows them")
    return [Path(path) for path, _ in found]


def images_inside(folder: Path) -> list[Path]:
    """The same, but for what links lead out to. Raises `InputError` for nothing but the environment."""
    return [Path(path) for path, leaves in _walk(folder, folder) if not leaves]


def path_inside(folder: Path, name: str, where: str) -> Path:
    """The path of a file that a description of a data set names. `where` is said of a name that cannot be right.

    Raises `InputError` for a name that leads out of the folder, also through a link, unless `LINKS`.
    """
    path = Path(name)
    if not name or path.name in ("", ".", ".."):
        raise InputError(f"{where} {name!r} names no file")
    if _is_outside(name):
        raise InputError(f"{where} {name!r} leaves the folder {folder}")
    try:
        path = folder / path
        path.stat()
        leaves = not follows_links() and _leaves(path, folder)
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (OSError, ValueError) as error:  # too long a name, one that no file can have, a ring of links
        raise InputError(f"{where} {name[:80]!r} names no file ({type(error).__name__})") from error
    if leaves:
        raise InputError(f"{where} {name!r} leaves the folder {folder} through a link; {LINKS}=1 follows it")
    return path


def find_files(folder: Path, names: Sequence[str], where: Callable[[int], str]) -> list[Path | None]:
    """The file that each name means; None where it is not in the folder.

    A name that is not there to the letter may be written as on another system: with backslashes, in another letter
    case or Unicode form, as a URL, with folders in front that are not here, or without those that are. It means the
    one file that fits, if no other name means that too. where: what is said of the name of a number.

    Raises `InputError` for what can name no file, and for absolute names and those with `..` where no such name means
    a file of the folder.
    """
    start = len(str(folder))
    here = {p[start:].replace(os.sep, "/").lstrip("/"): p for p, leaves in _walk(folder, folder) if not leaves}
    found = [Path(here[name]) if name in here and os.path.isfile(here[name]) else None for name in names]
    if None in found:
        others = _Spellings({name: path for name, path in here.items() if os.path.isfile(path)})
        found = [
            path or _to_the_letter(folder, name, where(number)) or others.find(name)
            for number, (name, path) in enumerate(zip(names, found, strict=True))
        ]
        outside = [number for number, name in enumerate(names) if _is_outside(name)]
        if outside and not any(found[number] for number in outside):
            path_inside(folder, names[outside[0]], where(outside[0]))
    meanings = Counter(path for _, path in set(zip(names, found, strict=True)))
    return [
        path if path and (meanings[path] == 1 or is_named(path, folder, name)) else None
        for name, path in zip(names, found, strict=True)
    ]


def is_named(path: Path, folder: Path, name: str) -> bool:
    """Whether a file of a folder has a name to the letter."""
    return str(path) == f"{folder}{os.sep}{name}" or path == folder / name


def _to_the_letter(folder: Path, name: str, where: str) -> Path | None:
    if _is_outside(name):
        return None
    path = path_inside(folder, name, where)
    return path if path.is_file() else None


def _is_outside(name: str) -> bool:
    return Path(name).is_absolute() or ".." in Path(name).parts


class _Spellings:
    """Files by the last part of their names, however that is written."""

    def __init__(self, files: Mapping[str, str]):
        self._files: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for name, path in files.items():
            parts = _parts(name)
            if parts:
                self._files.setdefault(parts[-1], []).append((parts, path))

    def find(self, name: str) -> Path | None:
        """The file that shares most folders with a name, all those of the shorter of the two; None: no or several."""
        parts = _parts(name)
        fitting = [
            (min(len(parts), len(own)), path)
            for own, path in (self._files.get(parts[-1], ()) if parts else ())
            if all(a == b for a, b in zip(reversed(parts), reversed(own), strict=False))
        ]
        most = max((shared for shared, _ in fitting), default=0)
        best = [path for shared, path in fitting if shared == most]
        return Path(best[0]) if len(best) == 1 else None


def _parts(name: str) -> tuple[str, ...]:
    """The parts of a name, alike for all ways to write it."""
    path = re.split("[?#]", _HOST.sub("", name))[0] if _HOST.match(name) else name
    plain = unicodedata.normalize("NFC", unquote(path).replace("\\", "/")).casefold()
    return tuple(part for part in _DRIVE.sub("", plain).split("/") if part not in ("", ".", ".."))


def _walk(folder: Path, root: Path) -> Iterator[tuple[str, bool]]:
    """Images below a folder, and whether each is a link that leaves `root` and may not; linked folders that do, too.

    A linked folder that stays inside is not entered: its images are there by their own names.
    """
    follow, top = follows_links(), Path(os.path.realpath(root))
    if not follow and _leaves(folder, top):
        yield str(folder), True
        return
    entered = {os.path.realpath(folder)}
    for place, folders, files in os.walk(folder, followlinks=True):
        kept = []
        for name in sorted(name for name in folders if not name.startswith(".")):
            path = os.path.join(place, name)
            linked = os.path.islink(path)
            leaves = linked and _leaves(path, top)
            real = os.path.realpath(path) if follow else path
            if leaves and not follow:
                yield path, True
            elif (leaves or not linked) and real not in entered:
                entered.add(real)
                kept.append(name)
        folders[:] = kept
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                path = os.path.join(place, name)
                yield path, not follow and os.path.islink(path) and _leaves(path, top)


def _leaves(path: str | Path, top: Path) -> bool:
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(top))
