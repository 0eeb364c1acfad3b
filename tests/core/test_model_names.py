"""Names of models that are put together, and the consent that the code in them needs."""

from pathlib import Path

import pytest

from detattack.core.errors import InputError
from detattack.core.locating import located_config
from detattack.core.model_names import models_in, split_defense
from detattack.core.trust import check_trust, runs_code


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("demo", ("demo", None)),
        ("demo+jpeg:75", ("demo", "jpeg:75")),
        ("demo+resize:0.5+jpeg:75", ("demo", "resize:0.5+jpeg:75")),
        ("hf/facebook/detr-resnet-50+jpeg:75", ("hf/facebook/detr-resnet-50", "jpeg:75")),
        ("a/model.py:factory+jpeg:75", ("a/model.py:factory", "jpeg:75")),
        ("demo+a/defense.py:factory", ("demo", "a/defense.py:factory")),
        ("a/model.py:factory+b/defense.py:factory", ("a/model.py:factory", "b/defense.py:factory")),
    ],
)
def test_a_defense_stands_behind_a_plus(spec, parts):
    assert split_defense(spec) == parts


def test_a_plus_in_the_path_of_a_file_is_part_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c+c").mkdir()
    (tmp_path / "c+c" / "model.py").touch()
    assert split_defense("c+c/model.py:factory") == ("c+c/model.py:factory", None)
    assert split_defense("c+c/model.py:factory+jpeg:75") == ("c+c/model.py:factory", "jpeg:75")
    assert split_defense("c+c/model.py:factory+screen") == ("c+c/model.py:factory", "screen")


def test_all_models_of_a_run_need_consent():
    config = {"model": "demo", "through_models": ["demo", "adapter.py:factory"]}
    assert models_in(config) == ["demo", "demo", "adapter.py:factory"]
    check_trust(Path("run"), config, trust=True)
    with pytest.raises(InputError, match=r"adapter\.py:factory runs code"):
        check_trust(Path("run"), config, trust=False)


def test_code_behind_a_defense_needs_consent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "yolo.pt").touch()
    assert runs_code("ultralytics/yolo.pt+jpeg:75")
    assert runs_code("demo+defense.py:factory")
    assert not runs_code("demo+jpeg:75")


def test_files_in_names_are_found_where_the_run_was_started(tmp_path):
    start = tmp_path / "start"
    start.mkdir()
    for name in ("model.py", "defense.py"):
        (start / name).touch()
    config = {
        "model": "model.py:factory+defense.py:factory",
        "through_models": ["model.py:factory+jpeg:75", "demo+defense.py:factory"],
    }
    found = located_config(tmp_path / "run", {"folder": str(start), "config": config})
    assert found["model"] == f"{start / 'model.py'}:factory+{start / 'defense.py'}:factory"
    assert found["through_models"] == [
        f"{start / 'model.py'}:factory+jpeg:75",
        f"demo+{start / 'defense.py'}:factory",
    ]
