"""A defended model on the leaderboard, beside the model itself."""

from tests.ranking.conftest import TOY, model, rank, read


def test_a_defended_model_has_an_entry_of_its_own(data, tmp_path):
    out = tmp_path / "out"
    assert rank(data, out, TOY, f"{TOY}+blur:1", more=("--limit", "3")) == 0
    names = {one["folder"] for one in read(out)["models"]}
    assert len(names) == 2
    assert any("blur" in name for name in names)
    assert model(out, next(name for name in names if "blur" in name))["spec"].endswith("+blur:1")
