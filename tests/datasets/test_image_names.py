"""Which file of a folder a description means by a name, and what links may do."""

import unicodedata

import pytest

from detattack.core.errors import InputError
from detattack.datasets.base import folder_dataset
from detattack.datasets.image_names import IMAGE_SUFFIXES, LINKS, find_files, follows_links, image_paths, images_inside

COMPOSED = unicodedata.normalize("NFC", "café.jpg")


@pytest.fixture
def folder(tmp_path):
    """Makes empty files in `images/`."""

    def make(*names):
        for name in names:
            path = tmp_path / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / "images"

    return make


def meant(folder, *names):
    """The files that names mean, relative to the folder."""
    found = find_files(folder, names, lambda number: f"name {number}:")
    return [path and path.relative_to(folder).as_posix() for path in found]


@pytest.mark.parametrize(
    ("there", "name"),
    [
        ("a.jpg", "a.jpg"),
        ("a.jpg", "./a.jpg"),
        ("a.jpg", "train2017/a.jpg"),
        ("a.jpg", "data/images/train2017/a.jpg"),
        ("a.jpg", "A.JPG"),
        ("A.JPG", "a.jpg"),
        ("a.jpg", ".\\a.jpg"),
        ("sub/a.jpg", "sub\\a.jpg"),
        ("sub/a.jpg", "a.jpg"),
        ("sub/a.jpg", "Sub/A.jpg"),
        ("sub/a.jpg", "images/sub/a.jpg"),
        ("a.jpg", "C:\\Users\\me\\a.jpg"),
        ("a.jpg", "C:a.jpg"),
        ("a.jpg", "/home/me/data/a.jpg"),
        ("a.jpg", "../images/a.jpg"),
        ("a.jpg", "..\\images\\a.jpg"),
        ("a.jpg", "http://images.cocodataset.org/train2017/a.jpg"),
        ("a.jpg", "https://host:8080/x/a.jpg?token=1#b"),
        ("a.jpg", "file:///home/me/a.jpg"),
        ("my photo.jpg", "my%20photo.jpg"),
        ("my%20photo.jpg", "my photo.jpg"),
        ("100%.jpg", "100%.jpg"),
        (COMPOSED, unicodedata.normalize("NFD", COMPOSED)),
        (unicodedata.normalize("NFD", COMPOSED), COMPOSED),
        (COMPOSED, "caf%C3%A9.jpg"),
        ("STRASSE.jpg", "straße.jpg"),
        (".hidden.jpg", ".hidden.jpg"),
        ("photo", "photo"),
    ],
)
def test_a_name_means_the_file_that_fits(folder, there, name):
    assert meant(folder(there, "other.jpg"), name) == [there]


@pytest.mark.parametrize(
    ("there", "names"),
    [
        (["a.jpg"], ["b.jpg"]),
        (["a.jpg"], ["a.png"]),
        (["c/a.jpg"], ["b/a.jpg"]),
        (["b/a.jpg", "c/a.jpg"], ["a.jpg"]),
        (["a.jpg", "A.jpg"], ["a.JPG"]),
        (["a.jpg"], ["b/a.jpg", "c/a.jpg"]),
        (["a.jpg/b.jpg"], ["a.jpg"]),
        (["a.jpg"], ["a.jpg/b.jpg"]),
        ([".hidden.jpg"], [".HIDDEN.jpg"]),
        (["a.jpg"], ["http://[/a.png"]),
        (["a.jpg", "\\.jpg"], ["\\", "%", "x/\\"]),
    ],
)
def test_a_name_that_fits_none_or_several_means_none(folder, there, names):
    assert meant(folder(*there), *names) == [None] * len(names)


def test_the_file_of_that_very_name_comes_first(folder):
    root = folder("a.jpg", "A.jpg", "b/a.jpg", "c/a.jpg")
    assert meant(root, "a.jpg", "A.jpg", "b/a.jpg", "x/c/a.jpg") == ["a.jpg", "A.jpg", "b/a.jpg", "c/a.jpg"]
    assert meant(folder("d.jpg"), "x/d.jpg", "d.jpg") == [None, "d.jpg"]
    assert meant(root, "a.jpg", "a.jpg") == ["a.jpg", "a.jpg"]


def test_a_name_that_leaves_the_folder_is_refused_unless_others_like_it_are_inside(folder):
    root = folder("a.jpg")
    with pytest.raises(InputError, match=r"name 1: '/etc/passwd' leaves the folder"):
        meant(root, "a.jpg", "/etc/passwd")
    assert meant(root, "/data/a.jpg", "/data/b.jpg") == ["a.jpg", None]


def test_every_suffix_of_an_image(folder):
    names = [f"a{number}{suffix}" for number, suffix in enumerate(IMAGE_SUFFIXES)]
    assert {".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg"} <= set(IMAGE_SUFFIXES)
    root = folder(*names, "b.JFIF", "notes.txt", "jpg", ".jpg")
    assert {path.name for path in image_paths(root)} == {*names, "b.JFIF"}


# Links


@pytest.fixture
def links(folder, tmp_path):
    """`images/` with a file, a link to it, links out to a file and a folder, a broken one, and rings."""
    root = folder("a.jpg")
    (tmp_path / "outside" / "sub").mkdir(parents=True)
    (tmp_path / "outside" / "b.jpg").touch()
    (tmp_path / "outside" / "sub" / "c.jpg").touch()
    (tmp_path / "outside" / "sub" / "back").symlink_to(root)
    (tmp_path / "outside" / "sub" / "again").symlink_to(tmp_path / "outside")
    for name, target in {
        "inner.jpg": root / "a.jpg",
        "ring": root,
        "out.jpg": tmp_path / "outside" / "b.jpg",
        "out": tmp_path / "outside" / "sub",
        "broken.jpg": tmp_path / "nowhere.jpg",
    }.items():
        (root / name).symlink_to(target)
    return root


def test_a_link_out_of_the_folder_is_refused_with_and_without_a_description(links):
    for opened in (image_paths, folder_dataset):
        with pytest.raises(InputError, match=rf"images {links}: 3 links lead out .*; {LINKS}=1 follows them"):
            opened(links)
    assert [path.name for path in images_inside(links)] == ["a.jpg", "inner.jpg"]
    for name in ("out.jpg", "out/c.jpg"):
        with pytest.raises(InputError, match=rf"name 0: '{name}' leaves the folder .* through a link; {LINKS}=1"):
            meant(links, name)


def test_links_inside_are_files_like_others_and_broken_ones_are_missing(links):
    assert meant(links, "a.jpg", "inner.jpg", "INNER.jpg", "ring/a.jpg", "broken.jpg") == [
        "a.jpg",
        "inner.jpg",
        None,  # another name means that file
        "ring/a.jpg",
        None,
    ]


def test_links_that_are_ones_own_are_followed(links, monkeypatch):
    monkeypatch.setenv(LINKS, "1")
    assert [path.relative_to(links).as_posix() for path in image_paths(links)] == [
        *("a.jpg", "broken.jpg", "inner.jpg", "out.jpg"),
        *("out/c.jpg", "out/again/b.jpg"),
    ]
    assert meant(links, "out.jpg", "out/c.jpg", "C.JPG", "b.jpg") == ["out.jpg", "out/c.jpg", None, "out/again/b.jpg"]


def test_a_folder_that_is_a_link_itself_is_the_one_that_was_named(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder("a.jpg", "b/c.jpg"))
    assert len(image_paths(tmp_path / "link")) == 2
    assert meant(tmp_path / "link", "a.jpg") == ["a.jpg"]


@pytest.mark.parametrize("said", ["", "yes", "2"])
def test_the_environment_says_0_or_1(monkeypatch, said):
    monkeypatch.setenv(LINKS, said)
    with pytest.raises(InputError, match=f"{LINKS}={said}: neither 0 nor 1"):
        follows_links()


def test_the_current_folder(folder, monkeypatch):
    from pathlib import Path

    monkeypatch.chdir(folder("a.jpg", "sub/b.jpg"))
    assert image_paths(Path()) == [Path("a.jpg"), Path("sub/b.jpg")]
    assert find_files(Path(), ["sub/b.jpg", "A.jpg"], str) == [Path("sub/b.jpg"), Path("a.jpg")]
