"""A defended model on the leaderboard, beside the model itself."""

import json

from detattack.ranking.entry import ENTRY
from tests.ranking.conftest import TOY, rank, read


def test_a_defended_model_has_an_entry_of_its_own(data, tmp_path):
    out = tmp_path / "out"
    assert rank(data, out, TOY, f"{TOY}+blur:1", more=("--limit", "3")) == 0
    names = sorted(one["folder"] for one in read(out)["models"])
    assert len(names) == 2
    (defended,) = (name for name in names if "blur" in name)
    assert json.loads((out / defended / ENTRY).read_text())["model"]["spec"] == f"{TOY}+blur:1"
