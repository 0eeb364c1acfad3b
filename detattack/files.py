"""Files that are either whole or not there: written beside their place, flushed to the disk, then renamed.

A run that is interrupted at any instant therefore never leaves half a file under a name somebody reads.
"""

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"
"""How the names of unfinished files begin. Whatever carries it may be deleted when nothing is running."""


def write_bytes_atomic(path: Path, data: bytes | memoryview) -> None:
    """Write `data` to `path`, replacing what was there. The folder must exist; on failure nothing changes.

    The file and its folder are synced, so that the file outlives a power cut once this returns.
    Raises OSError (disk full, no permission, no such folder).
    """
    write_chunks_atomic(path, [data])


def write_text_atomic(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with its newlines as they are; as `write_bytes_atomic` otherwise."""
    write_bytes_atomic(path, text.encode())


def write_chunks_atomic(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write a file piece by piece, never held in memory as a whole; as `write_bytes_atomic` otherwise."""
    path = Path(path)
    # A short name of its own: the final name may already be as long as the file system allows.
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")
    try:
        # "x" creates with the user's umask, unlike tempfile's 0600, which would outlive the rename.
        with open(temporary, "xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


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
