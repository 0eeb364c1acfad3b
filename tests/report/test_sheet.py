"""Sheets: panels of equal size, everything inside, nothing blurred."""

import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from detattack.core.errors import InputError
from detattack.engine.budget import Budget
from detattack.metrics.difference import difference_map, heatmap
from detattack.report.sheet import Sheet, budget_caption, caption_of
from detattack.runs.record import BaseRecord
from tests.toy_pictures import photo


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (30, 100)])
def test_panels_show_every_pixel_of_a_small_image(tmp_path, size):
    height, width = size
    a, b = photo(*size), photo(*size, seed=1)
    difference = difference_map(a, b)
    sheet = Sheet(width, height, 3, "")
    zoom = sheet.panel_size[0] // width
    assert sheet.panel_size == (zoom * width, zoom * height)
    for pixels in (a, b):
        sheet.picture("Original", "no detections", pixels)
    sheet.difference(difference)
    sheet.save(tmp_path / "f.png")
    with Image.open(tmp_path / "f.png") as image:
        page = np.array(image.convert("RGB"))
    for axes, picture in zip(sheet.figure.axes, (a, b, heatmap(difference)), strict=False):
        left, bottom = (axes.get_position().extents[:2] * page.shape[1::-1]).round().astype(int)
        top = page.shape[0] - bottom - sheet.panel_size[1]
        shown = page[top : top + sheet.panel_size[1], left : left + sheet.panel_size[0]]
        np.testing.assert_array_equal(shown, picture.repeat(zoom, axis=0).repeat(zoom, axis=1))


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (320, 480), (640, 300), (2000, 100), (100, 2000), (3000, 4000)])
def test_everything_lies_inside_the_figure_and_panels_are_equal(size):
    sheet = Sheet(size[1], size[0], 3, caption_of("inject:car@center", "success", 12, 0.5, 50.0) * 3)
    for _ in range(3):
        sheet.panel("Adversarial", "123 detections above 0.55")
    sheet.color_bar()
    renderer = sheet.figure.canvas.get_renderer()
    page = sheet.figure.bbox
    panels = [axes.get_window_extent(renderer) for axes in sheet.figure.axes[:3]]
    assert len({(round(p.width), round(p.height)) for p in panels}) == 1
    assert panels[0].width / panels[0].height == pytest.approx(size[1] / size[0], rel=0.15)
    texts = [text.get_window_extent(renderer) for text in sheet.figure.texts]
    for extent in (*panels, *texts, sheet.figure.axes[3].get_tightbbox(renderer)):
        assert extent.x0 >= -1
        assert extent.y0 >= -1
        assert extent.x1 <= page.width + 1
        assert extent.y1 <= page.height + 1
    titles = sorted(texts[1:], key=lambda t: (t.y0, t.x0))
    assert not any(a.overlaps(b) for i, a in enumerate(titles) for b in titles[i + 1 :])
    assert page.width <= 9000
    assert page.height <= 9000


@pytest.mark.parametrize("size", [(320, 480), (100, 640)])
def test_without_a_color_bar_both_margins_are_the_same(size):
    sheet = Sheet(size[1], size[0], 2, "", bar=False)
    panels = [sheet.panel("JND", "") for _ in range(2)]
    renderer = sheet.figure.canvas.get_renderer()
    left, right = panels[0].get_window_extent(renderer).x0, panels[1].get_window_extent(renderer).x1
    assert left == pytest.approx(sheet.figure.bbox.width - right, abs=1)


def test_a_long_subtitle_stays_at_its_panel():
    sheet = Sheet(100, 160, 3, "", bar=False)
    panels = [sheet.panel("JND", "no detections above 0.5, failure, K = 123, L2 = 0.123, and more") for _ in range(3)]
    renderer = sheet.figure.canvas.get_renderer()
    subtitles = [text.get_window_extent(renderer) for text in sheet.figure.texts if "above" in text.get_text()]
    starts = [axes.get_window_extent(renderer).x0 for axes in panels[1:]] + [sheet.figure.bbox.width]
    assert all(text.x1 < start for text, start in zip(subtitles, starts, strict=True))


def test_a_difference_beyond_the_scale_says_so():
    sheet = Sheet(8, 8, 1, "")
    sheet.difference(np.full((8, 8), 2.5, np.float32))
    assert "largest 2.50, shown as 1" in [text.get_text() for text in sheet.figure.texts]


def test_another_extension_is_bad_input(tmp_path):
    with pytest.raises(InputError, match=r"\.png or \.pdf"):
        Sheet(8, 8, 1, "").save(tmp_path / "f.jpg")
    assert not list(tmp_path.iterdir())


def test_drawing_leaves_no_global_state(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would raise
    before = matplotlib.rcParams.copy()
    sheet = Sheet(9, 9, 1, "costs $5")
    sheet.difference(difference_map(photo(9, 9), photo(9, 9, seed=1)))
    sheet.save(tmp_path / "f.pdf")
    assert matplotlib.rcParams.copy() == before


@pytest.mark.parametrize(
    ("values", "caption"),
    [
        (("suppress:all", "nothing"), "suppress:all  ·  nothing"),
        (("suppress:car", "failure", -1, 2, 40), "suppress:car  ·  failure  ·  L2 = 2  ·  PSNR = 40.0 dB"),
        (("inject:car@center", "success", 0, 0.1234, float("inf")),
         "inject:car@center  ·  success  ·  K = 0  ·  L2 = 0.123  ·  PSNR infinite (unchanged)"),
    ],
)  # fmt: skip
def test_captions(values, caption):
    assert caption_of(*values) == caption


@pytest.mark.parametrize(
    ("budget", "status", "caption"),
    [
        (Budget("linf", 2), "failure", "degrade:all  ·  budget L∞ 2/255  ·  not broken  ·  changed by L∞ 1/255"),
        (Budget("l2", 1), "success", "degrade:all  ·  budget L2 1  ·  broken  ·  changed by L2 0.987"),
        (Budget("rms", 1), "already",
         "degrade:all  ·  budget RMS 1/255  ·  broken untouched  ·  changed by RMS 0.46/255"),
    ],
)  # fmt: skip
def test_captions_of_budgets(budget, status, caption):
    quality = {"linf": 1 / 255, "l2": 0.98711, "rms": 0.46, "psnr": 50.0}
    record = BaseRecord(1, "a", "a.png", status, k=3, quality=quality)
    assert budget_caption("degrade:all", record, budget) == f"{caption}  ·  PSNR = 50.0 dB"
