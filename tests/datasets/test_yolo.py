"""YOLO data sets as tools write them, and as they should not be."""

import re

import numpy as np
import pytest
from PIL import Image

from detattack.cli import status_of
from detattack.core.errors import InputError
from detattack.datasets.image_names import LINKS
from detattack.datasets.open import open_dataset
from detattack.datasets.source import DatasetSource
from detattack.datasets.yolo import yolo_dataset

YAML = "names: [car, dog]\nval: images/val\n"


@pytest.fixture
def data(tmp_path):
    """Writes images of 80×40 pixels and files, and reads them as a data set: `data({"labels/val/a.txt": "0 ..."})`."""

    def read(files, images=("images/val/a.png", "images/val/b.png"), yaml=YAML, **options):
        for name in images:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(tmp_path / name)
        for name, text in {"data.yaml": yaml, **files}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return yolo_dataset(tmp_path / "data.yaml", **options)

    read.folder = tmp_path
    return read


def boxes(found):
    return [(a["image_id"], a["category_id"], [round(v, 6) for v in a["bbox"]]) for a in found.annotations]


def test_boxes_in_pixels_and_an_image_without_labels(data):
    found = data({"labels/val/a.txt": "1 0.5 0.5 0.25 0.5\n\n0 .1 .1 .2 .2\n"})
    assert [(s.id, s.stem, s.size) for s in found.samples] == [(1, "a", (80, 40)), (2, "b", (80, 40))]
    assert found.categories == ({"id": 0, "name": "car"}, {"id": 1, "name": "dog"})
    assert boxes(found) == [(1, 1, [30, 10, 20, 20]), (1, 0, [0, 0, 16, 8])]
    assert [(a["id"], a["area"], a["iscrowd"]) for a in found.annotations] == [(1, 400, 0), (2, 128, 0)]
    assert found.notes == ("1 image without labels (the first: image b.png); nothing is on it",)


def test_a_polygon_has_its_own_area_and_the_box_around_it(data):
    (one,) = data({"labels/val/a.txt": "0 0.25 0.5 0.5 0.5 0.5 0.75"}).annotations
    assert (one["bbox"], one["area"]) == ([20, 20, 20, 10], 100)
    assert one["segmentation"] == [[20, 20, 40, 20, 40, 30]]


def test_key_points_are_left_out(data):
    pose = data({"labels/val/a.txt": "0 .5 .5 .5 .5 .1 .1 2 .2 .2 1"}, yaml=YAML + "kpt_shape: [2, 3]\n")
    assert boxes(pose) == [(1, 0, [20, 10, 40, 20])]


def test_classes_that_are_written_as_floats_and_lines_that_are_there_twice(data):
    found = data({"labels/val/a.txt": "1.0 .5 .5 .5 .5\n1.0 .5 .5 .5 .5"})
    assert boxes(found) == [(1, 1, [20, 10, 40, 20])]
    assert "1 label written twice (the first: label a.txt:2); taken once" in found.notes


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("names: {0: car, 1: no}", ["car", "no"]),
        ("names:\n  1: dog\n  0: car\nnc: 2", ["car", "dog"]),
        ("names: ['010', yes]", ["010", "yes"]),
    ],
)
def test_names_are_texts_in_the_order_of_their_numbers(data, names, expected):
    found = data({"labels/val/a.txt": "0 .5 .5 .5 .5"}, yaml=f"{names}\nval: images/val\n")
    assert [c["name"] for c in found.categories] == expected


@pytest.mark.parametrize(
    ("yaml", "split", "chosen"),
    [
        ("train: t/images\nval: v/images\n", None, "v"),
        ("train: t/images\nval: v/images\n", "train", "t"),
        ("train: t/images\nval:\n", None, "t"),
        ("path: .\ntrain: [t/images, v/images]\n", None, "tv"),
        ("train: ../t/images\n", None, "t"),
        ("path: sub/..\nval: v/images\n", None, "v"),
        ("path: /a/folder/that/was/elsewhere\nval: v/images\n", None, "v"),
    ],
)
def test_splits_and_paths(data, yaml, split, chosen):
    (data.folder / "sub").mkdir()
    labels = {f"{part}/labels/{part}.txt": "0 .5 .5 .5 .5" for part in "tv"}
    found = data(labels, ("t/images/t.png", "v/images/v.png"), f"names: [car]\n{yaml}", split=split)
    assert "".join(sample.stem for sample in found.samples) == chosen
    assert any("the split 'val' of val, train is taken" in note for note in found.notes) is (
        chosen == "v" and "train" in yaml
    )


def test_a_list_of_images_and_labels_beside_them(data):
    listed = "./photos/b.png\n/somewhere/else/photos/a.png\n\nphotos/gone.png\n"
    files = {"val.txt": listed, "photos/a.txt": "0 .5 .5 .5 .5", "photos/c.txt": "what is not listed is not read"}
    images = [f"photos/{name}.png" for name in "abc"]
    found = data(files, images, "names: [car]\nval: val.txt\n")
    assert [(s.id, s.stem) for s in found.samples] == [(1, "b"), (2, "a")]
    assert boxes(found) == [(2, 0, [20, 10, 40, 20])]
    assert "1 of the 3 listed images is not in" in found.notes[0]
    with pytest.raises(InputError, match="1 of the 3 listed images is not in"):
        yolo_dataset(data.folder / "data.yaml", missing="error")


def test_labels_without_an_image(data):
    files = {"labels/val/a.txt": "0 .5 .5 .5 .5", "labels/val/gone.txt": ""}
    assert "1 of the 3 labeled images is not in" in data(files).notes[0]
    with pytest.raises(InputError, match=r"'gone\.txt'"):
        data(files, missing="error")


def test_a_damaged_image_keeps_its_place(data):
    files = {"labels/val/a.txt": "0 .5 .5 .5 .5", "labels/val/b.txt": "1 .5 .5 .5 .5"}
    data(files)
    (data.folder / "images/val/a.png").write_bytes(b"no image")
    found = yolo_dataset(data.folder / "data.yaml")
    assert [s.id for s in found.samples] == [1, 2]
    assert boxes(found) == [(2, 1, [20, 10, 40, 20])]


def test_the_fingerprint_depends_on_every_file(data):
    files = {"labels/val/a.txt": "0 .5 .5 .5 .5", "labels/val/b.txt": "0 .5 .5 .5 .5"}
    changed = [
        data(files),
        data({**files, "labels/val/b.txt": "0 .5 .5 .5 .4"}),
        data(files, yaml="names: [car, cat]\nval: images/val\n"),
        data({**files, "labels/val/b.txt": ""}),
    ]
    assert len({found.fingerprint for found in changed}) == 4
    assert data(files).fingerprint == changed[0].fingerprint


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("0 .5 .5 .5 .5\n2 .5 .5 .5 .5", "a.txt:2: class 2, but the classes are 0 to 1"),
        ("-1 .5 .5 .5 .5", "a.txt:1: class -1, but the classes are 0 to 1"),
        ("0.5 .5 .5 .5 .5", "a.txt:1: class 0.5, but"),
        ("nan .5 .5 .5 .5", "a.txt:1: class nan, but"),
        ("0 40 20 20 10", "a.txt:1: 40 is not within 0 to 1"),
        ("0 .5 .5 .5 nan", "a.txt:1: nan is not within 0 to 1"),
        ("0 .5 .5 .5 -.005", "a.txt:1: a box of negative size"),
        ("\n0 .5 .5 .5", "a.txt:2: 4 numbers, where a class and a box are 5"),
        ("0 .5 .5 .5 .5 .9", "a.txt:1: 6 numbers, where"),
        ("car .5 .5 .5 .5", "a.txt:1: not numbers ('car .5 .5 .5 .5')"),
        ("\xff", "a.txt: not UTF-8 text"),
    ],
)
def test_a_label_that_cannot_be(data, label, said):
    (data.folder / "labels/val").mkdir(parents=True)
    (data.folder / "labels/val/a.txt").write_bytes(label.encode("latin-1"))
    with pytest.raises(InputError, match=re.escape(said)):
        data({})


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("names: [car\n", "broken YAML at line 2"),
        ("- car\n", "no mapping"),
        ("val: images/val\n", "has no 'names'"),
        ("names: []\nval: images/val\n", "has no 'names'"),
        ("names: [[car]]\nval: images/val\n", "has no 'names'"),
        ("names: {1: car, 2: dog}\nval: images/val\n", "do not run from 0 on"),
        ("names: [car, car]\nval: images/val\n", "names 'car' twice"),
        ("names: [car]\nnc: 3\nval: images/val\n", "nc is 3, but 1 class is named"),
        ("names: [car]\n", "names no images"),
        ("names: [car]\nval: {a: b}\n", "neither a folder nor a list"),
        ("names: [car]\nval: nowhere\n", "no such folder or list"),
        ("names: [car]\nval: images/val\nkpt_shape: 17\n", "kpt_shape"),
        ("names: [car]\nval: images/val\n", "no image has labels (the first would be in"),
        ("names: &a [x, x]\nval: *b\n", "broken YAML at line 2"),
        ("a: " + "[" * 5000, "broken YAML"),
    ],
)
def test_a_description_that_cannot_be(data, yaml, said):
    with pytest.raises(InputError, match=re.escape(said)):
        data({}, yaml=yaml)


def test_splits_and_annotations_that_are_not_there(data):
    with pytest.raises(InputError, match=r"unknown split of data .*'vall': did you mean 'val'"):
        data({"labels/val/a.txt": "0 .5 .5 .5 .5"}, split="vall")
    with pytest.raises(InputError, match="--annotations b.json"):
        yolo_dataset(data.folder / "data.yaml", "b.json")


def test_a_link_out_of_the_labels_is_refused(data, monkeypatch):
    (data.folder / "labels/val").mkdir(parents=True)
    (data.folder / "secret.txt").write_text("0 .5 .5 .5 .5")
    (data.folder / "labels/val/a.txt").symlink_to(data.folder / "secret.txt")
    with pytest.raises(InputError, match="through a link"):
        data({})
    monkeypatch.setenv(LINKS, "1")
    assert len(data({}).annotations) == 1


def test_it_is_recognized_and_opened_again(data):
    data({"labels/val/a.txt": "0 .5 .5 .5 .5", "labels/val/b.txt": "0 .5 .5 .5 .5"})
    found = open_dataset(DatasetSource(images=str(data.folder / "data.yaml"), limit=1))
    assert (found.source.format, found.source.limit, len(found.samples)) == ("yolo", 1, 1)
    assert open_dataset(found.source).fingerprint == found.fingerprint
    for of_folder in (DatasetSource(images=str(data.folder), format=name) for name in ("yolo", None)):
        assert len(open_dataset(of_folder).annotations) == 2


@pytest.mark.parametrize("beside", [True, False])
def test_names_in_a_text_file(data, beside):
    """What LabelImg and Label Studio write."""
    images, labels = ("", "") if beside else ("images/", "labels/")
    data({"labels/val/a.txt": "0 .5 .5 .5 .5"})  # the fixture reads one with a data.yaml
    (data.folder / "data.yaml").unlink()
    folder = data.folder / "own"
    (folder / labels).mkdir(parents=True)
    (folder / images).mkdir(parents=True, exist_ok=True)
    (data.folder / "images/val/a.png").rename(folder / f"{images}a.png")
    (folder / f"{labels}a.txt").write_text("1 .5 .5 .5 .5")
    (folder / "classes.txt").write_text("car\r\ntraffic light\r\n")
    found = yolo_dataset(folder)
    assert [c["name"] for c in found.categories] == ["car", "traffic light"]
    assert boxes(found) == [(1, 1, [20, 10, 40, 20])]
    (note,) = open_dataset(DatasetSource(images=str(folder))).notes
    assert f"no annotations are read, though {folder}" in note
    (folder / "classes.txt").write_text("car;traffic light\n")
    with pytest.raises(InputError, match="'car;traffic light' has semicolons; a line is one name"):
        yolo_dataset(folder)


@pytest.mark.parametrize("nothing", ["null", "~", ""])
def test_a_split_that_is_empty_is_none(data, nothing):
    found = data(
        {"labels/b/a.txt": "0 .5 .5 .5 .5"}, ["images/b/a.png"], f"names: [car]\nval: {nothing}\ntrain: images/b"
    )
    assert len(found.annotations) == 1


def test_a_text_file_of_names_is_no_label_file(data):
    assert not data(
        {"labels/val/a.txt": "0 .5 .5 .5 .5", "labels/val/b.txt": "", "labels/val/classes.txt": "car"}
    ).notes


def test_labels_that_are_not_asked_for_are_said(data):
    data({"labels/val/a.txt": "0 .5 .5 .5 .5"})
    images, labels = data.folder / "images/val", data.folder / "labels/val"
    (note,) = open_dataset(DatasetSource(images=str(images))).notes
    assert f"no annotations are read, though {labels} may hold some; --annotations, --format or its data.yaml" in note
    with pytest.raises(InputError, match="text files are YOLO's, whose data.yaml --images takes"):
        open_dataset(DatasetSource(images=str(images), annotations=str(labels)))
    with pytest.raises(InputError, match="data.yaml: describes a YOLO data set, which --images takes"):
        open_dataset(DatasetSource(images=str(images), annotations=str(data.folder / "data.yaml")))


def test_bad_labels_are_one_line_and_status_2(data, capsys, toy):
    data({"labels/val/a.txt": "0 .5 .5 .5 .5"})
    (data.folder / "labels/val/a.txt").write_text("7 .5 .5 .5 .5")
    line = ["evaluate", "--images", str(data.folder / "data.yaml"), "--model", f"{toy}:factory"]
    assert status_of([*line, "--out", str(data.folder / "run")]) == 2
    path = data.folder / "labels/val/a.txt"
    assert capsys.readouterr().err == f"detattack: {path}:1: class 7, but the classes are 0 to 1\n"
    assert not (data.folder / "run").exists()
