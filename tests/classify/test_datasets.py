"""Images with labels: every way that they are named, the order they come in, and what is refused in a line."""

import json
import os
import pickle
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10
from torchvision.models import Inception_V3_Weights

from classify.datasets import (
    cifar10,
    class_folders,
    labels_file,
    open_labeled,
    photos,
    resolve_labels,
)
from classify.task import target_index
from detattack.core.errors import InputError
from detattack.datasets.base import Dataset
from detattack.datasets.image_names import LINKS

SHARED = Path(os.environ.get("DETATTACK_SHARED", Path(__file__).parents[3] / "shared"))
IMAGENET = Inception_V3_Weights.DEFAULT.meta["categories"]


def write_images(folder: Path, *names: str, size: tuple[int, int] = (8, 6)) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shade = sum(name.encode()) % 256
        Image.new("RGB", size, (shade, 10, 20)).save(path)
    return folder


def sources(data: Dataset, root: Path) -> list[str]:
    return [Path(s.source).relative_to(root).as_posix() for s in data.samples]


def in_order(data: Dataset) -> list:
    assert list(data.labels) == [s.id for s in data.samples]
    return list(data.labels.values())


def labeled(tmp_path: Path, *labels) -> Dataset:
    names = [f"{i}.png" for i in range(len(labels))]
    write_images(tmp_path / "images", *names)
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(dict(zip(names, labels, strict=True))))
    return labels_file(tmp_path / "images", path)


# Class folders


def test_class_folders_take_turns(tmp_path):
    write_images(tmp_path, "b/1.png", "b/2.png", "b/3.png", "a/1.png", "c/x/1.png", "a/2.jpg", "c/.hidden.png")
    (tmp_path / "b" / "notes.txt").write_text("no image")
    data = class_folders(tmp_path)
    assert sources(data, tmp_path) == ["a/1.png", "b/1.png", "c/x/1.png", "a/2.jpg", "b/2.png", "b/3.png"]
    assert in_order(data) == ["a", "b", "c", "a", "b", "b"]
    assert [s.id for s in data.samples] == [1, 2, 3, 4, 5, 6]
    assert [s.stem for s in data.samples] == ["a-1", "b-1", "c-1", "a-2", "b-2", "b-3"]
    assert data.samples[0].size == (8, 6)
    assert data.samples[0].load().pixels.shape == (6, 8, 3)
    assert data.notes == ()


def test_stems_stay_as_they_are_where_they_differ(tmp_path):
    data = class_folders(write_images(tmp_path, "cat/tom.png", "dog/rex.png"))
    assert [s.stem for s in data.samples] == ["tom", "rex"]


def test_images_beside_class_folders_and_empty_ones_are_noted(tmp_path):
    write_images(tmp_path, "cat/1.png", "overview.png", ".hidden.png")
    (tmp_path / "dog").mkdir()
    (tmp_path / ".git").mkdir()
    beside, empty = class_folders(tmp_path).notes
    assert beside.startswith("1 image of")
    assert "dog" in empty


def test_a_thousand_folders_of_wordnet_ids_are_imagenet_in_order(tmp_path):
    names = [f"n{10_000_000 + 7 * i}" for i in range(1000)]
    for name in reversed(names):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    assert in_order(class_folders(tmp_path)) == list(range(1000))
    (tmp_path / names[3] / "1.png").unlink()
    assert in_order(class_folders(tmp_path))[0] == names[0]


def test_an_image_that_cannot_be_read_is_found_out_in_its_turn(tmp_path):
    write_images(tmp_path, "cat/1.png")
    (tmp_path / "cat" / "2.png").write_bytes(b"nothing")
    data = class_folders(tmp_path)
    assert data.samples[1].size == (0, 0)
    with pytest.raises(InputError, match=r"2\.png: not an image"):
        data.samples[1].load()


@pytest.mark.parametrize("made", ["missing", "file", "empty", "no image", "no class"])
def test_no_class_folders(tmp_path, made):
    root = tmp_path / "data"
    if made == "file":
        root.touch()
    elif made != "missing":
        root.mkdir()
    if made == "no image":
        (root / "cat").mkdir()
        (root / "cat" / "a.txt").touch()
    if made == "no class":
        write_images(root, "1.png")
    expected = {"missing": "no such folder", "file": "not a folder"}.get(made, "no class folder with an image in it")
    with pytest.raises(InputError, match=f"images {root}: {expected}"):
        class_folders(root)


def test_first_pick_and_fingerprints(tmp_path):
    data = class_folders(write_images(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png"))
    assert class_folders(tmp_path).fingerprint == data.fingerprint
    assert data.first(None) is data
    assert in_order(data.first(2)) == ["a", "b"]
    picked = data.pick({4, 2, 3}, "right")
    assert in_order(picked) == ["b", "a", "b"]
    assert in_order(picked.first(1)) == ["b"]
    prints = [d.fingerprint for d in (data, data.first(2), picked, picked.first(1), data.pick([1], "tune"))]
    assert len(set(prints)) == len(prints)
    write_images(tmp_path, "b/3.png")
    assert class_folders(tmp_path).fingerprint != data.fingerprint


# A labels file


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.json", '{"b.png": "cat", "sub/a.png": 3}'),
        ("l.json", '\ufeff[{"file": "b.png", "label": "cat", "name": "x"}, {"file": "sub/a.png", "name": 3}]'),
        ("l.csv", "b.png,cat\nsub/a.png,3\n"),
        ("l.csv", "File,Label\nb.png,cat\n\nsub/a.png,3"),
        ("l.csv", 'id,class,image\r\n7,"cat",b.png\r\n8, 3 ,sub/a.png\r\n'),
        ("l.tsv", "b.png\tcat\nsub/a.png\t3\n"),
        ("l.txt", "./b.png\tcat\nsub/a.png\t3\n"),
        ("l.csv", "b.png;cat\nsub/a.png;3\n"),
        ("l.csv", '\n"b.png";"cat"\r\nsub/a.png; 3 ;\r\n'),
        ("l.csv", "id;label;file, relative;file\n7;cat;x;b.png\n8;3;y, z;sub/a.png\n"),
    ],
)
def test_forms_of_a_labels_file(tmp_path, name, text):
    write_images(tmp_path / "images", "b.png", "sub/a.png")
    (tmp_path / name).write_text(text, newline="")
    data = labels_file(tmp_path / "images", tmp_path / name)
    assert sources(data, tmp_path / "images") == ["b.png", "sub/a.png"]
    assert list(resolve_labels(data, ["dog", "cat", "bird", "fish"]).values()) == [1, 3]
    assert data.notes == ()


@pytest.mark.parametrize(
    ("name", "text"), [("l.csv", "a.png,1\nb.png,2.0\n"), ("l.json", '{"a.png": "1", "b.png": "2.0"}')]
)
def test_a_number_that_is_the_name_of_a_class_is_that_class(tmp_path, name, text):
    write_images(tmp_path / "images", "a.png", "b.png")
    (tmp_path / name).write_text(text)
    labels = resolve_labels(labels_file(tmp_path / "images", tmp_path / name), ["1", "0", "x"])
    assert list(labels.values()) == [0, 2]


def test_an_image_without_a_row_is_left_out_and_noted(tmp_path):
    write_images(tmp_path / "images", "a.png", "b.png", "c.png")
    (tmp_path / "l.csv").write_text("b.png,cat")
    data = labels_file(tmp_path / "images", tmp_path / "l.csv")
    assert sources(data, tmp_path / "images") == ["b.png"]
    (note,) = data.notes
    assert note.startswith("2 images without a row")
    assert "a.png" in note


def test_images_that_are_missing_are_said_and_left_out(tmp_path):
    write_images(tmp_path / "images", "a.png")
    (tmp_path / "l.csv").write_text("b.png,dog\na.png,cat\nc.png,dog\n")
    data = labels_file(tmp_path / "images", tmp_path / "l.csv")
    assert in_order(data) == ["cat"]
    said = f"2 of the 3 labeled images are not in {tmp_path / 'images'} (the first: 'b.png')"
    assert data.notes == (f"{said}; left out of every figure",)
    with pytest.raises(InputError, match=re.escape(said)):
        labels_file(tmp_path / "images", tmp_path / "l.csv", missing="error")
    write_images(tmp_path / "images", "c.png")
    assert labels_file(tmp_path / "images", tmp_path / "l.csv").fingerprint != data.fingerprint
    (tmp_path / "l.csv").write_text("x.png,dog\n")
    with pytest.raises(InputError, match="the one labeled image is not in"):
        labels_file(tmp_path / "images", tmp_path / "l.csv")


def test_a_row_that_stands_there_twice_is_taken_once(tmp_path):
    write_images(tmp_path / "images", "a.png", "b.png")
    (tmp_path / "l.csv").write_text("a.png,1\nb.png,2\n./a.png,1\n")
    data = labels_file(tmp_path / "images", tmp_path / "l.csv")
    assert in_order(data) == ["1", "2"]
    assert data.notes == (f"1 row of {tmp_path / 'l.csv'} is there twice; taken once",)


def test_names_written_on_another_system(tmp_path):
    write_images(tmp_path / "images", "a.png", "sub/b.png")
    (tmp_path / "l.csv").write_text("C:\\data\\A.PNG,1\n.\\sub\\b.png,2\n")
    data = labels_file(tmp_path / "images", tmp_path / "l.csv")
    assert sources(data, tmp_path / "images") == ["a.png", "sub/b.png"]
    (note,) = data.notes
    assert note.startswith("2 images are named otherwise in")
    assert note.endswith("(the first: 'C:\\\\data\\\\A.PNG' is 'a.png')")


@pytest.mark.parametrize(
    ("name", "text"), [("l.csv", "a.png,3.0\nb.png,-0\n"), ("l.json", '{"a.png": 3.0, "b.png": 0}')]
)
def test_an_index_however_it_is_written(tmp_path, name, text):
    write_images(tmp_path / "images", "a.png", "b.png")
    (tmp_path / name).write_text(text)
    labels = resolve_labels(labels_file(tmp_path / "images", tmp_path / name), ["dog", "cat", "bird", "fish"])
    assert list(labels.values()) == [3, 0]


def test_a_link_that_no_row_names_is_no_matter(tmp_path):
    write_images(tmp_path / "images", "a.png")
    (tmp_path / "images" / "out.png").symlink_to(write_images(tmp_path / "outside", "b.png") / "b.png")
    (tmp_path / "l.csv").write_text("a.png,1\n")
    assert labels_file(tmp_path / "images", tmp_path / "l.csv").notes == ()


@pytest.mark.parametrize("linked", ["cat/1.png", "cat", "test"])
def test_links_out_of_class_folders(tmp_path, monkeypatch, linked):
    outside = write_images(tmp_path / "outside", "1.png", "cat/1.png")
    root = write_images(tmp_path / "data", "test/dog/1.png" if linked != "test" else "train/dog/1.png")
    target = {"cat/1.png": outside / "1.png", "cat": outside / "cat", "test": outside}[linked]
    link = root / "test" / linked if linked != "test" else root / linked
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(target)
    with pytest.raises(InputError, match=rf"images {root}: 1 link leads out of .*; {LINKS}=1 follows it"):
        open_labeled(root, None)
    monkeypatch.setenv(LINKS, "1")
    assert set(open_labeled(root, None).labels.values()) == ({"cat"} if linked == "test" else {"cat", "dog"})


def test_an_unknown_label_is_not_the_text_null(tmp_path):
    with pytest.raises(InputError, match="label is None, neither a class name nor an index"):
        labeled(tmp_path, None)


def test_labels_are_part_of_the_fingerprint(tmp_path):
    one, other = labeled(tmp_path, "cat"), labeled(tmp_path, "dog")
    assert one.fingerprint != other.fingerprint


def test_a_semicolon_in_a_name_parts_no_cells(tmp_path):
    write_images(tmp_path / "images", "a;b.png", "c.png")
    (tmp_path / "l.csv").write_text("a;b.png,cat; tabby\nc.png,dog\n")
    data = labels_file(tmp_path / "images", tmp_path / "l.csv")
    assert sources(data, tmp_path / "images") == ["a;b.png", "c.png"]
    assert in_order(data) == ["cat; tabby", "dog"]


def test_a_comma_in_a_label_parts_no_cells_of_a_file_with_semicolons(tmp_path):
    write_images(tmp_path / "images", "a.png", "b.png")
    (tmp_path / "l.csv").write_text("file;label\na.png;tabby, cat\nb.png;3\n")
    assert in_order(labels_file(tmp_path / "images", tmp_path / "l.csv")) == ["tabby, cat", "3"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("l.json", '{"a.png": "cat",\n"b.png" 3}', "broken JSON at line 2, column 9"),
        ("l.json", '"a.png"', "neither a list of rows nor an object of files"),
        ("l.json", "[]", "has no row"),
        ("l.csv", "\n\n", "has no row"),
        ("l.csv", "file,label\n", "has no row"),
        ("l.json", '[["a.png", 3]]', "row 1: not an object with 'file' and 'label'"),
        ("l.json", '[{"label": 3}]', "row 1: has no 'file'"),
        ("l.json", '[{"file": "a.png"}]', "row 1: has no 'label'"),
        ("l.json", '[{"file": 3, "label": 3}]', "row 1: file is 3, not a text"),
        ("l.json", '{"a.png": 1.5}', "'a.png': label is 1.5, neither"),
        ("l.json", '{"a.png": true}', "'a.png': label is True, neither"),
        ("l.json", '{"a.png": {"x": 1}}', "'a.png': label is an object or a list, neither"),
        ("l.json", '{"a.png": 1, "b.png": 2, "a.png": 3}', "'a.png': file 'a.png' has a row already, with another"),
        ("l.csv", "a.png,1\n./a.png,2", "line 2: file './a.png' has a row already"),
        ("l.csv", "a.png,1\n../secret.png,2", "line 2: file '../secret.png' leaves the folder"),
        ("l.csv", "/etc/passwd,2", "line 1: file '/etc/passwd' leaves the folder"),
        ("l.csv", "out/secret.png,2", "line 1: file 'out/secret.png' leaves the folder"),
        ("l.csv", ",2", "line 1: file '' names no file"),
        ("l.csv", "a.png,1\nb.png", "line 2: has no label"),
        ("l.csv", "a.png,1\nb.png, ", "line 2: has no label"),
        ("l.csv", "file,kind\na.png,1", "line 1: has no 'label'"),
        ("l.csv", "a.png;1\nb.png,2", "line 2: has no label"),
        ("l.csv", "a.png,1\nb.png;2", "line 2: has no label"),
        ("l.csv", 'a.png,1\n"b.png,2', "line 2: unexpected end of data"),
        ("l.csv", b"\xff\xfe\x00", "not UTF-8 text"),
    ],
)
def test_what_is_wrong_in_a_labels_file(tmp_path, name, text, said):
    write_images(tmp_path / "images", "a.png", "b.png")
    write_images(tmp_path / "outside", "secret.png")
    (tmp_path / "images" / "out").symlink_to(tmp_path / "outside")
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        labels_file(tmp_path / "images", path)
    assert str(caught.value).startswith(f"labels {path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_labels_file_and_no_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        labels_file(tmp_path / "images", tmp_path / "l.csv")
    with pytest.raises(InputError, match=r"labels .*l\.csv: cannot be read \(No such file"):
        labels_file(tmp_path, tmp_path / "l.csv")


# From labels to a model's classes


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("tench", "tench"),
        ("Tench, Tinca tinca", "tench"),
        ("great_white_shark", "great white shark"),
        ("Great White Shark, Carcharodon", "great white shark"),
        ("black footed ferret", "black-footed ferret"),
        ("Cardigan", "Cardigan"),
        ("cardigan", "cardigan"),
        ("Cardigan, Cardigan Welsh corgi", "Cardigan"),
        ("maillot, tank suit", "maillot tank suit"),
        ("maillot", "maillot"),
    ],
)
def test_a_name_finds_its_class(tmp_path, label, name):
    assert resolve_labels(labeled(tmp_path, label), IMAGENET) == {1: IMAGENET.index(name)}


def test_synonyms_of_the_model(tmp_path):
    classes = ["tench, Tinca tinca", "goldfish, Carassius auratus"]
    assert resolve_labels(labeled(tmp_path, "goldfish", "Tinca_tinca", 1, 0), classes) == {1: 1, 2: 0, 3: 1, 4: 0}


def test_all_of_imagenets_names_find_themselves(tmp_path):
    data = labeled(tmp_path, *IMAGENET[::10])
    assert list(resolve_labels(data, IMAGENET).values()) == list(range(0, 1000, 10))


def test_a_number_in_a_text_is_a_name_first(tmp_path):
    assert resolve_labels(labeled(tmp_path, "3", "1.0"), ["3", "two"]) == {1: 0, 2: 1}


def test_labels_that_are_unknown_stay_so():
    assert resolve_labels(photos(8), IMAGENET) == dict.fromkeys(range(1, 6))


def test_an_unknown_class_name_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(InputError, match=r"unknown class of .*1\.png 'tenhc': did you mean 'tench'"):
        resolve_labels(labeled(tmp_path, 3, "tenhc"), IMAGENET)


@pytest.mark.parametrize("index", [-1, 1000])
def test_an_index_out_of_range(tmp_path, index):
    with pytest.raises(InputError, match=rf"label {index} of .*1\.png: the model has the classes 0 to 999"):
        resolve_labels(labeled(tmp_path, 3, index), IMAGENET)


def test_a_name_of_two_classes(tmp_path):
    with pytest.raises(InputError, match="'crane' of .* is the name of classes 1 and 2; give the index"):
        resolve_labels(labeled(tmp_path, "crane"), ["cock", "crane", "crane"])


@pytest.mark.parametrize(
    ("target", "index"), [("Cardigan", 0), ("cardigan", 1), ("tiger_cat", 2), ("3", 3), ("tabby", 4), (None, None)]
)
def test_a_target_is_named_as_a_label_is(target, index):
    classifier = SimpleNamespace(classes=("Cardigan", "cardigan", "tiger cat", "crane", "tabby, tabby cat", "crane"))
    assert target_index(SimpleNamespace(target=target), classifier) == index
    with pytest.raises(InputError, match="class 'crane': is the name of classes 3 and 5; give the index"):
        target_index(SimpleNamespace(target="crane"), classifier)


# CIFAR-10


@pytest.fixture
def cifar(tmp_path, monkeypatch) -> Path:
    """A CIFAR-10 of 3 test and 10 training images; torchvision's checksums of the real one are left out."""
    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)

    def write(name: str, targets: list[int]) -> None:
        values = rng.integers(0, 256, (len(targets), 3072), np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": values, "labels": targets}))

    write("test_batch", [3, 8, 0])
    for batch in range(1, 6):
        write(f"data_batch_{batch}", [batch, 9])
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    for lists in ("train_list", "test_list"):
        monkeypatch.setattr(CIFAR10, lists, [[name, None] for name, _ in getattr(CIFAR10, lists)])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": None})
    return folder.parent


def test_cifar10_as_torchvision_reads_it(cifar):
    data, reference = cifar10(cifar, "test"), CIFAR10(str(cifar), train=False)
    assert in_order(data) == ["cat", "ship", "airplane"]
    assert [s.stem for s in data.samples] == ["test00000", "test00001", "test00002"]
    for sample, (image, _) in zip(data.samples, reference, strict=True):
        assert sample.size == (32, 32)
        assert np.array_equal(sample.load().pixels, np.asarray(image))
    assert len(pickle.dumps(data.samples[0])) < 5000  # what a worker is sent is one image, not all of them


def test_the_splits_of_cifar10(cifar):
    train, test = cifar10(cifar, "train"), cifar10(cifar, "test")
    assert in_order(train.first(4)) == ["automobile", "truck", "bird", "truck"]
    assert train.fingerprint != test.fingerprint == cifar10(cifar, "test").fingerprint
    with pytest.raises(InputError, match="unknown split of CIFAR-10 'tset': did you mean 'test'"):
        cifar10(cifar, "tset")


@pytest.mark.parametrize("damage", ["missing", "other"])
def test_a_damaged_cifar10(cifar, damage, monkeypatch):
    batch = cifar / "cifar-10-batches-py" / "test_batch"
    if damage == "missing":
        batch.unlink()
    else:
        monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", "0" * 32]])
    with pytest.raises(InputError, match="CIFAR-10 is incomplete or damaged"):
        cifar10(cifar, "test")


# Photos that are always there


@pytest.mark.parametrize("side", [1, 32, 299])
def test_photos(side):
    data = photos(side)
    assert [s.stem for s in data.samples] == ["astronaut", "chelsea", "coffee", "motorcycle", "rocket"]
    assert in_order(data) == [None] * 5
    for sample in data.samples:
        pixels = sample.load().pixels
        assert pixels.shape == (side, side, 3)
        assert sample.size == (side, side)
        assert side == 1 or pixels.std() > 30
    assert data.fingerprint == photos(side).fingerprint != photos(side + 1).fingerprint


def test_photos_of_no_pixels():
    with pytest.raises(InputError, match="at least one"):
        photos(0)


# What the command line names


def test_open_nothing_is_photos():
    assert open_labeled(None, None, side=40).samples[0].size == (40, 40)
    with pytest.raises(InputError, match="the folder of their images is not given"):
        open_labeled(None, Path("l.csv"))


def test_open_cifar10(cifar):
    for path in (cifar, cifar / "cifar-10-batches-py"):
        assert in_order(open_labeled(path, None)) == ["cat", "ship", "airplane"]
        assert len(open_labeled(path, None, "train").labels) == 10


def test_open_folders(tmp_path):
    write_images(tmp_path / "plain", "1.png", "2.png")
    write_images(tmp_path / "classes", "cat/1.png", "dog/1.png")
    write_images(tmp_path / "splits", "train/cat/1.png", "test/dog/1.png")
    assert in_order(open_labeled(tmp_path / "plain", None)) == [None, None]
    assert in_order(open_labeled(tmp_path / "classes", None)) == ["cat", "dog"]
    assert in_order(open_labeled(tmp_path / "splits", None)) == ["dog"]
    assert in_order(open_labeled(tmp_path / "splits", None, "train")) == ["cat"]
    (tmp_path / "l.csv").write_text("cat/1.png,3")
    assert in_order(open_labeled(tmp_path / "classes", tmp_path / "l.csv")) == ["3"]


def test_open_what_is_no_folder_of_images(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no image in this folder"):
        open_labeled(tmp_path / "empty", None)
    with pytest.raises(InputError, match="no such folder"):
        open_labeled(tmp_path / "none", None)


# Real data


def test_the_real_imagenet_photos():
    folder = SHARED / "data" / "imagenet-400"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there (DETATTACK_SHARED)")
    data = open_labeled(folder / "images", folder / "labels.json")
    assert len(data.labels) == 400
    assert data.notes == ()
    assert resolve_labels(data, IMAGENET) == data.labels
    names = [row["name"] for row in json.loads((folder / "labels.json").read_text())]
    by_name = replace(data, labels=dict(zip(data.labels, names, strict=True)))
    differ = [names[i - 1] for i, label in resolve_labels(by_name, IMAGENET).items() if label != data.labels[i]]
    assert set(differ) <= {"crane", "maillot"}  # the file gives these names to two classes each
