"""A ranking by `detattack.api`."""

import shutil

import pytest
import torch

from classify.wrap import wrap_classifier
from detattack.api import InputError, Ranking, load_detector, load_run, open_data, rank
from tests.ranking.conftest import SHORT, TOY, impostor
from tests.toy_pictures import squares


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


def test_models_and_images_in_memory_have_the_entry_of_those_that_are_named(data):
    """Two images of the data set, once from its files and once from memory, and the model by name and in memory."""
    named = rank([TOY], data[1], data[3], protocol=str(SHORT), device="cpu", limit=2)
    samples = open_data(data[1], data[3], limit=2)
    names = {one["id"]: one["name"] for one in samples.categories}
    items = []
    for sample in samples.samples:
        objects = [one for one in samples.annotations if one["image_id"] == sample.id]
        boxes = torch.tensor([[x, y, x + w, y + h] for x, y, w, h in (one["bbox"] for one in objects)])
        items.append((sample.load().pixels, {"boxes": boxes, "labels": [one["category_id"] for one in objects]}))
    held = rank([load_detector(TOY, "cpu")], open_data(items, categories=names), protocol=str(SHORT))
    (by_name,), (in_memory,) = named["models"], held["models"]
    assert in_memory["jnd50"]["degrade"] == by_name["jnd50"]["degrade"]
    assert in_memory["ap"] == by_name["ap"]


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ("demo", "expected a list of models, got str"),
        ({"model": "demo"}, "expected a list of models, got dict"),
        (3, "expected a list of models, got int"),
        ([{"model": "demo", "weight": "x"}], "expected texts for model, weights and categories"),
        ([{"weights": "x"}], "expected texts for model, weights and categories"),
        ([{"model": ["demo"]}], "expected texts for model, weights and categories"),
        ([3], "int is no Detector"),
    ],
)
def test_what_names_no_models_is_refused(models, said):
    with pytest.raises(InputError, match=said):
        rank(models, [squares()], protocol=str(SHORT))


def test_a_classifier_is_refused():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 4, 2)).eval()
    with pytest.raises(InputError, match="is no detector"):
        rank([wrap_classifier(network, ["a", "b"])], [squares()], protocol=str(SHORT))
