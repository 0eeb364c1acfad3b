"""A real detector behind JPEG, on real photos: what survives without knowing the defense, and through it."""

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


def test_jpeg_stops_those_alone_who_do_not_know_of_it(capsys, tmp_path):
    data = ("--images", PHOTOS, "--limit", 2, "--goal", "suppress:all", "--model", f"{NANODET}:factory")
    out = ("--quality", "quick", "--out", tmp_path / "run", "--json")
    assert status_of([str(one) for one in ("evaluate", *data, "--defense", "jpeg:75", *out)]) == 0
    undefended, unaware, adaptive = json.loads(capsys.readouterr().out)["defense"]
    assert undefended["success"] == adaptive["success"] == 1.0
    assert unaware["success"] == 0.0
    assert adaptive["l2"] <= 2 * undefended["l2"]
