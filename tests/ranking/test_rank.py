"""`detattack rank` through the command line: the order, masked detectors, what is added, resumed and refused."""

import json
import shutil
from pathlib import Path

import pytest

from detattack.cli import status_of
from detattack.ranking.entry import Entry
from tests.coco_squares import write_data
from tests.ranking.conftest import IMAGES, SHORT, TOY, impostor, model, rank, read


def test_the_firmer_detector_is_above(ranking):
    first, second = read(ranking)["models"]
    assert [(one["folder"], one["place"]) for one in (first, second)] == [("firm", "1"), ("toy", "2")]
    assert first["jnd50"]["degrade"]["rms"]["low"] > second["jnd50"]["degrade"]["rms"]["high"]
    assert all(verdict["trusted"] for one in (first, second) for verdict in one["verdicts"])


def test_all_files_are_there(ranking):
    names = {path.name for path in ranking.iterdir()}
    assert {f"leaderboard.{kind}" for kind in ("html", "json", "csv", "md", "tex")} <= names
    assert (ranking / "toy" / "model.html").is_file()
    page = (ranking / "leaderboard.html").read_text()
    assert "toy/model.html" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")  # a name, no address


def test_the_smallest_change_is_the_smallest_of_all_files(ranking):
    """Each image's smallest change against all files of the model, measured by hand."""
    import numpy as np
    from PIL import Image

    entry = Entry.read(ranking / "toy")
    for number, smallest in entry.walks["degrade"].items():
        shown = entry.shown[number]
        original = np.asarray(Image.open(shown.source), dtype=float)
        changes = {}
        for path in sorted((ranking / "toy").rglob(f"images/{shown.stem}.png")):
            run = json.loads((path.parent.parent / "run.json").read_text())
            if run["config"]["goal"] == "degrade:all" and run["config"]["attack"]["levels"] == 256:
                changes[path.relative_to(ranking / "toy").as_posix()] = np.asarray(Image.open(path)) - original
        nearest = changes[smallest.file]
        assert np.linalg.norm(nearest) / 255 == pytest.approx(smallest.l2, rel=1e-5)
        wins = [path for path, change in changes.items() if won(ranking / "toy" / path, number)]
        assert smallest.l2 == pytest.approx(min(np.linalg.norm(changes[path]) for path in wins) / 255, rel=1e-5)
        assert smallest.linf == pytest.approx(min(np.abs(changes[path]).max() for path in wins), abs=1e-3)
        assert smallest.rms == pytest.approx(min(np.sqrt((changes[path] ** 2).mean()) for path in wins), rel=1e-5)


def won(file: Path, number: int) -> bool:
    """Whether the ledger says that a file reaches the goal, which `verify` holds it to."""
    from contextlib import closing

    from detattack.runs.folder import RunFolder
    from detattack.tasks.detection.record import DetectionRecord

    with closing(RunFolder.open(file.parent.parent, DetectionRecord)) as run:
        return next(record.status for record in run.iterate() if record.id == number) == "success"


def test_every_run_of_a_ranking_is_verified(ranking):
    runs = [path.parent for path in ranking.rglob("run.json")]
    assert {run.relative_to(ranking).parts[0] for run in runs} == {"toy", "firm"}
    for run in runs:
        assert status_of(["verify", str(run), "--quiet", "--trust"]) == 0, run


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Rounded", "there is a gradient"),
        ("Saturated", "candidates are what is detected"),
        ("Coarse", "there is a gradient"),
        ("Resized", "the same image has the same answer"),
        ("Jpeg", "there is a gradient"),
        ("Hidden", "there is a gradient"),
    ],
)
def test_impostors_are_masked(data, ranking, tmp_path, name, reason):
    out = shutil.copytree(ranking, tmp_path / "out")
    assert rank(data, out, impostor(name)) == 0
    found = model(out, name.lower())
    assert found["place"] == "masked"
    assert reason in [verdict["name"] for verdict in found["verdicts"] if not verdict["trusted"]]
    assert [model(out, one)["place"] for one in ("firm", "toy")] == ["1", "2"]
    assert f"{name.lower()} is masked" in (out / "leaderboard.html").read_text()


def test_one_that_hides_from_floats_is_broken_as_ever(data, ranking, tmp_path):
    out = shutil.copytree(ranking, tmp_path / "out")
    assert rank(data, out, impostor("Picky")) == 0
    toy, picky = model(out, "toy"), model(out, "picky")
    assert picky["place"] == "masked" or picky["jnd50"] == toy["jnd50"]


def test_added_later_or_at_once_the_entry_is_the_same(data, ranking, tmp_path):
    out = tmp_path / "out"
    assert rank(data, out, impostor("Firm")) == 0
    assert rank(data, out, TOY) == 0
    for name in ("firm", "toy"):
        assert (out / name / "entry.json").read_bytes() == (ranking / name / "entry.json").read_bytes()
    assert rank(data, out, TOY, impostor("Firm")) == 0  # what withstood the one is shown the files of the other
    assert timeless(read(out)) == timeless(read(ranking))


def timeless(board: dict) -> dict:
    return {**board, "models": [{k: v for k, v in one.items() if k != "seconds"} for one in board["models"]]}


@pytest.mark.parametrize(
    "left", ["probe.json", "walks/degrade/fmn", "walks/inject/jnd-min", "budgets/linf-24", "budgets/doubled"]
)
def test_what_was_cut_off_goes_on_to_the_same_bytes(data, ranking, tmp_path, left):
    """As after a kill in any phase: what comes after it is not there, and itself is there in part."""
    out = shutil.copytree(ranking, tmp_path / "out")
    (out / "toy" / "entry.json").unlink()
    gone = out / "toy" / left
    if gone.is_dir():
        (gone / "summary.json").unlink()
    else:
        gone.unlink()
    assert rank(data, out, TOY) == 0
    assert (out / "toy" / "entry.json").read_bytes() == (ranking / "toy" / "entry.json").read_bytes()


def test_an_image_that_one_model_fails_on_is_left_out_for_all(tmp_path):
    data = write_data(tmp_path / "marked", IMAGES, mark=2)
    out = tmp_path / "out"
    assert rank(data, out, TOY, impostor("Frail")) == 0
    board = read(out)
    assert list(board["left_out"]) == ["i1-98"]
    assert board["images"]["degrade"] == IMAGES - 2


@pytest.mark.parametrize(
    ("models", "more", "said"),
    [
        ((TOY, TOY), (), "named twice"),
        ((TOY,), ("--protocol", "v9"), "unknown protocol 'v9'"),
        ((TOY, impostor("Firm")), ("--weights", "x.pth"), "go with one MODEL"),
        ((impostor("Nothing"),), (), "Nothing"),
    ],
)
def test_bad_input_is_one_line(data, tmp_path, capsys, models, more, said):
    assert rank(data, tmp_path / "out", *models, more=more) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_entries_of_other_data_or_protocols_are_refused(data, ranking, tmp_path, capsys):
    out = shutil.copytree(ranking, tmp_path / "out")
    assert rank([*data, "--limit", "5"], out, TOY) == 2
    assert "another data" in capsys.readouterr().err
    other = tmp_path / "other.yaml"
    other.write_text(SHORT.read_text().replace("floor: 0.05", "floor: 0.06"))
    assert rank(data, out, TOY, more=("--protocol", str(other))) == 2
    assert "another protocol" in capsys.readouterr().err


def test_annotations_are_needed(data, tmp_path, capsys):
    assert rank(data[:2], tmp_path / "out", TOY) == 2
    assert "annotated objects" in capsys.readouterr().err
