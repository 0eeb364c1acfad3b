"""The figure of one attacked image."""

import numpy as np
import pytest
from PIL import Image

from detattack.report.colors import class_color
from detattack.runs.record import Outcome
from detattack.tasks.detection.figure import write_attack_figure
from detattack.tasks.detection.record import DetectionRecord
from tests.tasks.detection.drawn import NAMES, drawn, found
from tests.toy_pictures import photo

CAR = np.rint(255 * np.array(class_color("car")))


def page_of(path, outcome: Outcome) -> np.ndarray:
    write_attack_figure(path, outcome, NAMES, 0.5)
    with Image.open(path) as image:
        return np.array(image.convert("RGB")).astype(int)


def columns_of(page: np.ndarray, color: np.ndarray) -> np.ndarray:
    return np.nonzero((np.abs(page - color).max(axis=2) < 12).any(axis=0))[0]


def test_boxes_are_in_the_panel_they_belong_to(tmp_path):
    a = np.full((80, 120, 3), 128, np.uint8)
    page = page_of(tmp_path / "a.png", drawn(a, a, found((20, 20, 100, 60, 0.9, 1)), found()))
    columns = columns_of(page, CAR)
    assert columns.size
    assert columns.max() < page.shape[1] / 3


def test_what_the_goal_is_not_about_is_thin(tmp_path):
    a = np.full((200, 320, 3), 128, np.uint8)
    areas = []
    for goal in ("suppress:car", "suppress:person"):
        page = page_of(tmp_path / "a.png", drawn(a, a, found((150, 120, 300, 180, 0.6, 1)), found(), goal=goal))
        areas.append(np.count_nonzero(np.abs(page - CAR).max(axis=2) < 12))
    assert 0 <= areas[1] < 0.3 * areas[0]


def test_the_box_asked_for_is_dashed(tmp_path):
    a = np.full((120, 300, 3), 120, np.uint8)
    boxes = (None, (20.0, 60.0, 280.0, 100.0))
    without, asked = (page_of(tmp_path / "a.png", drawn(a, a, found(), found(), box=box)) for box in boxes)
    white = (asked > 200).all(axis=2) & (without < 200).any(axis=2)
    dark = (asked < 100).all(axis=2) & (without > 100).any(axis=2)
    dashes = np.count_nonzero(np.diff(white.astype(int), axis=1) == 1, axis=1)
    assert dashes.max() >= 8
    assert dark[dashes.argmax()].any()  # on a dark line, to be seen on any picture


def test_the_same_figure_has_the_same_bytes_as_png_and_as_pdf(tmp_path):
    outcome = drawn(
        photo(40, 60), photo(40, 60, seed=1), found(), found(), goal="suppress:car", box=(5.0, 5.0, 30.0, 30.0)
    )
    for suffix, magic in (("png", b"\x89PNG"), ("PDF", b"%PDF")):
        paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
        for path in paths:
            write_attack_figure(path, outcome, NAMES, 0.5)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        assert paths[0].read_bytes().startswith(magic)


def test_images_of_two_shapes_are_refused(tmp_path):
    with pytest.raises(ValueError):
        write_attack_figure(tmp_path / "f.png", drawn(photo(40, 60), photo(60, 40), found(), found()), NAMES, 0.5)


def test_an_image_that_could_not_be_read_has_no_figure(tmp_path):
    write_attack_figure(tmp_path / "f.png", Outcome(DetectionRecord(1, "a", "a.png", "error")), NAMES, 0.5)
    assert not list(tmp_path.iterdir())
