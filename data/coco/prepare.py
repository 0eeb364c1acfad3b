"""Fetches COCO val2017 (images and annotations) from its official place, checks it, and unpacks it here.

    python data/coco/prepare.py [--out FOLDER]

Interrupted at any time, the same command goes on where it was. What is there already is not fetched again.
Nothing but the standard library.
"""

import argparse
import hashlib
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

CHUNK = 1 << 20
TIMEOUT_S = 60


@dataclass(frozen=True)
class Archive:
    """A zip file at `url` with a known MD5; `wanted` are the names in it that are unpacked (prefixes)."""

    url: str
    md5: str
    wanted: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the file."""
        return self.url.rpartition("/")[2]


ARCHIVES = (
    Archive("http://images.cocodataset.org/zips/val2017.zip", "442b8da7639aecaf257c1dceb8ba8c80", ("val2017/",)),
    Archive(
        "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
        "f4bbac642086de4f52a3fdda2de5fa2c",
        ("annotations/instances_val2017.json",),
    ),
)

Progress = Callable[[str, int, int | None], None]
"""Told of a name, how many bytes are there, and how many there will be (None: unknown)."""


class PrepareError(Exception):
    """What went wrong, in one line."""


def prepare(out: Path, archives: tuple[Archive, ...] = ARCHIVES, progress: Progress | None = None) -> None:
    """Fetches, checks and unpacks the archives into `out`. Raises `PrepareError`; can be called again."""
    out.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        done = out / f".{archive.name}.{archive.md5}"
        if done.exists():
            continue
        path = fetch(archive, out, progress or (lambda name, done, total: None))
        unpack(path, out, archive.wanted)
        done.touch()
        path.unlink()


def fetch(archive: Archive, out: Path, progress: Progress) -> Path:
    """The archive as a file, its MD5 checked; goes on from the part that is there. Raises `PrepareError`."""
    path = out / f"{archive.name}.part"
    have = path.stat().st_size if path.exists() else 0
    request = Request(archive.url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urlopen(request, timeout=TIMEOUT_S) as response:
            if response.status != 206:  # the server sends all of it
                have = 0
            length = response.headers.get("Content-Length")
            total = have + int(length) if length else None
            with open(path, "ab" if have else "wb") as file:
                while chunk := response.read(CHUNK):
                    file.write(chunk)
                    have += len(chunk)
                    progress(archive.name, have, total)
    except HTTPError as error:
        if error.code != 416:  # 416: nothing is left to send
            raise PrepareError(f"{archive.url}: {error}") from error
    except (URLError, OSError) as error:
        raise PrepareError(f"{archive.url}: {error}; the same command goes on") from error
    return _checked(path, archive)


def unpack(path: Path, out: Path, wanted: tuple[str, ...]) -> None:
    """Unpacks the files whose names start with one of `wanted`; those that are there in full are left alone."""
    root = out.resolve()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            target = out / info.filename
            if info.is_dir() or not info.filename.startswith(wanted):
                continue
            if not target.resolve().is_relative_to(root):
                raise PrepareError(f"{path}: {info.filename!r} leaves the folder")
            if target.is_file() and target.stat().st_size == info.file_size:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.part")
            part.write_bytes(archive.read(info))
            part.replace(target)


def _checked(path: Path, archive: Archive) -> Path:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != archive.md5:
        path.unlink()
        raise PrepareError(f"{archive.url}: its MD5 is {digest.hexdigest()}, not {archive.md5}; deleted, try again")
    return path


def _bar(name: str, done: int, total: int | None) -> None:
    share = f" {done / total:4.0%}" if total else ""
    print(f"\r{name}: {done / 1e6:,.0f} MB{share}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 1 with one line on what went wrong."""
    parser = argparse.ArgumentParser(description="Fetch COCO val2017.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent, help="default: this folder")
    out = parser.parse_args(arguments).out
    try:
        prepare(out, ARCHIVES, _bar)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on", file=sys.stderr)
        return 130
    except (PrepareError, OSError, zipfile.BadZipFile) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print(f"--images {out / 'val2017'} --annotations {out / 'annotations' / 'instances_val2017.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
