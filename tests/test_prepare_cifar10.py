"""`data/cifar10/prepare.py` against a server of our own, and from archives that are there."""

import hashlib
import importlib.util
import io
import os
import sys
import tarfile
from pathlib import Path

import pytest

from classify.datasets import open_labeled
from tests.file_server import served

PATH = Path(__file__).parent.parent / "data" / "cifar10" / "prepare.py"
SHARED = Path(os.environ.get("DETATTACK_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("prepare_cifar10", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["prepare_cifar10"] = module
    spec.loader.exec_module(module)
    return module


def tarred(**files: str | None) -> bytes:
    """A tar.gz of texts by name; None: a link to /etc/passwd."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            if text is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            info.size = len(text or "")
            archive.addfile(info, io.BytesIO((text or "").encode()))
    return buffer.getvalue()


OFFICIAL = tarred(
    **{
        "cifar-10-batches-py/test_batch": "test" * 1000,
        "cifar-10-batches-py/data_batch_1": "one",
        "other/data_batch_2": "two",
    }
)
FOLDERS = tarred(
    **{
        "cifar10/test/cat/0001.jpg": "cat",
        "cifar10/test/dog/0001.jpg": "dog",
        "cifar10/test/cat/.hidden.jpg": "hidden",
        "cifar10/README": "read",
    }
)


@pytest.fixture
def server(script, monkeypatch):
    with served(OFFICIAL) as one:
        monkeypatch.setattr(script, "URL", one.url("cifar.tar.gz"))
        monkeypatch.setattr(script, "MD5", hashlib.md5(OFFICIAL).hexdigest())
        yield one


@pytest.fixture
def archive(tmp_path):
    """Writes an archive and returns its path."""

    def write(content: bytes) -> Path:
        path = tmp_path / "archive.tar.gz"
        path.write_bytes(content)
        return path

    return write


def unpacked(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")}


def test_fetched_checked_unpacked_and_not_fetched_twice(script, server, tmp_path, capsys):
    assert script.main(["--out", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert said.out == f"--images {tmp_path}\n"
    assert "cifar.tar.gz: 0 MB 100%" in said.err
    assert unpacked(tmp_path) == {"cifar-10-batches-py/test_batch", "cifar-10-batches-py/data_batch_1"}
    assert (tmp_path / "cifar-10-batches-py" / "test_batch").read_text() == "test" * 1000
    assert script.main(["--out", str(tmp_path)]) == 0
    assert server.asked == [None]


def test_goes_on_where_it_was(script, server, tmp_path):
    (tmp_path / "cifar.tar.gz.part").write_bytes(OFFICIAL[:100])
    script.prepare(tmp_path, [])
    assert server.asked == ["bytes=100-"]
    assert len(unpacked(tmp_path)) == 2


def test_another_file_is_refused(script, server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "MD5", "0" * 32)
    assert script.main(["--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith("deleted, try again")
    assert unpacked(tmp_path) == set()


def test_the_official_archive_that_is_there(script, server, archive, tmp_path, monkeypatch):
    path = archive(OFFICIAL)
    script.prepare(tmp_path / "out", [path])
    assert len(unpacked(tmp_path / "out")) == 2
    monkeypatch.setattr(script, "MD5", "0" * 32)
    with pytest.raises(script.PrepareError, match="its MD5 is .*, not 000"):
        script.prepare(tmp_path / "out", [path])
    assert path.exists()
    assert server.asked == []


def test_class_folders(script, archive, tmp_path):
    path = archive(FOLDERS)
    script.prepare(tmp_path / "out", [path])
    assert unpacked(tmp_path / "out") == {"test/cat/0001.jpg", "test/dog/0001.jpg"}
    assert not list(tmp_path.rglob(".hidden.jpg"))
    before = (tmp_path / "out" / "test" / "cat" / "0001.jpg").stat().st_mtime_ns
    script.prepare(tmp_path / "out", [path])
    assert (tmp_path / "out" / "test" / "cat" / "0001.jpg").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no archive", "damaged, or no tar archive"),
        (FOLDERS[:-40], "damaged, or no tar archive"),
        (tarred(**{"pictures/1.jpg": "one"}), "neither CIFAR-10's own archive nor class folders"),
        (tarred(), "neither CIFAR-10's own archive nor class folders"),
        (tarred(**{"test/cat/1.jpg": None}), "neither CIFAR-10's own archive nor class folders"),
        (tarred(**{"test/../../1.jpg": "out"}), "neither CIFAR-10's own archive nor class folders"),
    ],
    ids=["no archive", "cut", "no classes", "empty", "link", "outside"],  # the bytes of an archive tell the time
)
def test_archives_of_something_else(script, archive, tmp_path, capsys, content, said):
    path, out = archive(content), tmp_path / "out"
    assert script.main(["--out", str(out), "--from", str(path)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"{path}: {said}")
    assert {p.name for p in tmp_path.iterdir()} == {path.name, "out"}


def test_a_link_in_the_folder_is_not_followed_out_of_it(script, archive, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "test").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(script.PrepareError, match="leaves the folder"):
        script.prepare(tmp_path / "out", [archive(FOLDERS)])
    assert not list((tmp_path / "elsewhere").iterdir())


def test_an_archive_that_is_not_there(script, tmp_path, capsys):
    assert script.main(["--out", str(tmp_path), "--from", "none.tar.gz"]) == 1
    assert "No such file" in capsys.readouterr().err


def test_the_official_address(script):
    assert script.URL == "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    assert script.MD5 == "c58f30108f718f92721af3b95e74349a"


@pytest.mark.slow
def test_the_copy_as_images(script, tmp_path):
    path = SHARED / "data" / "cifar10-test.tar.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there (DETATTACK_SHARED)")

    script.prepare(tmp_path, [path])
    data = open_labeled(tmp_path, None)
    assert len(data.labels) == 10_000
    assert sorted(set(data.first(10).labels.values())) == [
        *("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    ]
    assert {sample.size for sample in data.samples} == {(32, 32)}
