"""Models with other classes: what they have in common is asked of all of them, and what they have not is said."""

import json
import shutil
from types import SimpleNamespace

import pytest

from detattack.core.types import Category
from detattack.datasets.base import Dataset
from detattack.ranking.classes import counted_classes, lacking, largest_areas
from detattack.ranking.entry import Entry
from detattack.workflows.leaderboard import classes_apart
from detattack.workflows.rank import most_annotated
from tests.coco_squares import write_data
from tests.ranking.conftest import TINY, TOY, impostor, rank, read

KNOWN = (Category("car", 3), Category("dog", 18))
OF_DATA = ({"id": 2, "name": "car"}, {"id": 40, "name": "Dog"}, {"id": 9, "name": "kite"})


def annotation(category: int, image: int = 1, area: float = 9.0, crowd: int = 0) -> dict:
    return {"category_id": category, "image_id": image, "area": area, "iscrowd": crowd, "bbox": [0, 0, 3, 3]}


def test_what_counts_is_annotated_known_and_no_crowd():
    found = (annotation(2, area=4), annotation(2, area=8), annotation(40, crowd=1, area=99), annotation(9, area=99))
    dataset = Dataset((), "", OF_DATA, found)
    assert counted_classes(KNOWN, dataset) == ("car",)
    assert largest_areas(KNOWN, dataset) == {1: 8}


def test_crowds_are_not_injected():
    found = (annotation(2), annotation(40), annotation(40), *[annotation(2, crowd=1)] * 5)
    experiment = SimpleNamespace(model=SimpleNamespace(categories=KNOWN), dataset=Dataset((), "", OF_DATA, found))
    assert most_annotated(experiment, {"car", "Dog"}) == "dog"
    assert most_annotated(experiment, {"car"}) == "car"


def test_many_classes_are_said_in_short():
    (line,) = classes_apart(lacking({"a": [f"c{i}" for i in range(9)], "b": []}))
    assert (
        line
        == "b is measured without the objects of c0, c1, c2, c3, c4 and 4 more, which it does not know and others do"
    )


def test_models_with_other_classes_are_asked_the_same_and_it_is_said(data, tmp_path, capsys):
    out = tmp_path / "out"
    assert rank([*data, "--limit", "3"], out, TOY, impostor("DogOnly"), protocol=TINY) == 0
    said = "dogonly is measured without the objects of car, which it does not know and others do"
    assert f"NOTE: {said}" in capsys.readouterr().err
    assert said in (out / "leaderboard.md").read_text()
    assert said in (out / "leaderboard.html").read_text()
    assert read(out)["lacking"] == {"dogonly": ["car"]}
    assert {name: Entry.read(out / name).classes for name in ("toy", "dogonly")} == {
        "toy": ("Dog", "car"),
        "dogonly": ("Dog",),
    }
    for name in ("toy", "dogonly"):
        manifest = json.loads((out / name / "walks" / "inject" / "jnd-min" / "run.json").read_text())
        assert manifest["config"]["goal"] == "inject:dog@random"


@pytest.mark.parametrize("change", [{"iscrowd": 1}, {"category_id": 9}])
def test_where_nothing_counts_nothing_is_measured(tmp_path, capsys, change):
    data = write_data(tmp_path, 3)
    values = json.loads((tmp_path / "instances.json").read_text())
    values["annotations"] = [{**one, **change} for one in values["annotations"]]
    (tmp_path / "instances.json").write_text(json.dumps(values))
    assert rank(data, tmp_path / "out", TOY) == 2
    error = capsys.readouterr().err.strip()
    assert "no annotated object, crowds aside, is of a class that all models know (toy)" in error
    assert not (tmp_path / "out").exists()


def test_a_model_that_shares_no_class_with_an_entry_is_refused(data, ranking, tmp_path, capsys):
    out = shutil.copytree(ranking, tmp_path / "out")
    for name in ("toy", "firm"):
        path = out / name / "entry.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "classes": ["car"]}))
    assert rank(data, out, impostor("DogOnly")) == 2
    assert "that all models know (firm, toy, dogonly)" in capsys.readouterr().err
    assert not (out / "dogonly").exists()
