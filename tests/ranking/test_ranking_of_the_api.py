"""A ranking by `detattack.api`."""

import shutil

import pytest

from detattack.api import Ranking, load_run, rank
from tests.ranking.conftest import SHORT, TOY, impostor


def test_a_finished_ranking_is_read_and_shown(ranking):
    found = load_run(ranking)
    assert isinstance(found, Ranking)
    assert [row[1] for row in found.texts()[1:]] == [one["folder"] for one in found["models"]]
    assert "data:image/png;base64," in found._repr_html_()
    assert repr(found).endswith("2 models)")


def test_its_table_in_pandas(ranking):
    pytest.importorskip("pandas", reason="needs pandas (pip install pandas)")
    table = load_run(ranking).to_pandas()
    assert list(table["model"]) == [one["folder"] for one in load_run(ranking)["models"]]
    assert (table["jnd50_rms_low"] <= table["jnd50_rms_value"]).all()


def test_models_that_have_entries_are_not_measured_again(ranking, data, tmp_path):
    out = shutil.copytree(ranking, tmp_path / "out")
    again = rank([TOY, {"model": impostor("Firm")}], data[1], data[3], protocol=str(SHORT), device="cpu", out=out)
    assert again == load_run(ranking)
