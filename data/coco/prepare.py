"""Fetches COCO val2017 (images and annotations) from its official place, checks it, and unpacks it here.

    python data/coco/prepare.py [--out FOLDER]

Interrupted at any time, the same command goes on where it was. What is there already is not fetched again.
Nothing but the standard library.
"""

import argparse
import sys
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from download import PrepareError, Progress, bar, once, status_of, target_inside, write_whole  # noqa: E402


@dataclass(frozen=True)
class Archive:
    """A zip file at `url` with a known MD5; `wanted` are the names in it that are unpacked (prefixes)."""

    url: str
    md5: str
    wanted: tuple[str, ...]


ARCHIVES = (
    Archive("http://images.cocodataset.org/zips/val2017.zip", "442b8da7639aecaf257c1dceb8ba8c80", ("val2017/",)),
    Archive(
        "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
        "f4bbac642086de4f52a3fdda2de5fa2c",
        ("annotations/instances_val2017.json",),
    ),
)


def prepare(out: Path, archives: tuple[Archive, ...] = ARCHIVES, progress: Progress = bar) -> None:
    """Fetches, checks and unpacks the archives into `out`. Raises `PrepareError`; can be called again."""
    out.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        with once(out, archive.url, archive.md5, progress) as path:
            if path:
                unpack(path, out, archive.wanted)


def unpack(path: Path, out: Path, wanted: tuple[str, ...]) -> None:
    """Unpacks the files whose names start with one of `wanted`; those that are there in full are left alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.is_dir() or not info.filename.startswith(wanted):
                    continue
                target = target_inside(out, info.filename, path)
                if not target.is_file() or target.stat().st_size != info.file_size:
                    write_whole(target, archive.read(info))
    except zipfile.BadZipFile as error:
        raise PrepareError(f"{path}: {error}") from error


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 1 with one line on what went wrong."""
    parser = argparse.ArgumentParser(description="Fetch COCO val2017.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent, help="default: this folder")
    return status_of(partial(_prepared, parser.parse_args(arguments).out))


def _prepared(out: Path) -> str:
    prepare(out, ARCHIVES)
    return f"--images {out / 'val2017'} --annotations {out / 'annotations' / 'instances_val2017.json'}"


if __name__ == "__main__":
    sys.exit(main())
