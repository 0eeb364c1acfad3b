"""Both commands on real photos with a real COCO-trained detector, judged from the files they wrote."""

import json
import os
from pathlib import Path

import pytest

from detattack.cli import status_of

SHARED = Path(os.environ.get("DETATTACK_SHARED", Path(__file__).parents[2] / ".." / "shared")).resolve()
NANODET = SHARED / "tools" / "nanodet_coco.py"
PHOTOS = SHARED / "data" / "coco-val80" / "images"

pytestmark = pytest.mark.skipif(
    not (NANODET.is_file() and PHOTOS.is_dir()), reason="needs NanoDet and COCO photos (DETATTACK_SHARED)"
)


def run(capsys, tmp_path: Path, *arguments: str) -> dict:
    photos = [str(path) for path in sorted(PHOTOS.glob("*.jpg"))[:4]]
    out = tmp_path / "run"
    status = status_of([*arguments, *photos, "--model", f"{NANODET}:factory", "--out", str(out), "--json"])
    assert status == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert status_of(["verify", str(out), "--trust"]) == 0
    return summary


def test_everything_vanishes_from_photos(capsys, tmp_path):
    summary = run(capsys, tmp_path, "untargeted", "--suppress", "all")
    assert summary["success"] >= 3
    assert summary["failure"] == summary["error"] == 0
    assert summary["median_psnr"] > 55


def test_a_car_appears_in_photos(capsys, tmp_path):
    summary = run(capsys, tmp_path, "targeted", "--add", "car")
    assert summary["success"] >= 3
    assert summary["failure"] == summary["error"] == 0
    assert summary["median_asked_iou"] >= 0.5
    assert summary["median_psnr"] > 45
