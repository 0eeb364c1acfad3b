"""Files that a run names by relative paths."""

from pathlib import Path

import pytest

from detattack.core.errors import InputError
from detattack.core.locating import located, located_config, start_folders


def test_the_likeliest_folder_comes_first(tmp_path):
    manifest = {"folder": "/started", "origin": {"images": "/data/photos", "files": ["/other/a.png"], "seed": 3}}
    folders = list(start_folders(tmp_path / "run", manifest))
    wanted = [Path("/started"), Path(), Path("/data"), Path("/"), Path("/other"), Path("/"), tmp_path / "run", tmp_path]
    assert folders[: len(wanted)] == wanted
    assert next(start_folders(tmp_path, {})) == Path()  # of an older run


def test_files_of_each_kind(tmp_path):
    start = tmp_path / "start"
    for name in ("adapter.py", "net.pt", "names.txt", "yolo.pt"):
        start.mkdir(exist_ok=True)
        (start / name).touch()
    manifest = {
        "folder": str(start),
        "config": {"model": "adapter.py:f", "weights": "net.pt", "categories": "names.txt"},
    }
    wanted = {"model": f"{start}/adapter.py:f", "weights": f"{start}/net.pt", "categories": f"{start}/names.txt"}
    assert located_config(tmp_path, manifest) == wanted
    for model in ("demo", "torchvision/fcos_resnet50_fpn", "hf/owner/name", "/no/such.py:f"):
        config = {"model": model, "weights": "none", "categories": None}
        assert located_config(tmp_path, {**manifest, "config": config}) == config
    for head in ("", ":end2end"):
        config = {"model": f"ultralytics/yolo.pt{head}"}
        found = {"model": f"ultralytics/{start}/yolo.pt{head}"}
        assert located_config(tmp_path, {**manifest, "config": config}) == found
    with pytest.raises(InputError, match=f"its weights gone.pt is not in {start}; go where it is"):
        located_config(tmp_path, {**manifest, "config": {"model": "demo", "weights": "gone.pt"}})


def test_what_is_no_path_is_nowhere(tmp_path):
    for path in ("a\0b", "x" * 5000):
        assert located(path, tmp_path, {}) is None
