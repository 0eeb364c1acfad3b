"""The L2 of a record, a summary and `verify`'s files is that of the files on the disk."""

import json
import math
import sqlite3
import statistics
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detattack.cli import status_of
from tests.coco_squares import write_data


@pytest.mark.parametrize("floats", [(), ("--float",)], ids=["8 bits", "floats"])
@pytest.mark.parametrize("method", ["jnd", "fgsm", "pgd-linf@8", "ddn", "noise"])
def test_l2_is_that_of_the_files(toy, tmp_path, method, floats):
    data = write_data(tmp_path, 5)
    line = ["evaluate", *data, "--model", f"{toy}:factory", "--device", "cpu", "--quality", "quick", "--quiet"]
    line += ["--method", method, "--max-iterations", "30", *floats]
    assert status_of([*line, "--out", str(tmp_path / "run")]) == 0
    with sqlite3.connect(tmp_path / "run" / "ledger.sqlite") as rows:
        records = [json.loads(record) for (record,) in rows.execute("SELECT record FROM images")]
    rows.close()
    attacked = [record for record in records if record["status"] in ("success", "failure")]
    assert len(attacked) == 4
    for record in attacked:
        # of floats, what float32's rounding leaves of a whole gray level counts as the level
        exact = 1e-6 if floats else 1e-12
        assert record["quality"]["l2"] == pytest.approx(distance(tmp_path / "run", record, bool(floats)), rel=exact)
    wins = [record["quality"]["l2"] for record in attacked if record["status"] == "success"]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["median_l2"] == (statistics.median(wins) if wins else None)


def distance(run: Path, record: dict, floats: bool) -> float:
    original = np.asarray(Image.open(record["source"]).convert("RGB"), np.float64) / 255
    if floats:
        changed = np.load(run / "floats" / f"{record['stem']}.npy").astype(np.float64).transpose(1, 2, 0)
    else:
        changed = np.asarray(Image.open(run / "images" / f"{record['stem']}.png"), np.float64) / 255
    return math.sqrt(np.square(changed - original).sum())
