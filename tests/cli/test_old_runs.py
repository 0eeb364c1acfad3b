"""Run folders that version 0.1.0 wrote open in every command of today."""

import json
import shutil
from pathlib import Path

import pytest

from detattack.cli import status_of

HERE = Path(__file__).parents[1] / "fixtures" / "old_runs"
CONTINUED = {
    "detector": ["evaluate", "--scenes", "1", "--method", "fgsm", "--quality", "quick", "--batch", "1"],
    "classifier": ["classify", "attack", *(str(HERE / "pictures" / f"{n}.png") for n in ("field", "sky")), "--method"]
    + ["fgsm"],
}


@pytest.fixture(params=CONTINUED)
def old(request, tmp_path):
    """A copy of a run folder, and what the run was asked for."""
    run = tmp_path / request.param
    shutil.copytree(HERE / request.param, run)
    return run


def images(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "images").iterdir()}


def test_verify_finds_every_success_again(old, capsys):
    assert status_of(["verify", str(old), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["problems"], found["summary"]["success"] > 0) == ([], True)


def test_report_makes_its_page(old):
    assert status_of(["report", str(old), "--quiet"]) == 0
    assert "<html" in (old / "report.html").read_text(encoding="utf-8")


def test_resume_has_nothing_to_do_and_keeps_the_bytes(old, capsys):
    before = images(old)
    assert status_of([*CONTINUED[old.name], "--out", str(old), "--resume", "--quiet"]) == 0, capsys.readouterr().err
    assert images(old) == before


def test_rerun_ends_as_the_run_did(old, tmp_path, capsys):
    moved = ["--images", str(HERE / "pictures")] if old.name == "classifier" else []
    again = ["rerun", str(old), "--out", str(tmp_path / "again"), *moved, "--json", "--quiet"]
    assert status_of(again) == 0, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out)
    assert found["summary"]["same_success"] == 1
    assert found["summary"]["l2_ratio"] == pytest.approx(1, abs=0.01)
