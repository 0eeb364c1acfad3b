"""COCO files as they are published, as others write them, and as they should not be."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from detattack.coco_data import category_ids, classes_not_counted, coco_dataset
from detattack.datasets import folder_dataset, unique_stems
from detattack.errors import InputError
from detattack.types import Category

RLE = {"size": [4, 6], "counts": [3, 2, 19]}
POLYGON = [[0.0, 0.0, 3.0, 0.0, 3.0, 3.0]]


def content(**changes):
    """A small data set: two images, a gap in the category ids, a crowd, a polygon, an image without annotations."""
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 6, "height": 4},
            {"id": 3, "file_name": "sub/a.png", "width": 6, "height": 4},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 0, 3, 3], "area": 4.5, "segmentation": POLYGON}
            | {"iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 90, "bbox": [1, 1, 2, 2], "area": 4, "segmentation": RLE}
            | {"iscrowd": 1},
        ],
        "categories": [{"id": 3, "name": "car"}, {"id": 90, "name": "toothbrush"}],
    } | changes


@pytest.fixture
def data(tmp_path):
    """Writes images and `instances.json` and reads them as a data set; `text` instead of `content` is written as is."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/a.png"):
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(folder / name)

    def read(written=None, text=None):
        path = tmp_path / "instances.json"
        path.write_text(text if text is not None else json.dumps(written or content()))
        return coco_dataset(folder, path)

    read.folder = folder
    return read


def test_a_data_set_as_it_is_written(data):
    found = data()
    assert [(s.id, s.stem, s.size) for s in found.samples] == [(7, "a-7", (6, 4)), (3, "a-3", (6, 4))]
    assert [a["segmentation"] for a in found.annotations] == [POLYGON, RLE]
    assert [a["iscrowd"] for a in found.annotations] == [0, 1]
    assert found.samples[1].load().pixels.shape == (4, 6, 3)
    assert found.notes == ()


def test_what_others_leave_out_is_filled_in(data):
    written = content()
    written["annotations"] = [{"id": 0, "image_id": 7, "category_id": 3, "bbox": [0, 0, 3, 2]}]
    written["images"][0] = {"id": 7, "file_name": "a.png"}
    found = data(written)
    assert (found.annotations[0]["area"], found.annotations[0]["iscrowd"]) == (6, 0)
    assert found.samples[0].size == (6, 4)


def test_boxes_without_area_are_kept_and_said_once(data):
    written = content()
    written["annotations"][0]["bbox"] = written["annotations"][1]["bbox"] = [1, 1, 0, 5]
    found = data(written)
    assert len(found.annotations) == 2
    assert len(found.notes) == 1
    assert "2 annotations" in found.notes[0]


def test_a_gray_image_and_one_that_is_missing_are_no_errors_of_the_file(data):
    Image.fromarray(np.full((4, 6), 9, np.uint8)).save(data.folder / "a.png")
    (data.folder / "sub/a.png").write_text("no image")
    gray, damaged = data().samples
    assert gray.load().pixels.shape == (4, 6, 3)
    with pytest.raises(InputError, match="not an image"):
        damaged.load()
    (data.folder / "sub/a.png").unlink()
    with pytest.raises(InputError, match="no such file"):
        data().samples[1].load()


def test_the_fingerprint_is_of_annotations_names_and_sizes(data):
    before = data().fingerprint
    assert data().fingerprint == before
    assert data(content(info={"year": 2017})).fingerprint != before
    (data.folder / "a.png").write_bytes((data.folder / "a.png").read_bytes() + b"!")
    assert data().fingerprint != before


def test_the_first_images_and_what_belongs_to_them(data):
    found = data()
    assert [s.id for s in found.first(1).samples] == [7]
    assert len(found.first(1).annotations) == 2
    assert found.first(1).fingerprint != found.fingerprint
    assert found.first(2) is found


def changed(kind, number, **values):
    written = content()
    written[kind][number] |= values
    return written


def without(kind, number, key):
    written = content()
    del written[kind][number][key]
    return written


BAD = {
    "annotation of an unknown image": (changed("annotations", 0, image_id=5), "annotation 1: image_id 5 is not in"),
    "annotation of an unknown category": (changed("annotations", 1, category_id=5), "annotation 2: category_id 5"),
    "image twice": (changed("images", 1, id=7), "image id 7 occurs twice"),
    "annotation twice": (changed("annotations", 1, id=1), "annotation id 1 occurs twice"),
    "category twice": (changed("categories", 1, id=3), "category id 3 occurs twice"),
    "name twice": (changed("categories", 1, name="car"), "'car' is taken"),
    "absolute name": (changed("images", 0, file_name="/etc/passwd"), "leaves the folder"),
    "name upwards": (changed("images", 0, file_name="sub/../../x.png"), "leaves the folder"),
    "no name": (changed("images", 0, file_name=""), "names no file"),
    "null byte": (changed("images", 0, file_name="a\0b.png"), "names no file"),
    "NaN": (changed("annotations", 0, bbox=[0, float("nan"), 1, 1]), "annotation 1: bbox [0, nan, 1, 1] has a number"),
    "infinity": (changed("annotations", 0, bbox=[0, 0, float("inf"), 1]), "not finite"),
    "negative size": (changed("annotations", 1, bbox=[5, 5, -1, 2]), "annotation 2: bbox [5, 5, -1, 2] has a negative"),
    "three numbers": (changed("annotations", 0, bbox=[1, 2, 3]), "not four numbers"),
    "text in a box": (changed("annotations", 0, bbox=[1, 2, 3, "4"]), "not four numbers"),
    "text for an id": (changed("images", 0, id="7"), "image number 1: id is '7', not an integer"),
    "bool for an id": (changed("images", 0, id=True), "not an integer"),
    "negative id": (changed("images", 0, id=-7), "out of range"),
    "number for a name": (changed("categories", 0, name=3), "category 3: name is 3, not a text"),
    "no bbox": (without("annotations", 0, "bbox"), "annotation 1: has no 'bbox'"),
    "no file_name": (without("images", 1, "file_name"), "image 3: has no 'file_name'"),
    "no image_id": (without("annotations", 1, "image_id"), "annotation 2: has no 'image_id'"),
    "no categories": ({k: v for k, v in content().items() if k != "categories"}, "has no 'categories'"),
    "no image": (content(images=[], annotations=[]), "has no image"),
    "no list": (content(images={}), "'images' is not a list"),
    "no object": (content(images=[3]), "image number 1: not an object"),
    "width of zero": (changed("images", 0, width=0), "width is 0"),
    "crowd of two": (changed("annotations", 0, iscrowd=2), "iscrowd is 2"),
    "NaN that nobody asked for": (
        changed("annotations", 0, score=float("nan")),
        "annotation 1: holds a number that is",
    ),
    "infinity in a polygon": (
        changed("annotations", 0, segmentation=[[1e400]]),
        "annotation 1: holds a number that is",
    ),
    "NaN of a category": (
        changed("categories", 0, weight=float("nan")),
        "category 3: holds a number that is not finite",
    ),
    "a name that is no text": (changed("images", 0, file_name="\ud800.png"), "names no file (UnicodeEncodeError)"),
    "a name of 300 letters": (changed("images", 0, file_name="a" * 300), "names no file (OSError)"),
    "area that is none": (changed("annotations", 0, area="big"), "area is 'big'"),
}


@pytest.mark.parametrize(("written", "words"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_said_in_one_line(data, written, words):
    with pytest.raises(InputError) as error:
        data(written)
    assert words in str(error.value)
    assert "instances.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_broken_json_names_line_and_column(data):
    with pytest.raises(InputError, match=r"broken JSON at line 3, column 1 "):
        data(text='{"images": [],\n "annotations": []\n')
    with pytest.raises(InputError, match="holds a list"):
        data(text="[]")
    with pytest.raises(InputError, match="nested too deeply"):
        data(text="[" * 100_000)
    with pytest.raises(InputError, match="Exceeds the limit"):
        data(text='{"images": [{"id": ' + "9" * 5000 + "}]}")


def test_a_link_out_of_the_folder_is_refused(data, tmp_path):
    secret = tmp_path / "secret.png"
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(secret)
    os.symlink(secret, data.folder / "link.png")
    with pytest.raises(InputError, match="leaves the folder"):
        data(changed("images", 0, file_name="link.png"))
    os.symlink(data.folder / "a.png", data.folder / "inner.png")
    assert data(changed("images", 0, file_name="inner.png")).samples[0].load().pixels.shape == (4, 6, 3)


def test_missing_folder_and_file(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        coco_dataset(tmp_path / "nowhere", tmp_path / "x.json")
    with pytest.raises(InputError, match="x.json: cannot be read"):
        coco_dataset(tmp_path, tmp_path / "x.json")


def test_categories_are_matched_by_name():
    detector = (Category("person", 1), Category("car", 3), Category("dog", 18))
    assert category_ids(detector, [{"id": 5, "name": "car"}, {"id": 0, "name": "person"}]) == {0: 0, 1: 5}
    assert category_ids(detector, [{"id": 5, "name": " Car "}]) == {1: 5}
    assert category_ids(detector, [{"id": 5, "name": "Car"}, {"id": 6, "name": "CAR"}]) == {}
    assert category_ids(detector, [{"id": 5, "name": "Car"}, {"id": 6, "name": "car"}]) == {1: 6}
    assert category_ids(detector, []) == {0: 1, 1: 3, 2: 18}


def test_annotated_classes_that_are_not_counted_are_named_with_a_reason():
    detector = (Category("person", 1), Category("car", 3))
    names = ("person", "Car", "CAR", "kite", "dog")
    categories = [{"id": i, "name": name} for i, name in enumerate(names)]
    annotations = [{"category_id": i} for i in (0, 1, 2, 3, 3)]  # no dog
    found = classes_not_counted(detector, categories, annotations)
    assert {name: reason.split()[0] for name, reason in found.items()} == {"Car": "not", "CAR": "not", "kite": "no"}
    assert classes_not_counted(detector, [], []) == {}


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
