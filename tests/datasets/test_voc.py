"""Pascal VOC data sets as they are published, as tools write them, and as they should not be."""

import re

import numpy as np
import pytest
from PIL import Image

from detattack.cli import status_of
from detattack.core.errors import InputError
from detattack.datasets.open import open_dataset
from detattack.datasets.source import DatasetSource
from detattack.datasets.voc import voc_dataset


def thing(name="dog", box=(11, 6, 30, 20), more=""):
    corners = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name>{more}<bndbox>{corners}</bndbox></object>"


def xml(*objects, size="<size><width>80</width><height>40</height><depth>3</depth></size>"):
    return "<annotation>\n" + size + "\n" + "\n".join(objects) + "\n</annotation>"


def write(folder, files):
    """Writes text files, and images of 80×40 pixels for names with `.png`."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".png"):
            Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(folder / name)
        else:
            (folder / name).write_text(text)
    return folder


@pytest.fixture
def devkit(tmp_path):
    """The folders of VOC: three images, two of them in a split."""
    person = thing("person", (1, 1, 80, 40), "<part><name>head</name><bndbox><xmin>0</xmin></bndbox></part>")
    return write(
        tmp_path,
        {
            **{f"JPEGImages/{i}.png": "" for i in ("000001", "000002", "000003")},
            "Annotations/000001.xml": xml(thing(), person),
            "Annotations/000002.xml": xml(thing("car", more="<difficult>1</difficult>")),
            "Annotations/000003.xml": xml(),
            "ImageSets/Main/test.txt": "000001\n000003\n",
            "ImageSets/Main/dog_test.txt": "000001  1\n000003 -1\n",
        },
    )


def test_the_folders_of_voc(devkit):
    found = open_dataset(DatasetSource(images=str(devkit)))
    assert [(s.id, s.stem, s.size) for s in found.samples] == [(i, f"00000{i}", (80, 40)) for i in (1, 2, 3)]
    assert found.categories == ({"id": 1, "name": "car"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "person"})
    assert [(a["image_id"], a["category_id"], a["bbox"], a["area"]) for a in found.annotations] == [
        (1, 2, [10, 5, 20, 15], 300),
        (1, 3, [0, 0, 80, 40], 3200),
        (2, 1, [10, 5, 20, 15], 300),
    ]
    assert found.source.format == "voc"
    assert open_dataset(found.source).fingerprint == found.fingerprint


def test_difficult_objects_count_and_are_said(devkit):
    found = voc_dataset(devkit)
    assert [(a["iscrowd"], a.get("difficult")) for a in found.annotations] == [(0, None), (0, None), (0, 1)]
    assert found.notes == (
        "1 object marked as difficult (the first: object 000002.xml:3); counted, as COCO counts its hard ones",
    )


@pytest.mark.parametrize("split", ["test", "dog_test"])
def test_a_split_is_a_list(devkit, split):
    found = voc_dataset(devkit, split=split)
    assert [s.stem for s in found.samples] == ["000001", "000003"]
    assert [c["name"] for c in found.categories] == ["dog", "person"]


def test_names_with_blanks_in_a_list(devkit):
    for name in ("street", "street 1", "a b"):
        write(devkit, {f"JPEGImages/{name}.png": "", f"Annotations/{name}.xml": xml(thing())})
    write(devkit, {"ImageSets/Main/val.txt": "street 1\na b\n", "ImageSets/Main/dog_val.txt": "street 1  1\na b -1\n"})
    for split in ("val", "dog_val"):
        assert [s.stem for s in voc_dataset(devkit, split=split).samples] == ["street 1", "a b"]


@pytest.mark.parametrize("split", ["tset", "../../ImageSets/Main/test", ""])
def test_a_split_that_is_not_there(devkit, split):
    with pytest.raises(InputError, match=r"no list of .*\(there: dog_test, test\)"):
        voc_dataset(devkit, split=split)


def test_xml_beside_the_images_and_in_a_folder_of_its_own(tmp_path):
    beside = write(tmp_path / "one", {"a.png": "", "a.xml": xml(thing()), "sub/b.png": "", "sub/b.xml": xml(thing())})
    apart = write(tmp_path / "two", {"photos/a.png": "", "xml/a.xml": xml(thing())})
    assert len(open_dataset(DatasetSource(images=str(beside))).annotations) == 2
    source = DatasetSource(images=str(apart / "photos"), annotations=str(apart / "xml"))
    assert len(open_dataset(source).annotations) == 1


@pytest.mark.parametrize(("image", "label"), [("images/a.png", "annotations/a.xml"), ("train/a.png", "train/a.xml")])
def test_it_is_recognized_as_it_is_shared(tmp_path, image, label):
    write(tmp_path, {image: "", label: xml(thing())})
    found = open_dataset(DatasetSource(images=str(tmp_path)))
    assert (found.source.format, len(found.annotations)) == ("voc", 1)


@pytest.mark.parametrize("label", ["a.xml", "annotations/a.xml", "VOC/Annotations/a.xml"])
def test_other_xml_is_nothing_but_said(tmp_path, label):
    write(tmp_path, {"images/a.png": "", label: "<metadata/>"})
    found = open_dataset(DatasetSource(images=str(tmp_path)))
    assert not found.categories
    assert f"no annotations are read, though {tmp_path / label} may hold some;" in found.notes[0]


@pytest.mark.parametrize(("said", "is_difficult"), [("1", True), ("True", True), ("0", False), ("Unspecified", False)])
def test_what_is_difficult(tmp_path, said, is_difficult):
    write(tmp_path, {"a.png": "", "a.xml": xml(thing(more=f"<difficult>{said}</difficult>"))})
    assert ("difficult" in voc_dataset(tmp_path).annotations[0]) is is_difficult


def test_where_a_box_begins_at_0_all_count_from_there(tmp_path):
    write(tmp_path, {"a.png": "", "a.xml": xml(thing(box=(0, 5, 10, 10)), thing(box=(10.5, 6, 30, 20)))})
    found = voc_dataset(tmp_path)
    assert [a["bbox"] for a in found.annotations] == [[0, 5, 10, 5], [10.5, 6, 19.5, 14]]
    assert found.notes == (
        "1 box beginning before pixel 1 (the first: box a.xml:3); all count from 0 here, not from 1 as VOC's",
    )


def test_what_is_mended_is_said(tmp_path):
    far, turned = thing(box=(100, 1, 120, 9)), thing(box=(30, 20, 11, 6))
    size = "<size><width>40</width><height>80</height></size>"
    found = voc_dataset(write(tmp_path, {"a.png": "", "a.xml": xml(far, turned, size=size)}))
    assert [a["bbox"] for a in found.annotations] == [[10, 5, 20, 15]]
    said = " ".join(found.notes)
    assert "corners the wrong way round" in said
    assert "outside of its image" in said
    assert "of another size than its XML file says" in said


def test_images_without_xml_and_xml_without_images(tmp_path):
    write(tmp_path, {"a.png": "", "a.xml": xml(thing()), "b.png": "", "c.xml": xml(thing("cat"))})
    found = voc_dataset(tmp_path)
    assert [s.stem for s in found.samples] == ["a"]
    assert [c["name"] for c in found.categories] == ["dog"]
    assert "1 of the 3 labeled images is not in" in found.notes[0]
    assert "1 of 2 images has no XML file in" in found.notes[1]
    with pytest.raises(InputError, match=r"\(the first: 'c'\)"):
        voc_dataset(tmp_path, missing="error")
    (tmp_path / "c.xml").unlink()
    with pytest.raises(InputError, match=r"\(the first: 'b'\)"):
        voc_dataset(tmp_path, missing="error")


def test_the_fingerprint_depends_on_every_file(devkit):
    before = voc_dataset(devkit).fingerprint
    assert voc_dataset(devkit).fingerprint == before
    (devkit / "Annotations/000003.xml").write_text(xml(thing(box=(2, 2, 9, 9))))
    assert voc_dataset(devkit).fingerprint != before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "a.xml:1: not XML"),
        ("<annotation>\n<object>\n</annotation>", "a.xml:3: not XML (mismatched tag)"),
        ("", "a.xml:1: not XML (no element found)"),
        ("<kml></kml>", "a.xml: no annotation of Pascal VOC (its root is 'kml'"),
        (xml("<object>\n<bndbox/></object>"), "a.xml:3: an object without a name"),
        (xml("<object>\n<name>dog</name></object>"), "a.xml:3: xmin of 'dog' is missing"),
        (xml(thing(box=(1, 2, "\nx", 4))), "a.xml:3: xmax of 'dog' is 'x', not a number"),
        (xml(thing(box=(1, 2, "nan", 4))), "a.xml:3: xmax of 'dog' is 'nan', not a number"),
        (xml(), "none of 1 file has an object"),
        ('<!DOCTYPE a [<!ENTITY b "b">]>\n' + xml(thing("&b;")), "a.xml:1: declares entities"),
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "/etc/passwd">]>\n' + xml(thing("&b;")), "a.xml:1: declares entities"),
        ('<?xml version="1.0" encoding="klingon"?>' + xml(thing()), "not XML"),
        ("<annotation>" * 20000, "not XML"),
    ],
)
def test_xml_that_cannot_be(tmp_path, text, said):
    write(tmp_path, {"a.png": "", "a.xml": text})
    with pytest.raises(InputError, match=re.escape(said)):
        voc_dataset(tmp_path)


def test_two_images_of_one_name(tmp_path):
    write(tmp_path, {"a.png": "", "a.xml": xml(thing())})
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.png").read_bytes())
    with pytest.raises(InputError, match="have the same name but for the suffix"):
        voc_dataset(tmp_path)


def test_bad_xml_is_one_line_and_status_2(tmp_path, capsys, toy):
    write(tmp_path, {"a.png": "", "a.xml": "<annotation>\n<object>\n</annotation>"})
    line = ["evaluate", "--images", str(tmp_path), "--model", f"{toy}:factory", "--out", str(tmp_path / "run")]
    assert status_of(line) == 2
    assert capsys.readouterr().err == f"detattack: {tmp_path / 'a.xml'}:3: not XML (mismatched tag)\n"
