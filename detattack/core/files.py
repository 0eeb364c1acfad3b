"""Files that are either whole or not there: written beside their place, flushed to the disk, then renamed. And
folders that one process at a time writes into, and that lead nowhere else.

A run that is interrupted at any instant therefore never leaves half a file under a name somebody reads.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from detattack.core.errors import InputError

TEMPORARY_PREFIX = ".tmp-"
"""How the names of unfinished files begin."""
LOCK = ".lock"
"""The file that stands for a folder being written into. It stays behind; what counts is whether it is held."""
LONGEST_STEM = 200
"""Bytes of a file's name without its suffix, of the 255 that file systems allow: room for a suffix and a number."""
_TEMPORARY = re.compile(re.escape(TEMPORARY_PREFIX) + "[0-9a-f]{16}")


def write_bytes_atomic(path: Path, data: bytes | memoryview, sync: bool = True) -> None:
    """Write `data` to `path`, replacing what was there. The folder must exist; on failure nothing changes.

    sync: flush the file and its folder to the disk, so that the file outlives a power cut once this returns; not
    needed for what can be made again. Raises OSError (disk full, no permission, no such folder).
    """
    write_chunks_atomic(path, [data], sync)


def write_text_atomic(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with its newlines as they are; as `write_bytes_atomic` otherwise."""
    write_bytes_atomic(path, text.encode())


def write_chunks_atomic(path: Path, chunks: Iterable[bytes | memoryview], sync: bool = True) -> None:
    """Write a file piece by piece, never held in memory as a whole; as `write_bytes_atomic` otherwise."""
    path = Path(path)
    temporary = temporary_beside(path)
    try:
        # "x" creates with the user's umask, unlike tempfile's 0600, which would outlive the rename.
        with open(temporary, "xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and str(error.filename) == str(temporary):
            error.filename = str(path)  # nobody has heard of the other name
            error.filename2 = None
        raise
    if sync:
        sync_folder(path.parent)


def temporary_beside(path: Path) -> Path:
    """A new name for a file until it is whole: short, as the final name may be as long as the file system allows."""
    return path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")


def is_temporary(path: Path) -> bool:
    """Whether a name is one of an unfinished file, which may be deleted when nothing is running."""
    return _TEMPORARY.fullmatch(path.name) is not None


def is_plain(stem: str) -> bool:
    """Whether a stem can be that of a file in any folder: no way out of it, and not too long."""
    try:
        short = len(os.fsencode(stem)) <= LONGEST_STEM
    except UnicodeEncodeError:
        return False
    return bool(stem) and short and stem not in (".", "..") and not set(stem) & set("/\\\0")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder against every other process. The system lets go of it when this one ends, however it ends, so
    that nothing is left to be cleared away by hand.

    Raises `InputError` where another process holds it, OSError where the folder cannot be written.
    """
    lock = FileLock(folder / LOCK, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"folder {folder}: another process is at work in it") from None
    try:
        yield
    finally:
        lock.release()


def sweep(folder: Path) -> None:
    """Deletes the unfinished files that an interrupted process left in a folder and its subfolders. The folder has to
    be `locked`. Raises OSError."""
    for place in (folder, *(entry for entry in folder.iterdir() if entry.is_dir())):
        for left in filter(is_temporary, place.iterdir()):
            left.unlink()


@contextlib.contextmanager
def swept(folder: Path) -> Iterator[None]:
    """Holds a folder while something is added to it, `sweep` done. Where another process is at work in it, neither:
    that one has done so. Raises OSError where the folder cannot be written."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(InputError):
            held.enter_context(locked(folder))
            sweep(folder)
        yield


def refuse_links(folder: Path) -> None:
    """Raises `InputError` where something in a folder, or in one of its subfolders, is a link: what is read or
    written there would be somewhere else."""
    for entry in os.scandir(folder):
        inside = os.scandir(entry) if entry.is_dir(follow_symlinks=False) else ()
        for found in (entry, *inside):
            if found.is_symlink():
                raise InputError(f"{found.path}: is a link, which a run folder must not have")


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries (new and renamed files) to the disk, where the system knows how to."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network and FUSE file systems cannot sync a folder; the file itself is synced already.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
