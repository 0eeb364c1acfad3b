"""What the prepare scripts share: a file fetched from its official place, resumed where it was, and checked."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

CHUNK = 1 << 20
TIMEOUT_S = 60

Progress = Callable[[str, int, int | None], None]
"""Told of a name, how many bytes are there, and how many there will be (None: unknown)."""


class PrepareError(Exception):
    """What went wrong, in one line."""


def fetch(url: str, md5: str, out: Path, progress: Progress) -> Path:
    """The file at `url`, its MD5 checked; goes on from the part that is there. Raises `PrepareError`."""
    name = file_name(url)
    path = out / f"{name}.part"
    have = path.stat().st_size if path.exists() else 0
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
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
                    progress(name, have, total)
    except HTTPError as error:
        if error.code != 416:  # 416: nothing is left to send
            raise PrepareError(f"{url}: {error}") from error
    except (URLError, OSError) as error:
        raise PrepareError(f"{url}: {error}; the same command goes on") from error
    found = md5_of(path)
    if found != md5:
        path.unlink()
        raise PrepareError(f"{url}: its MD5 is {found}, not {md5}; deleted, try again")
    return path


def file_name(url: str) -> str:
    """Of the file at an address."""
    return url.rpartition("/")[2]


def md5_of(path: Path) -> str:
    """The MD5 of a file, in hexadecimal digits."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def target_inside(out: Path, name: str, archive: Path) -> Path:
    """Where a file of an archive goes. Raises `PrepareError` for a name that leaves the folder."""
    target = out / name
    if not target.resolve().is_relative_to(out.resolve()):
        raise PrepareError(f"{archive}: {name!r} leaves the folder")
    return target


def write_whole(target: Path, data: bytes) -> None:
    """A file that is there as a whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.write_bytes(data)
    part.replace(target)


def bar(name: str, done: int, total: int | None) -> None:
    """Progress on stderr."""
    share = f" {done / total:4.0%}" if total else ""
    print(f"\r{name}: {done / 1e6:,.0f} MB{share}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def status_of(work: Callable[[], str]) -> int:
    """The end of a command line: what `work` returns is printed, status 0; what goes wrong is a line, status 1."""
    try:
        print(work())
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on", file=sys.stderr)
        return 130
    except (PrepareError, OSError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def once(out: Path, url: str, md5: str, progress: Progress) -> Iterator[Path | None]:
    """The fetched file, to be unpacked and then deleted; None where an earlier call has come to this end."""
    done = out / f".{file_name(url)}.{md5}"
    if done.exists():
        yield None
        return
    path = fetch(url, md5, out, progress)
    yield path
    done.touch()
    path.unlink()
