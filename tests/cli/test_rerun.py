"""`detattack rerun`: a run repeated from its manifest gives the same bytes, wherever its images lie now."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from detattack.core.environment import CUBLAS, DETERMINISTIC
from detattack.core.files import LOCK
from detattack.runs.manifest import MIXED, read_manifest
from detattack.workflows.rerun import Agreement
from tests.coco_squares import write_data
from tests.toy_pictures import squares

CLASSIFIER = f"{Path(__file__).parents[1] / 'toy_classifier.py'}:Channels"


@pytest.fixture(autouse=True)
def threads() -> Iterator[int]:
    """How many there are; other tests have them too."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


@pytest.fixture
def made(cli, toy, tmp_path):
    """Carries out a command into `run`, with a toy model and whatever else it needs."""

    def carry_out(command: str, *arguments: object, model: str = f"{toy}:factory", out: str = "run") -> Path:
        line = (*command.split(), *arguments, "--model", model, "--device", "cpu", "--quiet", "--out", out)
        said = cli(*line)
        assert said.status == 0, said.err
        return tmp_path / out

    return carry_out


def identical(cli, run: object, *arguments: object, out: str = "again") -> None:
    said = cli("rerun", run, "--trust", "--quiet", "--out", out, *arguments)
    assert said.status == 0
    assert all(line.startswith("NOTE: ") for line in said.err.splitlines())
    assert said.out.endswith(": identical bytes\n")


def test_what_cannot_be_read_is_no_difference(cli, made, tmp_path):
    """Its path is in the reason, and is another from elsewhere."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"no image")
    Image.fromarray(squares("car@8,8")).save(tmp_path / "in" / "b.png")
    run = made("evaluate", "--images", "in")
    said = cli("rerun", run, "--trust", "--quiet", "--out", "again")
    assert (said.status, said.out.endswith(": identical bytes\n")) == (0, True)
    (tmp_path / "in").rename(tmp_path / "moved")
    said = cli("rerun", run, "--trust", "--quiet", "--out", "third", "--images", "moved")
    assert (said.status, said.out.endswith(": identical bytes\n")) == (0, True)


@pytest.mark.parametrize(
    "options", [(), ("--float",), ("--shard", "0/2"), ("--limit", "3", "--batch", "2"), ("--method", "noise")]
)
def test_a_data_set(cli, made, tmp_path, options):
    identical(cli, made("evaluate", *write_data(tmp_path), *options))
    files = [
        {p.relative_to(tmp_path / r): p.read_bytes() for p in (tmp_path / r).glob("*/*")} for r in ("run", "again")
    ]
    assert files[0] == files[1]
    assert len(files[0]) > 4


def test_images_one_by_one_with_their_figures(cli, made, picture):
    run = made("untargeted", picture("a", "car@8,8"), picture("sub/a", "car@24,16"))
    assert (run / "figures").is_dir()
    identical(cli, run)


def test_scenes(cli, made):
    identical(cli, made("evaluate", "--scenes", 3, "--seed", 5, "--goal", "inject:car@random", "--max-iterations", 4))


def test_the_control_with_the_lengths_that_it_had(cli, made, tmp_path):
    run = made("compare", *write_data(tmp_path), "--methods", "jnd,noise", "--max-iterations", 20)
    identical(cli, run / "noise")


def test_a_classifier(cli, made, picture, tmp_path):
    identical(cli, made("classify attack", picture("a", "car@8,8"), model=CLASSIFIER), out="one")
    pictures = {
        name: picture(f"data/{name}", f"{'car' if i % 2 else 'dog'}@8,8").name for i, name in enumerate("abcdef")
    }
    (tmp_path / "labels.json").write_text(json.dumps(dict.fromkeys(pictures.values(), 0)))
    labeled = ("--images", "data", "--labels", "labels.json", "--methods", "fgsm", "--skip", 1, "--limit", 3)
    identical(cli, made("classify compare", *labeled, model=CLASSIFIER, out="cmp") / "fgsm", out="two")


def test_the_manifest_suffices_from_elsewhere(cli, made, tmp_path, monkeypatch):
    run = made("evaluate", *write_data(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    identical(cli, run)


# Moved, changed, not trusted


def test_images_that_moved(cli, made, tmp_path):
    run = made("evaluate", *write_data(tmp_path))
    shutil.move(tmp_path / "data", tmp_path / "there")
    shutil.move(tmp_path / "instances.json", tmp_path / "there.json")
    said = cli("rerun", run, "--trust", "--out", "again")
    assert (said.status, said.out) == (2, "")
    assert f"images {tmp_path / 'data'}: no such folder" in said.err
    assert not (tmp_path / "again").exists()
    identical(cli, run, "--images", "there", "--annotations", "there.json")


def test_single_images_that_moved(cli, made, picture, tmp_path):
    run = made("untargeted", picture("a", "car@8,8"))
    (tmp_path / "there").mkdir()
    shutil.move(tmp_path / "a.png", tmp_path / "there" / "a.png")
    assert "a.png: no such file" in cli("rerun", run, "--trust").err
    identical(cli, run, "--images", "there")


def test_a_model_that_moved_is_named_and_so_trusted(cli, made, picture, toy, tmp_path):
    adapter = shutil.copy(toy, tmp_path / "mine.py")
    run = made("untargeted", picture("a", "car@8,8"), model=f"{adapter}:factory")
    shutil.move(adapter, tmp_path / "yours.py")
    assert "no such file" in cli("rerun", run, "--trust").err
    said = cli("rerun", run, "--model", "yours.py:factory", "--quiet", "--out", "again")
    assert (said.status, said.out) == (0, "1 image: identical bytes\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: Image.fromarray(squares("dog@8,8")).save(root / "a.png"), "not those that were attacked"),
        (lambda root: (root / "run" / "summary.json").unlink(), "not finished"),
        (lambda root: rewrite(root, model="0123"), "not the one that was attacked"),
        (lambda root: rewrite(root, origin=None), "does not say where its images came from"),
        (lambda root: rewrite(root, origin={"images": 3}), "does not say where its images came from"),
        (lambda root: rewrite(root, threads="all"), "damaged"),
        (lambda root: rewrite(root, shard=[1]), "damaged"),
        (lambda root: rewrite(root, lengths=[[1]]), "damaged"),
    ],
)
def test_what_cannot_be_repeated(cli, made, picture, tmp_path, change, words):
    run = made("untargeted", picture("a", "car@8,8"))
    change(tmp_path)
    said = cli("rerun", run, "--trust", "--out", "again")
    assert (said.status, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1
    assert words in said.err
    assert not (tmp_path / "again").exists()


def rewrite(root: Path, **values: object) -> None:
    manifest = json.loads((root / "run" / "run.json").read_text())
    (root / "run" / "run.json").write_text(json.dumps(manifest | values))


@pytest.mark.parametrize("command", ["rerun", "verify"])
def test_code_that_a_run_folder_names_is_not_run_unasked(cli, made, picture, toy, tmp_path, command):
    """Whoever sends a run folder may have written anything into it."""
    adapter = shutil.copy(toy, tmp_path / "mine.py")
    made("untargeted", picture("a", "car@8,8"), model=f"{adapter}:factory")
    Path(adapter).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    said = cli(command, "run")
    assert (said.status, said.out) == (2, "")
    assert "--trust" in said.err
    assert not (tmp_path / "ran").exists()


def test_options_for_what_the_run_has_not(cli, made):
    made("evaluate", "--scenes", 1, "--max-iterations", 2)
    said = cli("rerun", "run", "--trust", "--images", "photos")
    assert (said.status, said.err) == (2, "detattack: --images: the run has none that could have moved\n")


# What differs


def test_other_bytes_are_named(cli, made, tmp_path):
    run = made("evaluate", *write_data(tmp_path))
    damaged = run / "images" / "i1.png"
    damaged = damaged if damaged.exists() else next((run / "images").iterdir())
    damaged.write_bytes(damaged.read_bytes() + b"x")
    said = cli("rerun", run, "--trust", "--out", "again", "--json", "--quiet")
    assert said.status == 1
    assert said.json["summary"]["differing"] == [f"images/{damaged.name}"]
    assert (said.json["summary"]["identical"], said.json["summary"]["same_success"]) == (False, 1.0)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE images SET record = json_set(record, '$.k', 77) WHERE id = 100",
        "DELETE FROM images WHERE id = 100",
        "DELETE FROM images WHERE id = 95",
    ],
)
def test_other_rows_are_named(cli, made, tmp_path, change):
    run = made("evaluate", *write_data(tmp_path))
    with sqlite3.connect(run / "ledger.sqlite") as rows:
        rows.execute(change)
    rows.close()
    said = cli("rerun", run, "--trust", "--out", "again", "--quiet")
    assert said.status == 1
    assert f"1 file or row differs (row of image {change.split()[-1]})" in said.out


def test_other_conditions_are_said(cli, made, picture, tmp_path, threads):
    made("untargeted", picture("a", "car@8,8"))
    rewrite(tmp_path, versions={"numpy": "0.1"}, detattack="0.0")
    said = cli("rerun", "run", "--trust", "--out", "again", "--threads", threads + 1, "--quiet")
    assert said.status == 0
    for words in ("versions.numpy was '0.1'", "detattack was '0.0'", f"threads was {threads}, now {threads + 1}"):
        assert f"not the same: {words}" in said.err


def test_deterministic_algorithms_are_asked_for_again(cli, made, picture, tmp_path, monkeypatch):
    for name in (DETERMINISTIC, CUBLAS):  # for the command to set, and to be as before in the end
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    run = made("untargeted", picture("a", "car@8,8"), "--deterministic")
    monkeypatch.delenv(DETERMINISTIC)
    identical(cli, run)
    assert json.loads((tmp_path / "again" / "run.json").read_text())["environment"][DETERMINISTIC] == "1"
    monkeypatch.delenv(DETERMINISTIC)
    rewrite(tmp_path, environment={})
    monkeypatch.setenv(DETERMINISTIC, "1")
    said = cli("rerun", "run", "--trust", "--quiet", "--out", "third")
    assert f"not the same: {DETERMINISTIC} was None, now '1'" in said.err


def test_a_run_continued_under_other_conditions_says_so_from_then_on(cli, made, tmp_path, threads):
    run, line = made("evaluate", *write_data(tmp_path)), (*write_data(tmp_path), "--resume")
    with sqlite3.connect(run / "ledger.sqlite") as rows:
        rows.execute("DELETE FROM images WHERE id = 100")
    rows.close()
    first = read_manifest(run)
    torch.set_num_threads(threads + 1)
    for _ in range(2):  # the second time there is nothing left to do
        made("evaluate", *line)
        (note,) = read_manifest(run)["notes"]
        assert note == f"{MIXED}threads was {threads}, now {threads + 1}"
    assert read_manifest(run) == first | {"notes": [note]}
    said = cli("rerun", run, "--trust", "--out", "again", "--quiet")
    assert (said.status, said.err) == (0, f"not the same: {note}\n")


def test_shards_made_under_other_conditions_are_said_where_they_are_merged(cli, made, tmp_path, threads):
    data = write_data(tmp_path)
    for i in range(3):
        torch.set_num_threads(threads + (i > 0))
        made("evaluate", *data, "--shard", f"{i}/3", out=f"s{i}")
    said = cli("merge", "whole", "s0", "s1", "s2", "--quiet")
    note = f"{MIXED}threads was {threads}, now {threads + 1}"
    assert (said.status, said.err) == (0, f"NOTE: {note}\nwhole\n")
    assert read_manifest(tmp_path / "whole")["notes"] == [note]


def test_another_batch(cli, made, tmp_path):
    run = made("evaluate", *write_data(tmp_path), "--batch", 1)
    said = cli("rerun", run, "--trust", "--out", "again", "--batch", 3, "--quiet", "--json")
    assert said.status == 0
    assert said.json["summary"]["conditions"] == ["batch was 1, now 3"]
    assert said.json["summary"]["same_success"] == 1


@pytest.mark.parametrize(
    ("differing", "conditions", "success", "ratio", "kept"),
    [
        ((), (), 1.0, 1.0, True),
        (("images/a.png",), (), 1.0, 1.0, False),
        (("images/a.png",), ("threads was 1, now 2",), 0.99, 1.009, True),
        (("images/a.png",), ("threads was 1, now 2",), 0.98, 1.0, False),
        (("images/a.png",), ("threads was 1, now 2",), 1.0, 0.985, False),
        (("images/a.png",), ("threads was 1, now 2",), 1.0, None, True),
    ],
)
def test_what_is_promised(differing, conditions, success, ratio, kept):
    assert Agreement(100, differing, conditions, success, ratio).kept == kept


def test_the_lock_is_no_result(made, picture):
    assert (made("untargeted", picture("a", "car@8,8")) / LOCK).read_bytes() == b""
