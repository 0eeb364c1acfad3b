"""Which models run code from a file, and that it needs consent."""

from pathlib import Path

import pytest

from detattack.core.errors import InputError
from detattack.core.trust import check_trust, runs_code


def test_models_that_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("detectron2", "ultralytics"):
        (tmp_path / f"{name}.file").touch()
        assert runs_code(f"{name}/{name}.file")
        assert runs_code(f"{name}/{name}.file:end2end")
        assert not runs_code(f"{name}/not-here")
    assert runs_code("adapter.py:factory")
    assert not any(map(runs_code, ("demo", "torchvision/fcos_resnet50_fpn", "hf/owner/name", "ultralytics/yolo11n")))


def test_code_needs_trust():
    check_trust(Path("run"), {"model": "demo"}, trust=False)
    check_trust(Path("run"), {"model": "adapter.py:factory"}, trust=True)
    with pytest.raises(InputError, match="^run: its model adapter.py:factory runs code from a file; --trust lets it$"):
        check_trust(Path("run"), {"model": "adapter.py:factory"}, trust=False)
