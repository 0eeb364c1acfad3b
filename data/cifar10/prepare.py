"""Fetches CIFAR-10 from its official place, checks it, and unpacks it here.

    python data/cifar10/prepare.py [--out FOLDER] [--from ARCHIVE ...]

`--from` takes archives that are there already in the place of the official one: that one itself, or tar files of
class folders, `train/CLASS/*.jpg` and `test/CLASS/*.jpg`. Interrupted at any time, the same command goes on where it
was. What is there already is not fetched again. Nothing but the standard library.
"""

import argparse
import re
import sys
import tarfile
import zlib
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from download import PrepareError, Progress, bar, md5_of, once, status_of, target_inside, write_whole  # noqa: E402

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
MD5 = "c58f30108f718f92721af3b95e74349a"
FOLDER = "cifar-10-batches-py"
OFFICIAL = re.compile(rf"(?:\./)?({FOLDER}/[^/.][^/]*)")
CLASS_FOLDERS = re.compile(r"(?:.*/)?((?:train|test)/[^/.][^/]*/[^/.][^/]*\.(?:jpe?g|png))", re.IGNORECASE)


def prepare(out: Path, archives: list[Path], progress: Progress = bar) -> None:
    """Unpacks the archives into `out`, or fetches the official one. Raises `PrepareError`; can be called again."""
    out.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        unpack(archive, out)
    if not archives:
        with once(out, URL, MD5, progress) as path:
            if path:
                unpack(path, out)


def unpack(path: Path, out: Path) -> None:
    """Unpacks CIFAR-10's own archive, which has to have the right MD5, or one of class folders.

    Links and the like are left out, files that are there in full left alone. Raises `PrepareError`.
    """
    found = False
    try:
        with tarfile.open(path) as archive:
            wanted = _wanted(path, archive.next())
            for info in archive:
                name = wanted.fullmatch(info.name)
                if name and info.isreg():
                    found = True
                    _write(target_inside(out, name[1], path), archive, info)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise PrepareError(f"{path}: damaged, or no tar archive") from error
    if not found:
        raise PrepareError(f"{path}: neither CIFAR-10's own archive nor class folders in train/ or test/")


def _wanted(path: Path, first: tarfile.TarInfo | None) -> re.Pattern[str]:
    """What the names of its files look like, judged by the first."""
    if first is None or FOLDER not in first.name.split("/"):
        return CLASS_FOLDERS
    found = md5_of(path)
    if found != MD5:
        raise PrepareError(f"{path}: its MD5 is {found}, not {MD5}")
    return OFFICIAL


def _write(target: Path, archive: tarfile.TarFile, info: tarfile.TarInfo) -> None:
    content = archive.extractfile(info)
    if content and not (target.is_file() and target.stat().st_size == info.size):
        write_whole(target, content.read())


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 1 with one line on what went wrong."""
    parser = argparse.ArgumentParser(description="Fetch CIFAR-10.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent, help="default: this folder")
    parser.add_argument("--from", dest="archives", type=Path, nargs="+", default=[], help="archives that are there")
    options = parser.parse_args(arguments)
    return status_of(partial(_prepared, options.out, options.archives))


def _prepared(out: Path, archives: list[Path]) -> str:
    prepare(out, archives)
    return f"--images {out}"


if __name__ == "__main__":
    sys.exit(main())
