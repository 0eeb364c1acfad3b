"""The pictures of the page."""

from PIL import Image

from detattack.report.pictures import Pictures, make_pictures
from detattack.tasks.detection.run_data import read
from tests.report.conftest import outcome, write_run


def test_an_original_that_is_gone_or_changed_is_not_shown(tmp_path):
    run = write_run(tmp_path / "run", [outcome(tmp_path, i, f"{i}", "success") for i in (1, 2, 3)])
    (tmp_path / "source-1.png").unlink()
    Image.new("RGB", (64, 48), "red").save(tmp_path / "source-2.png")
    seen = make_pictures(run, read(run).records)
    assert [(seen[i].after, seen[i].original) for i in (1, 2, 3)] == [(True, False), (True, False), (True, True)]
    (tmp_path / "source-3.png").unlink()
    assert make_pictures(run, read(run).records)[3].original  # kept from before


def test_more_images_than_wait_for_a_thread(tmp_path, monkeypatch):
    monkeypatch.setattr("detattack.report.pictures.AT_ONCE", 2)
    run = write_run(tmp_path / "run", [outcome(tmp_path, i, f"{i}", "success") for i in range(1, 6)])
    told = []
    seen = make_pictures(run, read(run).records, lambda done, total: told.append((done, total)))
    assert seen == {i: Pictures(after=True, heat=15, original=True) for i in range(1, 6)}
    assert told == [(i, 5) for i in range(1, 6)]
