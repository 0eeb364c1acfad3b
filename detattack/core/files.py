"""Files that are complete or absent, and folders that one process at a time writes into.

A file is written under a temporary name beside its place, flushed to disk, then renamed: a run that is interrupted at
any moment never leaves half a file under a name that somebody reads.
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
"""Prefix of the names of unfinished files."""
LOCK = ".lock"
"""Name of the lock file of a folder. It stays behind; what counts is whether a process holds it."""
LONGEST_STEM = 200
"""Bytes of a file name without suffix, of the 255 that file systems allow: leaves room for a suffix and a number."""
_TEMPORARY = re.compile(re.escape(TEMPORARY_PREFIX) + "[0-9a-f]{16}")


def write_bytes_atomic(path: Path, data: bytes | memoryview, sync: bool = True) -> None:
    """Write `data` to `path`, replacing what was there. The folder must exist; on failure nothing changes.

    - path: the file
    - data: its whole content
    - sync: flush the file and its folder to disk, so that the file survives a power failure after this returns; not
      needed for files that can be made again

    Raises OSError (disk full, no permission, no such folder).
    """
    write_chunks_atomic(path, [data], sync)


def write_text_atomic(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with its newlines as they are; otherwise as `write_bytes_atomic`."""
    write_bytes_atomic(path, text.encode())


def write_chunks_atomic(path: Path, chunks: Iterable[bytes | memoryview], sync: bool = True) -> None:
    """Write a file chunk by chunk, never held in memory as a whole; otherwise as `write_bytes_atomic`."""
    path = Path(path)
    temporary = temporary_beside(path)
    try:
        # "x" creates with the user's umask, unlike tempfile's 0600, which would outlive the rename.
        with temporary.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
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
    """Make a name for a file until it is complete: short, as the final name may be as long as file systems allow."""
    return path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")


def is_temporary(path: Path) -> bool:
    """Return whether a name is that of an unfinished file, deletable if no process writes into its folder."""
    return _TEMPORARY.fullmatch(path.name) is not None


def is_plain(stem: str) -> bool:
    """Return whether a file stem is valid in any folder: no path separators, not `..`, not too long."""
    try:
        short = len(os.fsencode(stem)) <= LONGEST_STEM
    except UnicodeEncodeError:
        return False
    return bool(stem) and short and stem not in (".", "..") and not set(stem) & set("/\\\0")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder against every other process. The system releases the lock when this process ends, however it ends.

    Raises `InputError` if another process holds the lock, OSError if the folder cannot be written.
    """
    lock = FileLock(folder / LOCK, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"folder {folder}: is in use by another process") from None
    try:
        yield
    finally:
        lock.release()


def sweep(folder: Path) -> None:
    """Delete the unfinished files that an interrupted process left in a folder and its subfolders.

    The folder has to be `locked`. Raises OSError.
    """
    for place in (folder, *(entry for entry in folder.iterdir() if entry.is_dir())):
        for left in filter(is_temporary, place.iterdir()):
            left.unlink()


@contextlib.contextmanager
def swept(folder: Path) -> Iterator[None]:
    """Lock a folder and `sweep` it, while something is added to it.

    Does neither if another process holds the lock: that process has swept it. Raises OSError if the folder cannot be
    written.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(InputError):
            held.enter_context(locked(folder))
            sweep(folder)
        yield


def refuse_links(folder: Path) -> None:
    """Check that nothing in a folder or its subfolders is a symbolic link, which would lead reads and writes elsewhere.

    Raises `InputError`.
    """
    for entry in os.scandir(folder):
        inside = os.scandir(entry) if entry.is_dir(follow_symlinks=False) else ()
        for found in (entry, *inside):
            if found.is_symlink():
                raise InputError(f"{found.path}: is a link, which a run folder must not have")


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries (new and renamed files) to disk, where the system supports it."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network and FUSE file systems cannot sync a folder; the file itself is synced already.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
