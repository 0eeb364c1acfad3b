"""`data/coco/prepare.py` against a server of our own: resumed, checked, unpacked."""

import hashlib
import importlib.util
import io
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.file_server import served

PATH = Path(__file__).parent.parent / "data" / "coco" / "prepare.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("prepare_coco", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["prepare_coco"] = module
    spec.loader.exec_module(module)
    return module


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


CONTENT = zipped(**{"val/1.jpg": "one" * 1000, "val/sub/2.jpg": "two", "other/3.txt": "three"})


@pytest.fixture
def server():
    with served(CONTENT) as one:
        yield one


@pytest.fixture
def archive(script, server):
    return script.Archive(server.url("val.zip"), hashlib.md5(CONTENT).hexdigest(), ("val/",))


def unpacked(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")}


def test_fetched_checked_unpacked_and_not_fetched_twice(script, archive, server, tmp_path):
    seen = []
    script.prepare(tmp_path, (archive,), lambda *one: seen.append(one))
    assert unpacked(tmp_path) == {"val/1.jpg", "val/sub/2.jpg"}
    assert (tmp_path / "val/1.jpg").read_text() == "one" * 1000
    assert seen[-1] == ("val.zip", len(CONTENT), len(CONTENT))
    script.prepare(tmp_path, (archive,))
    assert server.asked == [None]


@pytest.mark.parametrize("have", [1, 1000, len(CONTENT)])
@pytest.mark.parametrize("ranges", [True, False])
def test_goes_on_where_it_was(script, archive, server, tmp_path, have, ranges):
    server.with_ranges = ranges
    (tmp_path / "val.zip.part").write_bytes(CONTENT[:have])
    script.prepare(tmp_path, (archive,))
    assert server.asked == [f"bytes={have}-"]
    assert (tmp_path / "val/1.jpg").read_text() == "one" * 1000


def test_another_file_is_refused_and_deleted(script, archive, tmp_path):
    with pytest.raises(script.PrepareError, match="its MD5 is"):
        script.prepare(tmp_path, (replace(archive, md5="0" * 32),))
    assert unpacked(tmp_path) == set()


def test_no_server_is_one_line(script, archive, tmp_path, server):
    server.stop()
    with pytest.raises(script.PrepareError, match="the same command goes on"):
        script.prepare(tmp_path, (archive,))


def test_names_that_leave_the_folder(script, tmp_path):
    path = tmp_path / "bad.zip"
    path.write_bytes(zipped(**{"val/../../x": "out"}))
    (tmp_path / "out").mkdir()
    with pytest.raises(script.PrepareError, match="leaves the folder"):
        script.unpack(path, tmp_path / "out", ("val/",))


def test_the_command_line(script, archive, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "ARCHIVES", (archive,))
    assert script.main(["--out", str(tmp_path)]) == 0
    assert f"--images {tmp_path / 'val2017'}" in capsys.readouterr().out
    monkeypatch.setattr(script, "ARCHIVES", (replace(archive, md5="0" * 32),))
    assert script.main(["--out", str(tmp_path)]) == 1
    assert len(capsys.readouterr().err.strip().split("\n\n")) == 2  # progress, and what went wrong


def test_the_official_addresses(script):
    assert [(a.url.rpartition("/")[2], a.md5) for a in script.ARCHIVES] == [
        ("val2017.zip", "442b8da7639aecaf257c1dceb8ba8c80"),
        ("annotations_trainval2017.zip", "f4bbac642086de4f52a3fdda2de5fa2c"),
    ]
    assert all(a.url.startswith("http://images.cocodataset.org/") for a in script.ARCHIVES)
