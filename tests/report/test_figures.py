import io
import sys

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from detattack.core.errors import InputError
from detattack.core.types import Detections
from detattack.metrics.difference import difference_map, heatmap
from detattack.report import figures
from detattack.report.figures import (
    caption_of,
    class_color,
    draw_detections,
    heatmap_figure,
    save_heatmap,
    side_by_side,
)

NAMES = ["person", "car", "wine glass"]


def found(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    """Detections from rows of x1, y1, x2, y2, score, label."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].long())


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 200, (height, width, 3), dtype=np.uint8)


# Difference maps


def test_difference_map_by_hand():
    original = np.zeros((2, 3, 3), np.uint8)
    adversarial = original.copy()
    adversarial[1, 2] = (3, 0, 4)
    difference = difference_map(original, adversarial)
    assert difference.shape == (2, 3)
    assert difference.dtype == np.float32
    assert difference[1, 2] == pytest.approx(10 * 5 / 255)
    assert np.count_nonzero(difference) == 1
    np.testing.assert_allclose(difference_map(original / 255, adversarial / 255), difference, rtol=1e-6)


def test_difference_map_is_not_clipped_and_the_heatmap_has_a_fixed_range():
    black, white = np.zeros((4, 5, 3), np.uint8), np.full((4, 5, 3), 255, np.uint8)
    difference = difference_map(black, white)
    assert difference[0, 0] == pytest.approx(10 * 3**0.5)
    colors = matplotlib.colormaps[figures.COLOR_MAP]
    shown = heatmap(np.array([[0, 0.5, 1, 17.3]]))[0] / 255
    expected = [colors(0)[:3], colors(128)[:3], colors(255)[:3], colors(255)[:3]]
    np.testing.assert_allclose(shown, expected, atol=0.5 / 255)
    # The same value has the same color, whatever else is in the picture.
    np.testing.assert_array_equal(heatmap(np.array([[0.3]]))[0, 0], heatmap(np.array([[0.3, 5]]))[0, 0])


def test_the_color_map_gets_lighter_all_the_way():
    luminance = heatmap(np.linspace(0, 1, 64)[None])[0] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all()


@pytest.mark.parametrize("shapes", [((4, 5, 3), (5, 4, 3)), ((4, 5), (4, 5))])
def test_difference_map_wants_two_images_of_one_shape(shapes):
    with pytest.raises(ValueError):
        difference_map(*(np.zeros(shape, np.uint8) for shape in shapes))


def test_saved_heatmap_has_the_size_of_the_image(tmp_path):
    a, b = photo(20, 31), photo(20, 31, seed=1)
    save_heatmap(tmp_path / "h.png", a, b)
    with Image.open(tmp_path / "h.png") as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.array(image), heatmap(difference_map(a, b)))
    assert [p.name for p in tmp_path.iterdir()] == ["h.png"]


# Boxes on photos


def test_nothing_above_the_threshold_changes_nothing():
    pixels = photo(60, 80)
    for none in (found(), found((5, 5, 50, 50, 0.5, 1))):  # detected means above the threshold, not at it
        np.testing.assert_array_equal(draw_detections(pixels, none, NAMES, 0.5), pixels)
    assert (draw_detections(pixels, found((5, 5, 50, 50, 0.5, 1)), NAMES, 0.49) != pixels).any()


def test_boxes_are_drawn_where_they_are_in_the_color_of_the_class():
    pixels = np.full((200, 320, 3), 120, np.uint8)
    before = pixels.copy()
    drawn = draw_detections(pixels, found((30, 60, 250, 160, 0.9, 1)), NAMES)
    np.testing.assert_array_equal(pixels, before)
    color = np.rint(255 * np.array(class_color("car")))
    for row, column in ((60, 200), (160, 140), (100, 30), (100, 250), (160, 250)):
        block = drawn[row - 1 : row + 1, column - 1 : column + 1]
        assert np.abs(block - color).max() <= 2, (row, column)
    assert (drawn[70:150, 110:240] == 120).all()  # the object itself stays visible
    assert (drawn[170:] == 120).all()


def test_edges_between_pixels_are_smooth():
    pixels = np.zeros((100, 120, 3), np.uint8)
    sharp, soft = (draw_detections(pixels, found((20, 40, 90 + d, 80, 0.9, 1)), NAMES)[60, 85:96] for d in (0, 0.3))
    assert (sharp != soft).any()
    assert soft.astype(int).sum() == pytest.approx(sharp.astype(int).sum(), abs=12)


@pytest.mark.parametrize("size", [(1, 1), (8, 5), (32, 32), (900, 70)])
def test_boxes_beyond_the_picture_and_broken_ones(size):
    nan, inf = float("nan"), float("inf")
    detections = found(
        (-50, -50, 1000, 1000, 0.9, 0), (-9, -9, -1, -1, 1, 1), (2, 2, 2, 2, 0.9, 1), (nan, 0, 5, 5, 1, 2),
        (0, 0, inf, 4, 0.7, 2), (0.2, 0.2, 0.7, 0.7, 0.6, 1),
    )  # fmt: skip
    drawn = draw_detections(photo(*size), detections, NAMES, goal_box=(-3, 1, 2000, 4))
    assert drawn.shape == (*size, 3)


def test_the_goal_is_dashed():
    row = draw_detections(np.full((120, 300, 3), 120, np.uint8), found(), NAMES, goal_box=(20, 60, 280, 100))[
        60, 25:275
    ]
    white = (row > 250).all(axis=1)
    assert 0.4 < white.mean() < 0.8
    assert np.count_nonzero(np.diff(white.astype(int)) == 1) >= 8
    assert (row[~white] < 100).any()


def test_highlighted_classes_stand_out():
    pixels = np.full((200, 320, 3), 120, np.uint8)
    both = found((10, 40, 100, 90, 0.99, 0), (150, 120, 300, 180, 0.6, 1))
    drawn = draw_detections(pixels, both, NAMES, highlight={1})
    all_strong = draw_detections(pixels, both, NAMES)
    person, car = np.s_[:110, :130], np.s_[95:, 130:]
    np.testing.assert_array_equal(drawn[car], all_strong[car])
    changed = np.count_nonzero((drawn[person] != 120).any(axis=2))
    assert 0 < changed < 0.6 * np.count_nonzero((all_strong[person] != 120).any(axis=2))


boxes = st.lists(
    st.tuples(
        st.floats(-50, 400),
        st.floats(-50, 300),
        st.floats(0.1, 300),
        st.floats(0.1, 200),
        st.integers(51, 100),
    ),
    max_size=30,
)


@settings(max_examples=50, deadline=None)
@given(boxes, st.sampled_from([(480, 320), (120, 600), (40, 40)]))
def test_labels_stay_in_the_picture_and_off_each_other(rows, size):
    detections = found(*((x, y, x + w, y + h, s / 100, s % 3) for x, y, w, h, s in rows))
    marks = figures._marks(detections, NAMES, 0.5, None, *size, 11.0)
    tags = [mark.tag for mark in marks if mark.tag is not None]
    for i, tag in enumerate(tags):
        assert -1e-6 <= tag[0] < tag[2] <= size[0] + 1e-6
        assert -1e-6 <= tag[1] < tag[3] <= size[1] + 1e-6
        for other in tags[i + 1 :]:
            area = max((t[2] - t[0]) * (t[3] - t[1]) for t in (tag, other))
            assert figures._overlap(tag, other) <= 0.051 * area
    if marks and size == (480, 320):
        assert marks[-1].tag is not None  # the strongest chooses first


def test_in_a_crowd_labels_are_left_out_rather_than_piled_up():
    crowd = found(*((20 + 3 * i, 30 + 2 * i, 60 + 3 * i, 60 + 2 * i, 0.99 - i / 100, i % 3) for i in range(40)))
    marks = figures._marks(crowd, NAMES, 0.5, None, 240, 180, 11.0)
    tags = [mark.tag for mark in marks if mark.tag is not None]
    assert len(marks) == 40
    assert 8 <= len(tags) < 40
    for i, tag in enumerate(tags):
        for other in tags[i + 1 :]:
            area = max((t[2] - t[0]) * (t[3] - t[1]) for t in (tag, other))
            assert figures._overlap(tag, other) <= 0.051 * area


def test_a_label_sits_on_its_box():
    (mark,) = figures._marks(found((100, 100, 300, 200, 0.9, 1)), NAMES, 0.5, None, 480, 320, 11.0)
    assert mark.text == "car 0.90"
    assert mark.tag[3] == pytest.approx(99)  # above, on the outer edge of the two pixels of the line
    assert mark.tag[0] == pytest.approx(99)
    (top,) = figures._marks(found((100, 0, 300, 200, 0.9, 1)), NAMES, 0.5, None, 480, 320, 11.0)
    assert top.tag[1] == 0


def test_class_colors_are_fixed_and_apart():
    assert class_color("car") == pytest.approx((0xE6 / 255, 0x55 / 255, 0x0D / 255))
    assert class_color("zebra") == class_color("zebra") != class_color("giraffe")
    assert len({class_color(name) for name in ("car", "person", "truck", "bus", "dog", "cat", "bird")}) == 7
    assert all(0 <= c <= 1 for name in ("zebra", "", "été") for c in class_color(name))


# Figures


def figure(tmp_path, height=40, width=60, name="f.png", **options):
    a, b = photo(height, width), photo(height, width, seed=1)
    side_by_side(tmp_path / name, a, found(), b, found(), NAMES, **options)
    return a, b, tmp_path / name


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (30, 100)])
def test_panels_show_every_pixel_of_a_small_image(tmp_path, size):
    a, b, path = figure(tmp_path, *size)
    with Image.open(path) as image:
        page = np.array(image.convert("RGB"))
    sheet = figures.Sheet(size[1], size[0], 3, "")
    zoom = sheet._panel[0] // size[1]
    assert sheet._panel == (zoom * size[1], zoom * size[0])
    for picture in (a, b, heatmap(difference_map(a, b))):
        axes = sheet.panel("", "")
        left, bottom = (axes.get_position().extents[:2] * (sheet._width, sheet._height)).round().astype(int)
        top = sheet._height - bottom - sheet._panel[1]
        shown = page[top : top + sheet._panel[1], left : left + sheet._panel[0]]
        np.testing.assert_array_equal(shown, picture.repeat(zoom, axis=0).repeat(zoom, axis=1))


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (320, 480), (640, 300), (2000, 100), (100, 2000), (3000, 4000)])
def test_everything_lies_inside_the_figure_and_panels_are_equal(size):
    sheet = figures.Sheet(size[1], size[0], 3, caption_of("inject:car@center", "success", 12, 0.5, 50.0) * 3)
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
    sheet = figures.Sheet(size[1], size[0], 2, "", bar=False)
    panels = [sheet.panel("JND", "") for _ in range(2)]
    renderer = sheet.figure.canvas.get_renderer()
    left, right = panels[0].get_window_extent(renderer).x0, panels[1].get_window_extent(renderer).x1
    assert left == pytest.approx(sheet.figure.bbox.width - right, abs=1)


def test_a_long_subtitle_stays_at_its_panel():
    sheet = figures.Sheet(100, 160, 3, "", bar=False)
    panels = [sheet.panel("JND", "no detections above 0.5, failure, K = 123, L2 = 0.123, and more") for _ in range(3)]
    renderer = sheet.figure.canvas.get_renderer()
    subtitles = [text.get_window_extent(renderer) for text in sheet.figure.texts if "above" in text.get_text()]
    starts = [axes.get_window_extent(renderer).x0 for axes in panels[1:]] + [sheet.figure.bbox.width]
    assert all(text.x1 < start for text, start in zip(subtitles, starts, strict=True))


def test_boxes_are_in_the_panel_they_belong_to(tmp_path):
    a = np.full((80, 120, 3), 128, np.uint8)
    clean = found((20, 20, 100, 60, 0.9, 1))
    side_by_side(tmp_path / "a.png", a, clean, a, found(), NAMES)
    with Image.open(tmp_path / "a.png") as image:
        page = np.array(image.convert("RGB")).astype(int)
    color = np.rint(255 * np.array(class_color("car")))
    columns = np.nonzero((np.abs(page - color).max(axis=2) < 12).any(axis=0))[0]
    assert columns.size
    assert columns.max() < page.shape[1] / 3


def test_the_same_figure_has_the_same_bytes_as_png_and_as_pdf(tmp_path):
    options = {"caption": "costs $5 and 10% of_it {x} \\alpha", "goal_box": (5, 5, 30, 30)}
    for suffix, magic in (("png", b"\x89PNG"), ("PDF", b"%PDF")):
        first, second = (figure(tmp_path, name=f"{n}.{suffix}", **options)[2].read_bytes() for n in "ab")
        assert first == second
        assert first.startswith(magic)


def test_another_extension_is_bad_input(tmp_path):
    with pytest.raises(InputError, match=r"\.png or \.pdf"):
        figure(tmp_path, name="f.jpg")
    assert not list(tmp_path.iterdir())


def test_images_of_two_shapes_are_refused(tmp_path):
    with pytest.raises(ValueError):
        side_by_side(tmp_path / "f.png", photo(40, 60), found(), photo(60, 40), found(), NAMES)


def test_heatmap_figure(tmp_path):
    heatmap_figure(tmp_path / "h.png", photo(40, 60), photo(40, 60, seed=1), "a caption")
    with Image.open(io.BytesIO((tmp_path / "h.png").read_bytes())) as image:
        assert image.width > 60
        assert image.width / image.height < 2


def test_drawing_leaves_no_global_state(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would raise
    before = matplotlib.rcParams.copy()
    heatmap_figure(tmp_path / "h.pdf", photo(9, 9), photo(9, 9, seed=1))
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
