"""A run that was started with relative paths is judged, shown and repeated from any folder."""

import json
from pathlib import Path

import pytest

from tests.coco_squares import write_data


@pytest.fixture
def started(cli, toy, tmp_path, monkeypatch) -> Path:
    """The folder of a run that was started in `tmp_path/start`, everything named relative to that."""
    start = tmp_path / "start"
    start.mkdir()
    monkeypatch.chdir(start)
    write_data(start, 3)
    (start / "toy_of_this_test.py").write_text(Path(toy).read_text())
    data = ("--images", "data", "--annotations", "instances.json")
    line = (
        "evaluate",
        *data,
        "--model",
        "toy_of_this_test.py:factory",
        "--device",
        "cpu",
        "--quality",
        "quick",
        "--quiet",
    )
    assert cli(*line, "--out", tmp_path / "out" / "run").status == 0
    return tmp_path / "out" / "run"


def edit(run: Path, **changes: object) -> None:
    manifest = json.loads((run / "run.json").read_text())
    kept = {key: value for key, value in (manifest | changes).items() if value is not None}
    (run / "run.json").write_text(json.dumps(kept))


@pytest.mark.parametrize("older", [False, True], ids=["this version", "an older one"])
def test_from_any_folder(cli, started, tmp_path, monkeypatch, older):
    if older:
        edit(started, folder=None)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    said = cli("verify", started, "--trust", "--device", "cpu", "--json")
    assert (said.status, said.json["summary"]["images"], said.json["summary"]["disagree"]) == (0, 3, 0)
    said = cli("verify", started, "--survive", "jpeg:90", "--trust", "--device", "cpu", "--json")
    assert (said.status, [row["unread"] for row in said.json["transfer"]]) == (0, [0, 0])
    assert cli("report", started, "--quiet").status == 0
    assert len(list((started / "thumbs").glob("*-original.webp"))) == 2  # of the attacked ones
    assert cli("rerun", started, "--trust", "--out", "again", "--quiet").status == 0


def test_what_is_nowhere_is_said_with_what_to_do(cli, started, tmp_path, monkeypatch):
    (tmp_path / "start").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "out")
    said = cli("verify", started, "--trust", "--device", "cpu")
    assert said.status == 2
    (told,) = said.err.splitlines()
    assert f"its model toy_of_this_test.py is not in {tmp_path / 'start'}" in told
    assert "go where it is" in told
    monkeypatch.chdir(tmp_path / "moved")
    assert cli("verify", started, "--trust", "--device", "cpu").status == 0


def test_code_that_is_found_elsewhere_needs_trust_all_the_same(cli, started, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = cli("verify", started, "--device", "cpu")
    assert said.status == 2
    assert "--trust" in said.err
