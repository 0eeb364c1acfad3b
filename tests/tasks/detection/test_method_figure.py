"""Figures of what several methods made of one image."""

import pytest

from detattack.core.errors import InputError
from detattack.tasks.detection.method_figure import method_figure
from tests.report.conftest import outcome, write_run


@pytest.mark.parametrize("suffix", ["png", "pdf"])
@pytest.mark.parametrize("differences", [False, True])
def test_figures_of_methods(tmp_path, suffix, differences):
    runs = [write_run(tmp_path / name, [outcome(tmp_path, 3, "a", "success")]) for name in ("jnd", "fgsm", "fgv")]
    path = tmp_path / f"figure.{suffix}"
    method_figure(runs, "a", path, differences)
    assert path.read_bytes().startswith(b"\x89PNG" if suffix == "png" else b"%PDF")
    with pytest.raises(InputError, match="holds no image"):
        method_figure(runs, "b", path, differences)


def test_figures_of_methods_are_of_one_image(tmp_path):
    runs = [write_run(tmp_path / f"run {i}", [outcome(tmp_path, i, "a", "success")]) for i in (1, 2)]
    with pytest.raises(InputError, match="another image"):
        method_figure(runs, "a", tmp_path / "figure.png")
