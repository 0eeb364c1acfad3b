"""Data sets of files and folders, and the parts of a data set."""

import numpy as np
import pytest
from PIL import Image

from detattack.core.errors import InputError
from detattack.datasets.base import OriginalIds, folder_dataset, image_files, parse_json, unique_stems
from detattack.datasets.source import DatasetSource
from tests.toy_pictures import write_left


def test_a_plain_folder(tmp_path):
    for name in ("b.png", "sub/a.JPG", "sub/b.png", ".hidden.png", ".git/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "broken.png").write_text("no image either")
    found = folder_dataset(tmp_path)
    assert [s.stem for s in found.samples] == ["b-1", "broken", "a", "b-4"]
    assert [s.size for s in found.samples] == [(6, 4), (0, 0), (6, 4), (6, 4)]
    assert found.fingerprint == folder_dataset(tmp_path).fingerprint


def test_a_folder_without_an_image(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match="no image in this folder"):
        folder_dataset(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        folder_dataset(tmp_path / "notes.txt")


@pytest.mark.parametrize("stem", ["", ".", "..", "a/b", "a\\b", "a\0", "\ud800", "a" * 201, "é" * 101])
def test_a_stem_that_no_file_can_have_everywhere_gives_way_to_the_id(stem):
    assert unique_stems(["a", stem], [1, 2]) == ["a", "image-2"]


def test_stems_stay_apart_also_from_those_that_were_made():
    assert unique_stems(["a", "A", "a-2", "b"], [1, 2, 3, 4]) == ["a-1", "A-2-2", "a-2-3", "b"]


def test_files_are_read_at_once_and_told_apart_by_their_pixels(tmp_path):
    folder = write_left(tmp_path / "a", 3)
    paths = sorted(folder.rglob("*.png"))
    found = image_files(paths)
    assert [sample.source for sample in found.samples] == [str(path) for path in paths]
    assert found.source == DatasetSource(files=tuple(str(path) for path in paths))
    assert found.fingerprint == image_files(paths).fingerprint != image_files(paths[::-1]).fingerprint
    with pytest.raises(InputError, match="no such file"):
        image_files([*paths, tmp_path / "gone.png"])


def test_a_part_is_named_in_the_fingerprint_and_opened_by_the_source(tmp_path):
    whole = folder_dataset(write_left(tmp_path / "a", 4))
    assert whole.first(None) is whole.first(4) is whole.after(0) is whole
    part = whole.after(1).first(2)
    assert [sample.id for sample in part.samples] == [2, 3]
    assert part.fingerprint == f"{whole.fingerprint}:after 1:first 2"
    assert (part.source.skip, part.source.limit) == (1, 2)
    with pytest.raises(InputError, match="--skip 4: the data set has 4 images"):
        whole.after(4)


def test_ids_of_the_file_are_restored():
    ids = OriginalIds({1: "a"}, {2: "car"})
    assert ids.restored({"image_id": 1, "category_id": 2, "score": 1}) == {
        "image_id": "a",
        "category_id": "car",
        "score": 1,
    }
    assert ids.restored({"image_id": 5, "category_id": 6}) == {"image_id": 5, "category_id": 6}


def test_json_with_a_byte_order_mark_and_what_is_no_text():
    assert parse_json(b"\xef\xbb\xbf[1]", "labels a") == [1]
    with pytest.raises(InputError, match=r"labels a: not UTF-8 text \(byte 1\)"):
        parse_json(b"[\xff]", "labels a")
