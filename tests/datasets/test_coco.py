"""COCO files as they are published, as others write them, and as they should not be."""

import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask

from detattack.core.errors import InputError
from detattack.core.types import Category
from detattack.datasets.base import folder_dataset
from detattack.datasets.coco import category_ids, classes_not_counted, coco_dataset
from detattack.datasets.image_names import LINKS
from detattack.datasets.open import open_dataset
from detattack.datasets.source import DatasetSource

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

    def read(written=None, text=None, **options):
        path = tmp_path / "instances.json"
        path.write_text(text if text is not None else json.dumps(written or content()))
        return coco_dataset(folder, path, **options)

    read.folder = folder
    return read


def test_a_data_set_as_it_is_written(data):
    found = data()
    assert [(s.id, s.stem, s.size) for s in found.samples] == [(7, "a-7", (6, 4)), (3, "a-3", (6, 4))]
    assert [a["segmentation"] for a in found.annotations] == [POLYGON, RLE]
    assert [a["iscrowd"] for a in found.annotations] == [0, 1]
    assert found.samples[1].load().pixels.shape == (4, 6, 3)
    assert found.notes == ()


def test_a_file_as_roboflow_writes_it_is_found(data):
    (data.folder / "_annotations.coco.json").write_text(json.dumps(content()))
    found = open_dataset(DatasetSource(images=str(data.folder)))
    assert len(found.annotations) == 2
    assert open_dataset(found.source).fingerprint == found.fingerprint
    assert len(open_dataset(DatasetSource(images=str(data.folder), format="coco")).annotations) == 2


def test_a_coco_data_set_that_is_called_one(data):
    data()
    source = DatasetSource(images=str(data.folder), format="coco")
    with pytest.raises(InputError, match="COCO's annotations are a file; --annotations names it"):
        open_dataset(source)
    found = open_dataset(replace(source, annotations=str(data.folder.parent / "instances.json")))
    assert (found.source.format, len(found.annotations)) == ("coco", 2)
    assert open_dataset(found.source).fingerprint == found.fingerprint


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


def test_a_gray_image_and_a_damaged_one_are_no_errors_of_the_file(data):
    Image.fromarray(np.full((4, 6), 9, np.uint8)).save(data.folder / "a.png")
    (data.folder / "sub/a.png").write_text("no image")
    gray, damaged = data().samples
    assert gray.load().pixels.shape == (4, 6, 3)
    with pytest.raises(InputError, match="not an image"):
        damaged.load()


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
    "image twice": (changed("images", 1, id=7), "image id 7 occurs twice"),
    "category twice": (changed("categories", 1, id=3), "category id 3 occurs twice"),
    "absolute name": (changed("images", 0, file_name="/etc/passwd"), "leaves the folder"),
    "name upwards": (changed("images", 0, file_name="sub/../../x.png"), "leaves the folder"),
    "no name": (changed("images", 0, file_name=""), "names no file"),
    "null byte": (changed("images", 0, file_name="a\0b.png"), "names no file"),
    "fraction for an id": (changed("images", 0, id=7.5), "image number 1: id is 7.5, not an integer"),
    "nothing for a name": (changed("categories", 0, name=None), "category 3: name is None, not a text"),
    "number for a file name": (changed("images", 0, file_name=7), "image 7: file_name is 7, not a text"),
    "segment that is none": (content(annotations=[{"image_id": 7, "segments_info": [3]}]), "number 1: not an object"),
    "no annotation that can be used": (
        content(annotations=[{"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3]}]),
        "of its 1 annotation none is left: 1 annotation with a box that cannot be (the first: annotation 1); left out",
    ),
    "bool for an id": (changed("images", 0, id=True), "not an integer"),
    "negative id": (changed("images", 0, id=-7), "out of range"),
    "no file_name": (without("images", 1, "file_name"), "image 3: has no 'file_name'"),
    "no categories": ({k: v for k, v in content().items() if k != "categories"}, "has no 'categories'"),
    "no image": (content(images=[], annotations=[]), "has no image"),
    "no list": (content(images={}), "'images' is not a list"),
    "no object": (content(images=[3]), "image number 1: not an object"),
    "crowd of two": (changed("annotations", 0, iscrowd=2), "iscrowd is 2"),
    "a name that is no text": (changed("images", 0, file_name="\ud800.png"), "names no file (UnicodeEncodeError)"),
    "a name of 300 letters": (changed("images", 0, file_name="a" * 300), "names no file (OSError)"),
}


@pytest.mark.parametrize(("written", "words"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_said_in_one_line(data, written, words):
    with pytest.raises(InputError) as error:
        data(written)
    assert words in str(error.value)
    assert "instances.json" in str(error.value)
    assert "\n" not in str(error.value)


MENDED = {
    "annotation of an unknown image": (
        changed("annotations", 0, image_id=5),
        "1 annotation of an image that the file does not have (the first: annotation 1); left out",
    ),
    "annotation of no image": (without("annotations", 1, "image_id"), "1 annotation of an image that the file does"),
    "annotation of an unknown category": (
        changed("annotations", 1, category_id=5),
        "1 annotation of a category that the file does not have (the first: annotation 2); left out",
    ),
    "NaN": (changed("annotations", 1, bbox=[0, float("nan"), 1, 1], segmentation=[]), "1 annotation with a box that"),
    "infinity": (changed("annotations", 1, bbox=[0, 0, 1e400, 1], segmentation=[]), "(the first: annotation 2); left"),
    "hundreds of digits": (
        changed("annotations", 1, bbox=[0, 10**400, 1, 1], segmentation=[]),
        "with a box that cannot",
    ),
    "negative size": (changed("annotations", 1, bbox=[5, 3, -1, 2], segmentation=None), "with a box that cannot be"),
    "three numbers": (changed("annotations", 1, bbox=[1, 2, 3], segmentation=[[1]]), "with a box that cannot be"),
    "no box": (changed("annotations", 1, bbox=None, segmentation=[]), "1 annotation without a box (the first: "),
    "empty box": (changed("annotations", 1, bbox=[], segmentation={"size": [0, 0], "counts": [1]}), "without a box"),
    "a box on the right of the image": (
        changed("annotations", 1, bbox=[6, 0, 2, 2]),
        "1 annotation outside of its image (the first: annotation 2); left out",
    ),
    "a box on the left of the image": (changed("annotations", 1, bbox=[-3, 0, 3, 2]), "outside of its image"),
}


@pytest.mark.parametrize(("written", "words"), MENDED.values(), ids=MENDED)
def test_an_annotation_that_cannot_be_used_is_left_out_and_said(data, written, words):
    found = data(written)
    (note,) = found.notes
    assert words in note
    assert len(found.annotations) == 1
    assert len(found.samples) == 2


def test_what_is_mended_is_said_once_with_a_count(data):
    written = content()
    written["annotations"] = [written["annotations"][0] | {"id": i, "image_id": 5} for i in range(3, 9)]
    written["annotations"] += content()["annotations"]
    assert data(written).notes == (
        "6 annotations of an image that the file does not have (the first: annotation 3); left out",
    )


def test_annotations_get_ids_of_their_own(data):
    one = {"image_id": 7, "category_id": 3, "bbox": [0, 0, 2, 2]}
    ids = [5, None, 5, "9", 7.0, "b71f", True, -1, 2]
    found = data(content(annotations=[{**one, "id": i} if i is not None else one for i in ids]))
    assert [a["id"] for a in found.annotations] == [5, 10, 11, 9, 7, 12, 13, 14, 2]
    assert found.notes == (
        "1 annotation without an id (the first: annotation number 2); numbered anew",
        "1 annotation with an id that is taken (the first: annotation number 3); numbered anew",
        "3 annotations with an id that is no number from 0 on (the first: annotation number 6); numbered anew",
    )


@pytest.mark.parametrize(
    ("written", "value"),
    [("12", 12), (12.0, 12), (" 1.5 ", 1.5), ("1e1", 10), (3, 3)],
)
def test_a_number_is_one_however_it_is_written(data, written, value):
    found = data(changed("annotations", 0, area=written, bbox=[0, "0", "2.5", 3]))
    assert found.annotations[0]["area"] == value
    assert found.annotations[0]["bbox"] == [0, 0, 2.5, 3]
    assert found.notes == ()


@pytest.mark.parametrize("area", ["big", -1, float("inf"), [4], True])
def test_an_area_that_cannot_be_is_that_of_the_box(data, area):
    found = data(changed("annotations", 0, area=area))
    assert found.annotations[0]["area"] == 9
    assert found.notes == (
        "1 annotation with an area that cannot be (the first: annotation 1); that of the box counts",
    )


@pytest.mark.parametrize(("written", "crowd"), [(True, 1), (False, 0), ("1", 1), (0.0, 0)])
def test_a_crowd_is_one_however_it_is_written(data, written, crowd):
    assert data(changed("annotations", 0, iscrowd=written)).annotations[0]["iscrowd"] == crowd


def test_placeholders_are_what_a_missing_key_is(data):
    found = data(changed("annotations", 0, iscrowd=None, area=None))
    assert (found.annotations[0]["iscrowd"], found.annotations[0]["area"]) == (0, 9)
    assert found.notes == (
        "1 annotation with null for iscrowd (the first: annotation 1); 0 counts",
        "1 annotation with null for area (the first: annotation 1); that of the box counts",
    )


@pytest.mark.parametrize("size", [{"width": 6.0, "height": "4"}, {"width": None, "height": None}, {"width": 6}])
def test_sizes_written_otherwise_or_not_at_all(data, size):
    written = content()
    written["images"][0] = {"id": 7, "file_name": "a.png", **size}
    found = data(written)
    assert found.samples[0].size == (6, 4)
    assert found.notes == ()


@pytest.mark.parametrize("size", [0, -1, 6.5, "wide", True])
def test_a_size_that_cannot_be_is_that_of_the_file(data, size):
    found = data(changed("images", 0, width=size))
    assert found.samples[0].size == (6, 4)
    assert found.notes == ("1 image of a size that cannot be (the first: image 7); that of the file counts",)


PACKED = mask.encode(np.asfortranarray(np.pad(np.ones((2, 3), np.uint8), ((1, 1), (2, 1)))))
OUTLINES = {
    "polygon": ([[2, 1, 5, 1, 5, 3]], [2, 1, 3, 2]),
    "two polygons": ([[2, 1, 3, 1, 3, 2], [4, 2, 5, 2, 5, 3]], [2, 1, 3, 2]),
    "a polygon by itself": ([2, 1, 5, 1, 5, 3], [2, 1, 3, 2]),
    "a polygon of points": ([[2, 1], [5, 1], [5, 3]], [2, 1, 3, 2]),
    "texts": ([["2", "1", "5", "1", "5", "3"]], [2, 1, 3, 2]),
    "run lengths": ({"size": [4, 6], "counts": [9, 2, 2, 2, 2, 2, 5]}, [2, 1, 3, 2]),
    "packed run lengths": ({"size": [4, 6], "counts": PACKED["counts"].decode()}, [2, 1, 3, 2]),
}


@pytest.mark.parametrize("box", [{}, {"bbox": None}, {"bbox": []}, {"bbox": [0, 0, 0, 0]}])
@pytest.mark.parametrize(("outline", "around"), OUTLINES.values(), ids=OUTLINES)
def test_a_missing_box_is_that_around_the_outline(data, outline, around, box):
    written = content(annotations=[{"id": 4, "image_id": 7, "category_id": 3, "segmentation": outline, **box}])
    found = data(written)
    assert found.annotations[0]["bbox"] == around
    assert found.annotations[0]["area"] == 6
    (note,) = found.notes
    assert note.endswith("(the first: annotation 4); the box around its segmentation counts")


BROKEN_MASKS = [
    {"size": [4, 6], "counts": [9, 2]},
    {"size": [4, 6], "counts": [9, -2, 17]},
    {"size": [4, 6], "counts": [2**40, 2]},
    {"size": [4, 6], "counts": "o"},
    {"size": [4, 6], "counts": "oooooooooooooo0"},
    {"size": [4, 6], "counts": "é"},
    {"size": [2**40, 2**40], "counts": "11"},
    {"size": [4], "counts": "11"},
    {"size": [4, 6], "counts": [24]},
    {"counts": {}},
    [[1, 2, 3]],
    [[1, 2, 3, 4, 5, None]],
    [[[[[[1, 2, 3, 4, 5, 6]]]]]],
    "polygon",
]


@pytest.mark.parametrize("outline", BROKEN_MASKS, ids=str)
def test_an_outline_that_is_none_gives_no_box(data, outline):
    written = content()
    written["annotations"].append({"id": 4, "image_id": 7, "category_id": 3, "segmentation": outline})
    found = data(written)
    assert [a["id"] for a in found.annotations] == [1, 2]
    assert found.notes == ("1 annotation without a box (the first: annotation 4); left out",)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("annotations", "score", float("nan")),
        ("annotations", "segmentation", [[1e400, 2]]),
        ("annotations", "attributes", {"a": [float("inf")]}),
        ("categories", "weight", float("nan")),
    ],
)
def test_what_cannot_be_written_again_is_left_out(data, kind, key, value):
    found = data(changed(kind, 0, **{key: value}))
    assert key not in getattr(found, kind)[0]
    assert len(found.annotations) == 2
    (note,) = found.notes
    assert f"with a {key!r} that is not finite, or nested too deeply (the first: " in note


def test_a_box_inside_of_the_file_is_kept_where_the_size_in_the_data_is_wrong(data):
    found = data(
        changed("images", 0, width=4, height=6)
        | {"annotations": [content()["annotations"][0] | {"bbox": [4, 0, 2, 2]}]}
    )
    assert (len(found.annotations), found.notes) == (1, ())


# Categories


def test_a_number_for_a_name_is_a_text(data):
    found = data(changed("categories", 0, name=3))
    assert [c["name"] for c in found.categories] == ["3", "toothbrush"]
    assert found.notes == ("1 category with a number for a name (the first: category 3); read as a text",)


def test_classes_of_one_name_are_one(data):
    found = data(changed("categories", 1, name="car"))
    assert [c["id"] for c in found.categories] == [3]
    assert [a["category_id"] for a in found.annotations] == [3, 3]
    assert found.notes == ("1 category with the name of another (the first: category 90 'car'); taken for that one",)


def test_a_root_that_others_belong_to_is_no_class(data):
    """Roboflow's: it may have the name of the only class, and nothing is annotated with it."""
    root = {"id": 0, "name": "car", "supercategory": "none"}
    rest = [{"id": 3, "name": "car", "supercategory": "car"}, {"id": 90, "name": "bus", "supercategory": "car"}]
    found = data(content(categories=[root, *rest]))
    assert [c["id"] for c in found.categories] == [3, 90]
    (note,) = found.notes
    assert "others belong to (the first: category 0 'car'); no class" in note
    used = content(categories=[root, *rest])
    used["annotations"][0]["category_id"] = 0
    assert [c["id"] for c in data(used).categories] == [0, 90]


def test_a_class_that_is_its_own_parent_stays(data):
    """COCO's person."""
    found = data(content(categories=[*content()["categories"], {"id": 1, "name": "person", "supercategory": "person"}]))
    assert [c["id"] for c in found.categories] == [3, 90, 1]
    assert found.notes == ()


# Ids


@pytest.mark.parametrize(
    ("ids", "numbers"),
    [
        (("000000000139", "000000000285"), [139, 285]),
        (("b", "a"), [1, 2]),
        (("7", "007"), [1, 2]),
        (("7", "x"), [1, 2]),
        ((5, "x"), [1, 2]),
        ((12.0, 3), [12, 3]),
    ],
)
def test_ids_are_integers_here(data, ids, numbers):
    written = content(annotations=[content()["annotations"][0] | {"image_id": ids[1]}])
    for image, written_id in zip(written["images"], ids, strict=True):
        image["id"] = written_id
    found = data(written)
    assert [s.id for s in found.samples] == numbers
    assert found.annotations[0]["image_id"] == numbers[1]
    texts = {number: i for i, number in zip(ids, numbers, strict=True) if isinstance(i, str)}
    renumbered = "x" in ids or ids == ("7", "007")
    assert found.original_ids.images == (dict(zip(numbers, ids, strict=True)) if renumbered else texts)
    said = f"{len(texts)} image{'s' if len(texts) > 1 else ''} with a text for an id"
    assert [note.startswith(said) for note in found.notes] == [True] * bool(texts)


def test_an_annotation_may_write_an_id_in_another_way(data):
    written = changed("annotations", 0, image_id="7", category_id="3")
    written["annotations"][1]["image_id"] = 7.0
    found = data(written)
    assert [(a["image_id"], a["category_id"]) for a in found.annotations] == [(7, 3), (7, 90)]
    written = content(images=[{"id": "007", "file_name": "a.png"}])
    assert [a["image_id"] for a in data(written).annotations] == [7, 7]


def test_what_stands_there_twice_is_taken_once(data):
    written = content()
    written["images"].append(dict(written["images"][0]))
    written["categories"].append(dict(written["categories"][0]))
    found = data(written)
    assert ([s.id for s in found.samples], len(found.categories)) == ([7, 3], 2)
    assert found.notes == (
        "1 image listed twice (the first: image 7); taken once",
        "1 category listed twice (the first: category 3); taken once",
    )


# Files


def test_a_missing_image_is_said_and_left_out(data):
    written = content()
    written["annotations"].append(written["annotations"][0] | {"id": 3, "image_id": 3})
    whole = data(written)
    (data.folder / "sub/a.png").unlink()
    found = data(written)
    assert [s.id for s in found.samples] == [7]
    assert [a["id"] for a in found.annotations] == [1, 2]
    said = f"1 of the 2 annotated images is not in {data.folder} (the first: 'sub/a.png')"
    assert found.notes == (f"{said}; left out of every figure",)
    assert found.fingerprint != whole.fingerprint
    with pytest.raises(InputError, match=re.escape(said)):
        data(written, missing="error")
    (data.folder / "a.png").unlink()
    with pytest.raises(InputError, match=r"none of the 2 annotated images is in .* \(the first: 'a.png'\)"):
        data(written)


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


def test_the_same_link_is_refused_without_annotations(data, tmp_path, monkeypatch):
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "b.png")
    os.symlink(tmp_path / "b.png", data.folder / "link.png")
    with pytest.raises(InputError, match="1 link leads out of the folder"):
        folder_dataset(data.folder)
    assert len(data().samples) == 2  # which do not name it
    monkeypatch.setenv(LINKS, "1")
    assert len(folder_dataset(data.folder).samples) == 3
    assert data(changed("images", 0, file_name="link.png")).samples[0].load().pixels.shape == (4, 6, 3)


def test_boxes_that_are_shares_of_the_image_are_refused(data):
    written = content()
    for annotation in written["annotations"]:
        annotation["bbox"] = [0.1, 0.2, 0.3, 0.4]
    with pytest.raises(InputError, match="in pixels, not shares of the image"):
        data(written)


def test_boxes_that_are_like_corners_are_said(data):
    written = content()
    image = written["images"][0]
    w, h = image["width"], image["height"]
    for annotation in written["annotations"]:
        annotation |= {"image_id": image["id"], "bbox": [w // 2, h // 2, w, h]}
    found = data(written)
    count = len(written["annotations"])
    assert found.notes[-1].startswith(f"{count} of {count} boxes reach out of the image: are the numbers corners?")
    assert [a["bbox"] for a in found.annotations] == [[w // 2, h // 2, w, h]] * count
    for annotation in written["annotations"]:
        annotation["bbox"] = [w // 2, h // 2, w - w // 2 + 1, 2]
    assert not data(written).notes


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
