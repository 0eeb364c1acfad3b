"""A run folder that somebody damaged, or made: it is reported and left as it is, never silently built over."""

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from detattack.cli import status_of
from tests.coco_squares import write_data
from tests.faults.faulty import left


@pytest.fixture(scope="module")
def line(toy, tmp_path_factory) -> list[str]:
    data = write_data(tmp_path_factory.mktemp("data"), 4)
    return ["evaluate", *data, "--model", f"{toy}:factory", "--device", "cpu", "--quality", "quick", "--quiet"]


@pytest.fixture(scope="module")
def finished(line, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    assert status_of([*line, "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture
def run(finished, tmp_path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def shards(line, tmp_path) -> list[Path]:
    folders = [tmp_path / f"shard{number}" for number in (0, 1)]
    for number, folder in enumerate(folders):
        assert status_of([*line, "--shard", f"{number}/2", "--out", str(folder)]) == 0
    return folders


def truncated(ledger: Path) -> None:
    os.truncate(ledger, ledger.stat().st_size // 2)


def to_whole_pages(ledger: Path) -> None:
    os.truncate(ledger, 4096)


def junk(ledger: Path) -> None:
    ledger.write_bytes(b"junk" * 4096)


def junk_in_the_middle(ledger: Path) -> None:
    with open(ledger, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(4096))


def junk_in_a_row(ledger: Path) -> None:
    data = ledger.read_bytes()
    at = data.index(b'"status"')
    ledger.write_bytes(data[:at] + b"\xff" * 20 + data[at + 20 :])


def no_text_in_a_name(ledger: Path) -> None:
    data = ledger.read_bytes()
    assert b"tablequality" in data
    ledger.write_bytes(data.replace(b"tablequality", b"tablequal\x80ty"))


def emptied(ledger: Path) -> None:
    os.truncate(ledger, 0)


def gone(ledger: Path) -> None:
    ledger.unlink()


def executed(*statements: str):
    def change(ledger: Path) -> None:
        with sqlite3.connect(ledger) as rows:
            for statement in statements:
                rows.execute(statement)
        rows.close()

    return change


BYTES = (truncated, to_whole_pages, junk, junk_in_the_middle, junk_in_a_row, no_text_in_a_name, emptied, gone)
DAMAGES = {damage.__name__: damage for damage in BYTES} | {
    "no JSON": executed("UPDATE images SET record = '{' WHERE id = 100"),
    "no record": executed("UPDATE images SET record = '{}' WHERE id = 100"),
    "a way out": executed("UPDATE images SET record = json_set(record, '$.stem', '../../outside') WHERE id = 100"),
    "no table": executed("DROP TABLE images"),
    "a view": executed("DROP TABLE quality", "CREATE VIEW quality AS SELECT id, 'x' AS measures FROM images"),
    "a trigger": executed("CREATE TRIGGER t AFTER INSERT ON images BEGIN DELETE FROM images; END"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_ledger_is_reported_and_left_alone(run, line, capsys, damage):
    DAMAGES[damage](run / "ledger.sqlite")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for command in (
        ["verify", str(run), "--trust"],
        ["report", str(run), "--quiet"],
        [*line, "--out", str(run), "--resume"],
    ):
        assert status_of(command) == 2, command[0]
        said = capsys.readouterr()
        assert said.out == ""
        assert len(said.err.splitlines()) == 1
        assert "ledger.sqlite" in said.err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


TIMED = ("summary.json", "images.csv", "images.parquet")
"""Files that tell seconds."""


def test_a_ledger_that_came_without_its_log_loses_rows_and_not_bytes(run, line, finished):
    """A copy of the main file alone: what it lacks is made again, to the same bytes."""
    executed("DELETE FROM images WHERE id < 99")(run / "ledger.sqlite")
    assert status_of([*line, "--out", str(run), "--resume"]) == 0
    ours, theirs = (
        {name: content for name, content in left(folder).items() if not name.endswith((".sqlite", *TIMED))}
        for folder in (run, finished)
    )
    assert ours == theirs


def images(run: Path, elsewhere: Path) -> None:
    shutil.move(run / "images", elsewhere / "images")
    (run / "images").symlink_to(elsewhere / "images")


def one_image(run: Path, elsewhere: Path) -> None:
    path = next((run / "images").iterdir())
    shutil.move(path, elsewhere / "a.png")
    path.symlink_to(elsewhere / "a.png")


def ledger(run: Path, elsewhere: Path) -> None:
    shutil.move(run / "ledger.sqlite", elsewhere / "ledger.sqlite")
    (run / "ledger.sqlite").symlink_to(elsewhere / "ledger.sqlite")


def a_new_folder(run: Path, elsewhere: Path) -> None:
    (run / "thumbs").symlink_to(elsewhere)


@pytest.mark.parametrize("link", [images, one_image, ledger, a_new_folder])
def test_nothing_is_read_or_written_through_a_link(run, line, tmp_path, capsys, link):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link(run, elsewhere)
    before = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    for command in (
        ["verify", str(run), "--trust"],
        ["report", str(run), "--quiet"],
        [*line, "--out", str(run), "--resume"],
    ):
        assert status_of(command) == 2, command[0]
        assert "is a link" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()} == before


def test_a_run_folder_that_is_a_link_itself_is_fine(run, line, tmp_path):
    (tmp_path / "here").symlink_to(run)
    assert status_of(["report", str(tmp_path / "here"), "--quiet"]) == 0


def test_an_image_with_the_name_of_an_unfinished_file_outlives_a_resume(toy, picture, tmp_path):
    source = picture("a", "car@8,8").rename(tmp_path / ".tmp-0123456789abcde.png")
    line = [
        "untargeted",
        str(source),
        "--model",
        f"{toy}:factory",
        "--device",
        "cpu",
        "--quiet",
        "--out",
        str(tmp_path / "run"),
    ]
    assert status_of(line) == 0
    assert status_of([*line, "--resume"]) == 0
    assert [path.name for path in (tmp_path / "run" / "images").iterdir()] == [source.name]


def rewrite(run: Path, name: str, **values: object) -> None:
    content = json.loads((run / name).read_text())
    (run / name).write_text(json.dumps(content | values))


@pytest.mark.parametrize(
    "values",
    [
        {"categories": [{"id": [1], "name": "car"}]},
        {"categories": None},
        {"annotations": [{"id": 1, "image_id": "100", "category_id": 2, "bbox": [0, 0, 1, 1]}]},
        {"annotations": [{"id": 1, "image_id": 100, "category_id": 2, "bbox": [0, 0, 1, float("nan")]}]},
        {"images": {}},
    ],
)
def test_annotations_that_are_none(shards, tmp_path, capsys, values):
    rewrite(shards[0], "annotations.json", **values)
    for command in (
        ["merge", str(tmp_path / "merged"), *map(str, shards)],
        ["verify", str(shards[0]), "--trust", "--device", "cpu", "--survive", "jpeg:90"],
    ):
        assert status_of(command) == 2, command[0]
        assert "annotations.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "values",
    [
        {"shard": [0, 10**18]},
        {"shard": [5, 2]},
        {"shard": [0]},
        {"shard": "0/2"},
        {"detector": None},
        {"detector": {"name": "toy"}},
        {"categories": [3]},
        {"images": "4"},
        {"images": 10**30},
    ],
)
def test_a_manifest_that_shards_cannot_have(shards, tmp_path, capsys, values):
    rewrite(shards[0], "run.json", **values)
    assert status_of(["merge", str(tmp_path / "merged"), *map(str, shards)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"config": 3, "model": "", "data": ""}', b"[" * 100_000, b"\xff\xfe"]
)
def test_a_manifest_that_is_none(run, line, capsys, content):
    (run / "run.json").write_bytes(content)
    for command in (
        ["verify", str(run)],
        ["report", str(run), "--quiet"],
        ["rerun", str(run)],
        [*line, "--out", str(run), "--resume"],
    ):
        assert status_of(command) == 2, command[0]
        assert "run.json" in capsys.readouterr().err


def test_counts_are_of_rows_not_of_files(run):
    """The rows of a finished run are its images, none twice."""
    with sqlite3.connect(run / "ledger.sqlite") as rows:
        ids = [json.loads(record)["id"] for (record,) in rows.execute("SELECT record FROM images")]
    rows.close()
    assert sorted(ids) == [97, 98, 99, 100]
