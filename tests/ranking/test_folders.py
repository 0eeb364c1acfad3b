"""The folder of a ranking: what it was begun with is what goes on in it, whatever has been deleted or moved."""

import json
import shutil
from types import SimpleNamespace

import pytest

from detattack.ranking.identity import Identity, spec_without_path
from detattack.tasks.detection.task import DETECTION
from detattack.workflows import rank as ranking_workflow
from detattack.workflows.rank import TRANSFERRED, folder_of
from tests.ranking.conftest import IMPOSTORS, TOY, impostor, rank


@pytest.fixture
def out(ranking, tmp_path):
    return shutil.copytree(ranking, tmp_path / "out")


def test_another_detector_of_the_same_name_and_weights_is_refused(data, out, capsys):
    assert rank(data, out, impostor("Shaded")) == 2
    assert "out/toy: is of another model: spec (Toy, not Shaded)" in capsys.readouterr().err


def test_a_file_may_be_moved(data, out, tmp_path):
    before = (out / "toy" / "entry.json").read_bytes()
    moved = shutil.copy(IMPOSTORS, tmp_path / "moved.py")
    assert rank(data, out, f"{moved}:Toy") == 0
    assert (out / "toy" / "entry.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "0.0.1"}, "another version"),
        ({"protocol": {"name": "short", "hash": "0"}}, "another protocol"),
        ({"threshold": 0.1}, "another model: threshold"),
        ({"weights": "0"}, "another model: weights"),
    ],
)
def test_what_was_begun_is_continued_as_it_was_begun(data, out, capsys, change, said):
    (out / "toy" / "entry.json").unlink()
    path = out / "toy" / "ranking.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert rank(data, out, TOY) == 2
    assert said in capsys.readouterr().err
    assert not (out / "toy" / "entry.json").exists()


def test_folders_of_other_things_are_refused(data, out, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("")
    assert rank(data, other, TOY) == 2
    assert "other: not empty, and not a ranking" in capsys.readouterr().err
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]
    (out / "toy" / "ranking.json").unlink()
    (out / "toy" / "entry.json").unlink()
    assert rank(data, out, TOY) == 2
    assert "out/toy: not a model's folder of a ranking" in capsys.readouterr().err


def test_what_was_judged_is_judged_again_once_a_model_is_another(data, out, monkeypatch):
    monkeypatch.setattr(ranking_workflow, "withstood", lambda phases: {99, 100})

    def judged(change):
        values = json.loads((out / TRANSFERRED).read_text())
        (out / TRANSFERRED).write_text(json.dumps({"toy": {"firm": {**values["toy"]["firm"], **change}}}))
        assert rank(data, out, TOY) == 0
        return json.loads((out / TRANSFERRED).read_text())["toy"]["firm"]["images"]

    assert rank(data, out, TOY, impostor("Firm")) == 0
    assert judged({"images": 7}) == 7
    assert judged({"models": [Identity.read(out / "toy").hash, "0"]}) == 2


def test_files_of_others_that_a_model_fails_on_are_not_counted(data, out, monkeypatch):
    monkeypatch.setattr(ranking_workflow, "withstood", lambda phases: {98, 99, 100})
    holds = DETECTION.holds

    def failing(model, config, record, image):
        if record.id == 99:
            raise KeyError("boxes")
        return holds(model, config, record, image)

    monkeypatch.setattr(DETECTION, "holds", failing)
    (out / TRANSFERRED).unlink()
    assert rank(data, out, TOY, impostor("Firm")) == 0
    assert json.loads((out / TRANSFERRED).read_text())["toy"]["firm"]["images"] == 2


def test_the_pages_of_runs_are_linked(data, out):
    assert rank(data, out, TOY, more=("--reports",)) == 0
    page = (out / "toy" / "model.html").read_text()
    for run in ("walks/degrade/jnd-min", "budgets/linf-24"):
        assert (out / "toy" / run / "report.html").is_file()
        assert f"{run}/report.html" in page


@pytest.mark.parametrize(
    ("name", "weights", "folder"),
    [("детектор", None, "детектор"), ("模型 v2", None, "模型_v2"), ("a/b", "x/y.pth", "a_b-y"), ("../", None, "model")],
)
def test_a_folder_is_named_after_its_model(name, weights, folder):
    model, config = SimpleNamespace(name=name), SimpleNamespace(weights=weights)
    assert folder_of(SimpleNamespace(model=model, config=config)) == folder


@pytest.mark.parametrize(
    ("spec", "left"),
    [
        ("demo+jpeg:75", "demo+jpeg:75"),
        ("/a/b.py:factory", "factory"),
        ("nets/b.py:factory+blur:1", "factory+blur:1"),
        ("hf/facebook/detr-resnet-50", "hf/facebook/detr-resnet-50"),
        ("demo+guards/own.py:guard", "demo+guard"),
    ],
)
def test_the_name_of_a_model_without_its_path(spec, left):
    assert spec_without_path(spec) == left
