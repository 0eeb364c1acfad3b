"""What a run leaves on the disk, that it is the same every time, and that an interrupted one goes on."""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from detattack.cli import status_of
from detattack.datasets.image_io import read_image, to_tensor
from detattack.detectors.registry import load_detector
from detattack.runs.folder import RunFolder
from detattack.tasks.detection.record import DetectionRecord, target_of
from tests.toy_pictures import marked, squares

PLACES = {"a": ["car@8,8", "dog@40,16"], "b": ["dog@8,24"], "c": ["car@40,8"], "d": ["car@8,8", "car@40,24"]}
MADE_FROM_THE_LEDGER = ("clean.json", "adversarial.json", "annotations.json")
FOLDERS = ("images", "heatmaps", "figures")
TEMPORARY = ".tmp-0123456789abcdef"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[str]:
    """Four pictures, the third of them marked; in `b` there is nothing to suppress."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed, (name, places) in enumerate(PLACES.items()):
        pixels = squares(*places, width=72 if name == "d" else 64, seed=seed)
        Image.fromarray(marked(pixels) if name == "c" else pixels).save(folder / f"{name}.png")
    return [str(folder / f"{name}.png") for name in PLACES]


@pytest.fixture(scope="module")
def command(toy, pictures):
    """A command line with everything but `--out`."""
    return ["untargeted", *pictures, "--model", f"{toy}:factory", "--quiet"]


@pytest.fixture(scope="module")
def finished(command, tmp_path_factory) -> Path:
    """A finished run, which no test changes."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert status_of([*command, "--out", str(out)]) == 0
    return out


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of it, to be damaged."""
    return shutil.copytree(finished, tmp_path / "run")


def lasting_bytes(run: Path) -> dict[str, bytes]:
    """All files whose bytes a run promises."""
    paths = [run / name for name in MADE_FROM_THE_LEDGER]
    paths += [path for folder in FOLDERS for path in (run / folder).iterdir()]
    return {str(path.relative_to(run)): path.read_bytes() for path in paths}


def rows(run: Path) -> list[tuple[int, str, str]]:
    ledger = sqlite3.connect(run / "ledger.sqlite")
    found = ledger.execute("SELECT record, status FROM images ORDER BY id").fetchall()
    ledger.close()
    return [(json.loads(record)["id"], json.loads(record)["stem"], status) for record, status in found]


def records(run: Path):
    folder = RunFolder.open(run, DetectionRecord)
    found = folder.records()
    folder.close()
    return found


# What is there


def test_files_of_a_run(finished):
    names = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    per_image = {f"{folder}/{stem}.png" for folder in FOLDERS for stem in PLACES}
    tables = {"images.csv"} | ({"images.parquet"} if find_spec("pyarrow") else set())
    assert names == {"run.json", "ledger.sqlite", ".lock", "summary.json", *tables, *MADE_FROM_THE_LEDGER, *per_image}


def test_rows_of_the_ledger(finished):
    assert rows(finished) == [(1, "a", "success"), (2, "b", "nothing"), (3, "c", "success"), (4, "d", "success")]


def test_manifest(finished, toy):
    manifest = json.loads((finished / "run.json").read_text())
    assert manifest["config"]["model"] == f"{toy}:factory"
    assert manifest["config"]["goal"] == "suppress:car"
    assert manifest["config"]["device"] == "cpu" or "cuda" in manifest["config"]["device"]
    assert {"detattack", "model", "data", "threads", "python", "versions"} <= set(manifest)


def test_images_are_of_the_original_size_and_differ_only_where_attacked(finished, pictures):
    for path, record in zip(pictures, records(finished), strict=True):
        original, written = read_image(path).pixels, read_image(finished / "images" / Path(path).name).pixels
        assert written.shape == original.shape
        assert np.array_equal(written, original) == (record.status != "success")
        assert Image.open(finished / "heatmaps" / Path(path).name).size == original.shape[1::-1]


def test_digests_are_of_the_files(finished):
    for record in records(finished):
        data = (finished / "images" / f"{record.stem}.png").read_bytes()
        assert record.digest == hashlib.sha256(data).hexdigest()


def test_status_is_what_the_file_shows(finished, toy):
    detector = load_detector(f"{toy}:factory", "cpu")
    judged = {}
    for record in records(finished):
        image = to_tensor(read_image(finished / "images" / f"{record.stem}.png").pixels)
        (found,) = detector.detect(image[None], 0.5)
        judged[record.stem] = target_of(record, detector).holds(found)
        assert record.file_success == (record.status == "success")
    assert judged == dict.fromkeys(PLACES, True)


def test_coco_files(finished):
    truth = COCO(finished / "annotations.json")
    assert [truth.imgs[i]["file_name"] for i in sorted(truth.imgs)] == [f"{name}.png" for name in PLACES]
    assert {category["name"]: i for i, category in truth.cats.items()} == {"car": 3, "dog": 18, "person": 1}
    for name, cars in (("clean.json", [1, 3, 4, 4]), ("adversarial.json", [])):
        found = truth.loadRes(str(finished / name))
        shown = [a for a in found.anns.values() if a["score"] > 0.5]
        assert sorted(a["image_id"] for a in shown if a["category_id"] == 3) == cars
        assert sorted(a["image_id"] for a in shown if a["category_id"] == 18) == [1, 2]
    dog = next(a for a in json.loads((finished / "clean.json").read_text()) if a["image_id"] == 2)
    assert dog["bbox"] == [8, 24, 16, 16]


def test_summary_counts(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert (summary["images"], summary["success"], summary["nothing"], summary["error"]) == (4, 3, 1, 0)
    assert summary["success_rate"] == 1


# The same every time


def test_two_runs_give_the_same_bytes(finished, command, tmp_path):
    assert status_of([*command, "--out", str(tmp_path / "again")]) == 0
    assert lasting_bytes(tmp_path / "again") == lasting_bytes(finished)


def test_a_finished_run_has_nothing_to_resume(run, command):
    before, ledger = lasting_bytes(run), rows(run)
    stamps = {path: path.stat().st_mtime_ns for path in (run / "images").iterdir()}
    assert status_of([*command, "--out", str(run), "--resume"]) == 0
    assert (lasting_bytes(run), rows(run)) == (before, ledger)
    assert {path: path.stat().st_mtime_ns for path in (run / "images").iterdir()} == stamps


@pytest.mark.parametrize("lost", [(4,), (2, 3), (1, 2, 3, 4)])
def test_what_is_lost_is_made_again(run, finished, command, lost):
    with sqlite3.connect(run / "ledger.sqlite") as ledger:
        ledger.executemany("DELETE FROM images WHERE id = ?", [(number,) for number in lost])
    ledger.close()
    for folder in FOLDERS:
        for number in lost:
            (run / folder / f"{'abcd'[number - 1]}.png").unlink()
    for name in (*MADE_FROM_THE_LEDGER, "summary.json"):
        (run / name).unlink()
    (run / "images" / TEMPORARY).write_text("half")
    assert status_of([*command, "--out", str(run), "--resume"]) == 0
    assert lasting_bytes(run) == lasting_bytes(finished)
    assert rows(run) == rows(finished)


@pytest.mark.parametrize("left", [[], [TEMPORARY], ["run.json"]])
def test_a_run_that_barely_began_is_resumed(finished, command, tmp_path, left):
    (tmp_path / "run").mkdir()
    for name in left:
        (tmp_path / "run" / name).write_bytes((finished / name).read_bytes() if name == "run.json" else b"half")
    assert status_of([*command, "--out", str(tmp_path / "run"), "--resume"]) == 0
    assert lasting_bytes(tmp_path / "run") == lasting_bytes(finished)


# Interrupted


@pytest.mark.parametrize("batch", [1, 2])
def test_an_interrupted_run_goes_on_to_the_same_bytes(cli, toy, pictures, tmp_path, batch):
    own = tmp_path / "own"
    own.mkdir()
    shutil.copy(toy, own / "toy.py")
    command = ["untargeted", *pictures, "--model", f"{own / 'toy.py'}:interrupted", "--batch", batch]
    assert cli(*command, "--out", "whole").status == 0
    (own / "interrupt").touch()
    said = cli(*command, "--out", "run")
    assert said.status == 130
    assert "--out run --resume" in said.err.splitlines()[-1]
    assert said.out == ""
    assert [stem for _, stem, _ in rows(tmp_path / "run")] == ["a", "b"]
    (own / "interrupt").unlink()
    assert cli(*command, "--out", "run", "--resume").status == 0
    assert lasting_bytes(tmp_path / "run") == lasting_bytes(tmp_path / "whole")


def test_interrupted_before_the_run_began(cli, picture, monkeypatch, tmp_path):
    path = picture("a")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("detattack.tasks.detection.task.load_detector", interrupt)
    said = cli("untargeted", path)
    assert (said.status, said.out, said.err) == (130, "", "")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C reaches a process otherwise there")
def test_a_real_interrupt_signal(cli, toy, pictures, tmp_path, program):
    own = shutil.copy(toy, tmp_path / "toy.py")
    (tmp_path / "wait").touch()
    command = ["untargeted", *pictures, "--model", f"{own}:slow", "--out", "run"]
    line = [*program, *command]
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = iter(process.stderr.readline, "")
            assert any("working" in line for line in said)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert "--out run --resume" in err
    assert len(rows(tmp_path / "run")) == 2
    (tmp_path / "wait").unlink()
    assert cli(*command, "--resume").status == 0
    assert len(rows(tmp_path / "run")) == 4


def test_a_full_disk_is_one_line_and_resumable(cli, command, tmp_path, monkeypatch):
    def full(path, *_):
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("detattack.runs.folder.write_bytes_atomic", full)
        said = cli(*command, "--out", "run")
    assert said.status == 1
    assert len(said.err.splitlines()) == 1
    assert "No space left on device" in said.err
    assert cli(*command, "--out", "run", "--resume").status == 0
    assert len(rows(tmp_path / "run")) == 4


# Judged again


def test_verify_agrees(run, cli):
    said = cli("verify", run, "--trust")
    assert (said.status, said.err) == (0, "")
    assert said.out == "4 images judged again: 3 successes, 0 disagree with the ledger\n"


def test_verify_as_json(run, cli):
    (run / "images" / "c.png").unlink()
    said = cli("verify", run, "--trust", "--json")
    assert said.status == 1
    assert said.json == {
        "run": str(run),
        "summary": {"images": 4, "success": 2, "disagree": 1},
        "problems": ["images/c.png"],
    }


def restored(run: Path, pictures: list[str]) -> None:
    shutil.copy(pictures[0], run / "images" / "a.png")


def pixel(run: Path, pictures: list[str]) -> None:
    path = run / "images" / "a.png"
    pixels = read_image(path).pixels
    pixels[-1, -1] ^= 1
    Image.fromarray(pixels).save(path)


def resaved(run: Path, pictures: list[str]) -> None:
    path = run / "images" / "a.png"
    Image.fromarray(read_image(path).pixels).save(path, compress_level=9)


def cut(run: Path, pictures: list[str]) -> None:
    path = run / "images" / "a.png"
    path.write_bytes(path.read_bytes()[:-20])


def gone(run: Path, pictures: list[str]) -> None:
    (run / "images" / "a.png").unlink()


@pytest.mark.parametrize("damage", [restored, pixel, resaved, cut, gone])
def test_verify_names_the_file_that_was_altered(run, cli, pictures, damage):
    damage(run, pictures)
    said = cli("verify", run, "--trust")
    assert said.status == 1
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("images/a.png: ")
    assert "1 disagree" in said.out


def test_verify_finds_a_ledger_that_says_too_much(run, cli, pictures):
    """The file is the one that the ledger knows, but it does not do what the ledger says."""
    shutil.copy(pictures[0], run / "images" / "a.png")
    digest = hashlib.sha256(Path(pictures[0]).read_bytes()).hexdigest()
    with sqlite3.connect(run / "ledger.sqlite") as ledger:
        (text,) = ledger.execute("SELECT record FROM images WHERE id = 1").fetchone()
        record = json.dumps(json.loads(text) | {"digest": digest})
        ledger.execute("UPDATE images SET record = ? WHERE id = 1", (record,))
    ledger.close()
    said = cli("verify", run, "--trust")
    assert said.status == 1
    assert said.err == "images/a.png: judged failure, the ledger says success\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", None),
        ("ledger.sqlite", None),
        ("run.json", b"{"),
        ("run.json", b"[]"),
        ("run.json", b"{}"),
        ("ledger.sqlite", b"this is no data base, whatever it is called"),
    ],
)
def test_verify_refuses_what_is_no_run(run, cli, name, content):
    (run / name).unlink() if content is None else (run / name).write_bytes(content)
    said = cli("verify", run, "--trust")
    assert (said.status, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1
    assert str(run) in said.err


def test_verify_refuses_another_model(run, cli):
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(manifest | {"model": "0123456789abcdef"}))
    said = cli("verify", run, "--trust")
    assert said.status == 2
    assert "not the one that was attacked" in said.err


def test_a_file_name_that_is_no_text_is_kept_as_it_is(pictures, toy, tmp_path):
    odd = tmp_path / os.fsdecode(b"caf\xe9.png")
    shutil.copy(pictures[0], odd)
    run = tmp_path / "run"
    assert status_of(["untargeted", str(odd), "--model", f"{toy}:factory", "--out", str(run), "--quiet"]) == 0
    assert records(run)[0].stem == odd.stem
    assert (run / "images" / odd.name).is_file()
