"""Files that are whole or not there, and folders that one process at a time writes into."""

import os

import pytest

from detattack.core import files
from detattack.core.errors import InputError
from detattack.core.files import (
    LOCK,
    TEMPORARY_PREFIX,
    is_temporary,
    locked,
    refuse_links,
    swept,
    temporary_beside,
    write_bytes_atomic,
    write_chunks_atomic,
    write_text_atomic,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_text_atomic(tmp_path / "a.txt", "old\r\n")

    def full(_):
        assert any(p.name.startswith(TEMPORARY_PREFIX) for p in tmp_path.iterdir())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_bytes_atomic(tmp_path / "a.txt", b"new")
    assert (tmp_path / "a.txt").read_bytes() == b"old\r\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_file_is_synced_before_it_is_renamed_and_its_folder_after(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(files.os, "fsync", lambda fd: (events.append("fsync"), fsync(fd)))
    monkeypatch.setattr(files.os, "replace", lambda a, b: (events.append("replace"), replace(a, b)))
    write_bytes_atomic(tmp_path / "a", b"x")
    assert events == ["fsync", "replace", "fsync"]


def test_names_as_long_as_the_file_system_allows_and_the_users_umask(tmp_path):
    path = tmp_path / ("n" * 251 + ".txt")
    write_text_atomic(path, "é")
    assert path.read_bytes() == "é".encode()
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_bytes_atomic(tmp_path / "no" / "a", b"x")


def test_a_file_in_pieces_that_fails_on_the_way_is_not_there(tmp_path):
    def pieces():
        yield b"half"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_chunks_atomic(tmp_path / "a", pieces())
    assert not list(tmp_path.iterdir())
    write_chunks_atomic(tmp_path / "a", [b"one", memoryview(b"two")])
    assert (tmp_path / "a").read_bytes() == b"onetwo"


def test_a_folder_is_held_once_and_free_again_after(tmp_path):
    with locked(tmp_path):
        assert (tmp_path / LOCK).exists()
        with pytest.raises(InputError, match=f"^folder {tmp_path}: is in use by another process$"), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


def test_unfinished_files_are_removed_and_no_others(tmp_path):
    (tmp_path / "images").mkdir()
    kept = [tmp_path / f"{TEMPORARY_PREFIX}not-hexadecimal", tmp_path / "images" / "a.png"]
    left = [temporary_beside(path) for path in kept]
    for path in (*kept, *left):
        path.touch()
    assert [is_temporary(path) for path in (*kept, *left)] == [False, False, True, True]
    with locked(tmp_path), swept(tmp_path):
        assert all(path.exists() for path in left)  # another process is at work: these may be its own
    with swept(tmp_path):
        assert not any(path.exists() for path in left)
        assert all(path.exists() for path in kept)


def test_a_link_in_a_folder_or_its_subfolder_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    refuse_links(tmp_path)
    (tmp_path / "images" / "b.png").symlink_to(tmp_path / "images" / "a.png")
    with pytest.raises(InputError, match="b.png: is a link"):
        refuse_links(tmp_path)
