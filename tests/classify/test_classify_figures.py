"""The figure of one attacked image."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from classify.figure import fitted, panel_size, write_attack_figure
from classify.methods import PRESETS
from classify.record import ClassificationRecord
from classify.task import CLASSIFICATION
from detattack.core.errors import InputError
from detattack.datasets.base import Picture
from detattack.engine.config import resolve_attack
from detattack.runs.record import Outcome
from detattack.tasks.attack_batch import attack_batch
from tests.toy_classifier import NAMES, Channels


def attacked(height: int = 12, width: int = 12, method: str = "jnd", floats: bool = False) -> Outcome:
    """A red image, attacked."""
    pixels = np.random.default_rng(0).integers(60, 140, (height, width, 3)).astype(np.uint8)
    pixels[..., 0] += 40
    config = CLASSIFICATION.make_config(attack=resolve_attack(method, floats, presets=PRESETS))
    record = ClassificationRecord(1, "image", "image", status="")
    (outcome,) = attack_batch(CLASSIFICATION, config, {1: 0}, None, Channels("cpu"), [(record, Picture(pixels))])
    assert outcome.record.status == ("failure" if method == "noise" else "success")
    return outcome


def drawn(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


@pytest.mark.parametrize("size", [(12, 12), (32, 32), (24, 60), (90, 30), (700, 500), (1, 1)])
def test_panels_keep_the_shape_and_enlarge_by_whole_pixels(size):
    width, height = panel_size(np.zeros((*size, 3), np.uint8))
    assert 250 <= max(width, height) <= 700
    assert width / height == pytest.approx(size[1] / size[0], rel=0.01)
    if max(size) <= 280:
        assert width % size[1] == height % size[0] == 0


def test_small_images_are_enlarged_without_blur():
    pixels = np.random.default_rng(0).integers(0, 255, (4, 4, 3)).astype(np.uint8)
    large = fitted(pixels, (40, 40))
    np.testing.assert_array_equal(large[::10, ::10], pixels)
    assert len(np.unique(large.reshape(-1, 3), axis=0)) == 16


@pytest.mark.parametrize("size", [(12, 12), (20, 48), (60, 20)])
def test_the_figure_shows_both_images_pixel_by_pixel(tmp_path, size):
    outcome = attacked(*size, method="fgsm")
    write_attack_figure(tmp_path / "figure.png", outcome, NAMES)
    colors = {tuple(color) for color in drawn(tmp_path / "figure.png").reshape(-1, 3).tolist()}
    assert outcome.original is not None
    assert outcome.pixels is not None
    for pixels in (outcome.original, outcome.pixels):
        assert {tuple(color) for color in pixels.reshape(-1, 3).tolist()} <= colors
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


def test_the_same_attack_is_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        write_attack_figure(tmp_path / name, attacked(floats=True), NAMES)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_what_is_known_of_the_file_is_said_of_floats(tmp_path):
    outcome = attacked(floats=True)
    for name, survives in (("yes", True), ("no", False)):
        told = replace(outcome, record=replace(outcome.record, file_success=survives))
        write_attack_figure(tmp_path / f"{name}.png", told, NAMES)
    assert (drawn(tmp_path / "yes.png") != drawn(tmp_path / "no.png")).any()


def test_failures_names_without_end_and_pdf(tmp_path):
    long = tuple(f"{name}, which is also known by $many$ other_names" for name in NAMES)
    write_attack_figure(tmp_path / "figure.pdf", attacked(method="noise"), long)
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(InputError, match="png or .pdf"):
        write_attack_figure(tmp_path / "figure.jpg", attacked(), NAMES)


def test_a_long_headline_stays_in_the_figure(tmp_path):
    outcome = attacked()
    outcome = replace(outcome, record=replace(outcome.record, stem=60 * "name"))
    write_attack_figure(tmp_path / "figure.png", outcome, [f"{name}, {9 * 'another name, '}" for name in NAMES])
    head = drawn(tmp_path / "figure.png")[:56]
    assert (head < 128).any()
    assert (head[:, -30:] == 255).all(), "the words end at the margin"


def test_no_figure_of_what_could_not_be_read_and_one_of_what_the_model_failed_on(tmp_path):
    record = ClassificationRecord(1, "image", "image", status="error", reason="broken")
    write_attack_figure(tmp_path / "unread.png", Outcome(record), NAMES)
    assert not (tmp_path / "unread.png").exists()
    pixels = np.zeros((12, 12, 3), np.uint8)
    write_attack_figure(tmp_path / "failed.png", Outcome(record, pixels, b"", pixels), NAMES)
    assert (tmp_path / "failed.png").is_file()


def test_drawing_leaves_the_images_alone(tmp_path):
    outcome = attacked(floats=True)
    before = [outcome.original.copy(), outcome.floats.copy()]
    write_attack_figure(tmp_path / "figure.png", outcome, NAMES)
    for was, now in zip(before, (outcome.original, outcome.floats), strict=True):
        np.testing.assert_array_equal(was, now)
    assert torch.get_default_dtype() == torch.float32
