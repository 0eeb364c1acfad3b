"""Images matched by name and measured against each other."""

import math
from statistics import fmean

import numpy as np
import pytest

from detattack.core.errors import InputError
from detattack.datasets.image_io import write_png
from detattack.metrics.image_pairs import average_quality, match_images, measure_pair, measure_pairs

RNG = np.random.default_rng(0)


@pytest.fixture
def folders(tmp_path):
    """Two folders: `same` is in both, `other` changed, `small` of another size, `a` and `b` on one side alone."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    pixels = RNG.integers(0, 256, (8, 9, 3), np.uint8)
    for folder, names in (("first", ("same", "other", "small", "a")), ("second", ("same", "b"))):
        for name in names:
            write_png(tmp_path / folder / f"{name}.png", pixels)
    write_png(tmp_path / "second" / "other.png", 255 - pixels)
    write_png(tmp_path / "second" / "small.png", pixels[:4])
    return tmp_path / "first", tmp_path / "second"


def test_folders_are_matched_by_name(folders):
    found = match_images(*folders)
    assert [pair.name for pair in found.pairs] == ["other.png", "same.png", "small.png"]
    assert (found.only_first, found.only_second) == (("a.png",), ("b.png",))


def test_two_files_are_a_pair_whatever_their_names(folders):
    (pair,) = match_images(folders[0] / "a.png", folders[1] / "b.png").pairs
    assert measure_pair(pair, ["l2", "psnr"]).quality == {"l2": 0.0, "psnr": math.inf}


def test_a_file_and_a_folder_or_a_missing_path_are_refused(folders):
    with pytest.raises(InputError, match="is a folder and .* is not"):
        match_images(folders[0], folders[1] / "b.png")
    with pytest.raises(InputError, match="no such file or folder"):
        match_images(folders[0], folders[1] / "gone")


def test_what_cannot_be_measured_has_a_reason_and_no_part_in_the_mean(folders):
    other, same, small = measure_pairs(match_images(*folders).pairs, ["linf"])
    assert (same.quality, small.quality) == ({"linf": 0.0}, None)
    assert "images of different sizes, 9×8 and 9×4" in small.reason
    mean = average_quality([other, same, small], fmean)
    assert mean == {"linf": pytest.approx(other.quality["linf"] / 2)}
    assert average_quality([small], fmean) == {}
