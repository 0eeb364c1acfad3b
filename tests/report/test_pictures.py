"""The pictures of the page."""

from dataclasses import replace

import numpy as np
from PIL import Image

from detattack.datasets.image_io import png_bytes
from detattack.metrics.image_quality import measure, quick_measures
from detattack.report.pictures import Pictures, make_pictures
from detattack.runs.record import Outcome
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


def test_an_image_longer_than_webp_can_hold(tmp_path):
    one = outcome(tmp_path, 1, "panorama", "success").record
    original = np.full((2, 16_400, 3), 90, np.uint8)
    pixels = original.copy()
    pixels[:, :100] += 3
    Image.fromarray(original).save(one.source)
    record = replace(one, width=16_400, height=2, quality=measure(original, pixels, quick_measures()).as_json())
    run = write_run(tmp_path / "run", [Outcome(record, original, png_bytes(pixels), pixels)])
    seen = make_pictures(run, read(run).records)[1]
    assert seen.after
    assert seen.heat
    assert seen.original
    for name in ("original", "scaled"):
        with Image.open(run / "thumbs" / f"1-{name}.webp") as picture:
            assert picture.size[0] == 16_383
