"""Find images in a folder, restrict links, and resolve the file names of a data set's description.

A data set may come from anybody, so links that lead out of the folder are not followed unless the environment says so.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from detattack.core.errors import InputError
from detattack.core.wording import counted, worded

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo"),
    *(".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"),
)
"""Suffixes of image files, in any letter case."""
LINKS = "DETATTACK_FOLLOW_LINKS"
"""Environment variable: whether links that lead out of a folder of images are followed, 0 or 1."""

_HOST = re.compile(r"[A-Za-z][\w+.-]*://[^/\\]*")
_DRIVE = re.compile(r"^[a-z]:")


def follows_links() -> bool:
    """Return whether the environment lets links lead out of a folder of images. Raises `InputError`."""
    said = os.environ.get(LINKS, "0")
    if said not in ("0", "1"):
        raise InputError(f"{LINKS}={said}: neither 0 nor 1")
    return said == "1"


def image_paths(folder: Path, root: Path | None = None) -> list[Path]:
    """Return the image files in a folder and its subfolders, in the order of their paths, without hidden ones.

    - folder: to search
    - root: the folder that links must not leave; None: `folder`

    Raises `InputError` if a link does, unless `LINKS` allows it.
    """
    found = list(_walk(folder, root or folder))
    leaving = [path for path, leaves in found if leaves]
    if leaving:
        said = f"{counted(len(leaving), 'link leads', 'links lead')} out of the folder (the first: {leaving[0]})"
        raise InputError(f"images {root or folder}: {said}; {LINKS}=1 follows {worded(len(leaving), 'it', 'them')}")
    return [Path(path) for path, _ in found]


def images_inside(folder: Path) -> list[Path]:
    """Return the image files as `image_paths` does, but leave out what links lead out to.

    Raises `InputError` for nothing but the environment.
    """
    return [Path(path) for path, leaves in _walk(folder, folder) if not leaves]


def path_inside(folder: Path, name: str, where: str) -> Path:
    """Return the path of a file that a data set's description names.

    - folder: of the images
    - name: as in the description
    - where: names the place in messages

    Raises `InputError` for a name that leads out of the folder, also through a link, unless `LINKS` allows it.
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
    """Find the file that each name means; None if it is not in the folder.

    A name without an exact match may be written as on another system: with backslashes, in another letter case or
    Unicode form, as a URL, with folders in front that are not here, or without those that are. It means the one file
    that fits, if no other name means it, too.

    - folder: of the images
    - names: as in the description
    - where: names the place of the name at an index, for messages

    Raises `InputError` for what cannot be a file name, and for absolute names and those with `..` if no such name means
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
    """Return whether a file of a folder has exactly this name."""
    return str(path) == f"{folder}{os.sep}{name}" or path == folder / name


def _to_the_letter(folder: Path, name: str, where: str) -> Path | None:
    if _is_outside(name):
        return None
    path = path_inside(folder, name, where)
    return path if path.is_file() else None


def _is_outside(name: str) -> bool:
    return Path(name).is_absolute() or ".." in Path(name).parts


class _Spellings:
    """Files by the last part of their names, in any spelling."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for name, path in files.items():
            parts = _parts(name)
            if parts:
                self._files.setdefault(parts[-1], []).append((parts, path))

    def find(self, name: str) -> Path | None:
        """Return the file that shares most folders with a name, all of the shorter one; None for none or several."""
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
    """Return the parts of a name, equal for all spellings."""
    path = re.split("[?#]", _HOST.sub("", name))[0] if _HOST.match(name) else name
    plain = unicodedata.normalize("NFC", unquote(path).replace("\\", "/")).casefold()
    return tuple(part for part in _DRIVE.sub("", plain).split("/") if part not in ("", ".", ".."))


def _walk(folder: Path, root: Path) -> Iterator[tuple[str, bool]]:
    """Yield the images below a folder, and linked folders that leave `root`; each with whether it leaves and may not.

    A linked folder that stays inside is not entered: its images are found under their own names.
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
