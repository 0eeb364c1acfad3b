"""`detattack universal` and `detattack apply`, from the command line to the files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detattack.workflows import universal as workflow
from tests.toy_pictures import squares

TOY = f"{Path(__file__).parents[1] / 'toy_detector.py'}:Toy"
KEPT = ("change.npy", "change.png", "change.json", "result.json")


@pytest.fixture
def pictures(tmp_path):
    """Twelve images of two sizes with a car at places of their own, annotated; one of them has a dog too."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    images, annotations = [], []
    for i in range(12):
        x, y = 8 * (i % 5), 8 * (i % 3)
        places = [f"car@{x},{y}", *(["dog@40,24"] if i == 3 else [])]
        width, height = (64, 48) if i % 2 else (80, 56)
        Image.fromarray(squares(*places, width=width, height=height, seed=i)).save(folder / f"p{i}.png")
        images.append({"id": i, "file_name": f"p{i}.png", "width": width, "height": height})
        annotations.append({"id": i + 1, "image_id": i, "category_id": 3, "bbox": [x, y, 16, 16], "area": 256})
    names = [{"id": 3, "name": "car"}, {"id": 18, "name": "dog"}, {"id": 1, "name": "person"}]
    (tmp_path / "truth.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": names})
    )
    return folder


def universal(*more):
    return ("universal", "--images", "pictures", "--annotations", "truth.json", "--model", TOY, *more)


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in KEPT}


def test_a_perturbation_that_is_worse_than_noise_on_images_it_never_saw(cli, pictures, tmp_path):
    said = cli(*universal("--budget", "linf:40", "--tile", 16, "--passes", 20, "--out", "u", "--json"))
    assert said.status == 0, said.err
    (row,) = said.json["changes"]
    assert (row["change_is"], row["training_images"], row["judged_images"]) == ("linf:40", 6, 6)
    assert row["clean"]["ap"] == 1.0
    assert row["change"]["missed"]["rate"] == row["change"]["broken"]["rate"] == 1.0
    assert row["change"]["ap"]["ap"] == 0.0
    assert row["noise"]["missed"]["rate"] < 0.5
    assert np.abs(np.load(tmp_path / "u" / "change.npy")).max() <= np.float32(40 / 255)
    assert len(list((tmp_path / "u" / "figures").glob("*.png"))) == 4
    assert not (tmp_path / "u" / "checkpoint.npz").exists()
    trained = {Path(one).name for one in json.loads((tmp_path / "u" / "change.json").read_text())["trained_on"]}
    assert len(trained) == 6

    said = cli("report", "u")
    assert (said.status, said.out.strip()) == (0, str(Path("u") / "report.html")), said.err
    page = (tmp_path / "u" / "report.html").read_text()
    assert all(text in page for text in ("linf:40", "found on 6 images", "6 of 6", "step"))
    assert page.count("data:image/webp") == 5

    said = cli("apply", "u", "--images", "pictures", "--annotations", "truth.json", "--out", "changed", "--quiet")
    assert (said.status, Path(said.out.strip())) == (0, Path("changed") / "images")
    for path in pictures.iterdir():
        original, changed = (np.array(Image.open(one)) for one in (path, tmp_path / "changed" / "images" / path.name))
        assert original.shape == changed.shape
        assert np.abs(original.astype(int) - changed).max() <= 40
    evaluate = ("evaluate", "--images", "changed/images", "--annotations", "changed/annotations.json")
    said = cli(*evaluate, "--model", TOY, "--goal", "degrade:all", "--quality", "quick", "--out", "e", "--json")
    assert said.json["summary"]["ap"]["clean"]["ap"] == 0.0


def test_a_patch_goes_onto_objects_of_its_class_alone(cli, pictures, tmp_path):
    patch = ("--patch", 8, "--on", "car", "--share", 0.25, "--passes", 20)
    said = cli(*universal(*patch, "--out", "u", "--json"))
    assert said.status == 0, said.err
    (row,) = said.json["changes"]
    assert row["change_is"] == "patch:8 of 0.25"
    assert row["change"]["missed"]["rate"] == 1.0
    assert np.load(tmp_path / "u" / "change.npy").shape == (3, 8, 8)
    said = cli("apply", "u", "--images", "pictures", "--annotations", "truth.json", "--out", "changed", "--quiet")
    assert said.status == 0
    before, after = (np.array(Image.open(folder / "p3.png")) for folder in (pictures, tmp_path / "changed" / "images"))
    changed = (before != after).any(2)
    assert changed[4:12, 28:36].mean() > 0.9, "the middle of the car"
    changed[4:12, 28:36] = False
    assert not changed.any()


def test_several_budgets_are_a_table_with_a_folder_each(cli, pictures, tmp_path):
    said = cli(*universal("--budget", "linf:4,24", "--tile", 16, "--passes", 6, "--out", "u"))
    assert said.status == 0, said.err
    assert (tmp_path / "u" / "linf-4" / "result.json").is_file()
    assert (tmp_path / "u" / "linf-24" / "result.json").is_file()
    for words in ("untouched", "linf:4", "noise, linf:24", "found on 6 images, judged on 6 others"):
        assert words in said.out


@pytest.mark.parametrize("what", [("finding", 3), ("judging", 2)])
def test_a_killed_search_goes_on_to_the_same_bytes(cli, pictures, tmp_path, monkeypatch, what):
    command = universal("--budget", "l2:2", "--tile", 16, "--passes", 3, "--batch", 2, "--quiet")
    assert cli(*command, "--out", "whole").status == 0
    phase, at = what
    find = workflow.find

    def killed(search, out, resume, told, say):
        def tell(name, done, total):
            if (name, done) == (phase, at):
                raise KeyboardInterrupt

        return find(search, out, resume, tell, say)

    monkeypatch.setattr(workflow, "find", killed)
    said = cli(*command, "--out", "cut")
    assert (said.status, said.out) == (130, "")
    assert "--out cut --resume goes on" in said.err
    assert (tmp_path / "cut" / "checkpoint.npz").is_file()
    assert not (tmp_path / "cut" / "result.json").exists()
    monkeypatch.setattr(workflow, "find", find)
    said = cli(*command, "--out", "cut", "--resume", "--passes", 4)
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert "holds another run" in said.err
    assert cli(*command, "--out", "cut", "--resume").status == 0
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert cli(*command, "--out", "cut", "--resume", "--json").json["changes"][0]["change_is"] == "l2:2"


def test_a_second_source_is_judged_and_must_not_overlap(cli, pictures, refused, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    Image.fromarray(squares("car@8,8", seed=99)).save(other / "new.png")
    test = ("--budget", "linf:24", "--tile", 16, "--passes", 2, "--test-images", "other", "--out", "u", "--json")
    (row,) = cli(*universal(*test)).json["changes"]
    assert (row["training_images"], row["judged_images"], row["clean"]) == (12, 1, None)
    (other / "copy.png").write_bytes((pictures / "p0.png").read_bytes())
    more = ("--budget", "linf:8", "--test-images", "other", "--out", "v")
    refused(*universal(*more), words=("copy.png", "is trained on too", "p0.png"))


def test_embedded_detectors_and_rendered_scenes(cli):
    budget = (
        "--scenes",
        4,
        "--held-out",
        1,
        "--budget",
        "linf:16",
        "--passes",
        2,
        "--batch",
        2,
        "--out",
        "u",
        "--json",
    )
    said = cli("universal", *budget)
    assert said.status == 0, said.err
    (row,) = said.json["changes"]
    assert row["change"]["ap"]["ap"] < row["clean"]["ap"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), ("--budget", "--patch")),
        (("--budget", "linf:8", "--patch", 8), ("either a budget", "or a patch")),
        (("--tile", 8, "--patch", 8), ("--tile goes with --budget",)),
        (("--budget", "linf:8", "--share", 0.1), ("--share goes with --patch",)),
        (("--budget", "lift:8"), ("unknown norm", "linf")),
        (("--budget", "linf:8", "--tile", 0), ("--tile 0", "from 1 to 1024")),
        (("--patch", 5000, "--on", "car"), ("--patch 5000", "from 1 to 1024")),
        (("--patch", 8, "--on", "car", "--share", 1.5), ("--share 1.5", "at most 1")),
        (("--patch", 8, "--on", "cat"), ("unknown class 'cat'",)),
        (("--patch", 8, "--on", "person"), ("none of the training images has a person",)),
        (("--budget", "linf:8", "--held-out", 12), ("--held-out 12", "12 images")),
        (("--budget", "linf:8", "--held-out", 0), ("--held-out 0",)),
        (("--budget", "linf:8", "--held-out", 2, "--test-images", "x"), ("--test-images and --held-out",)),
        (("--budget", "linf:8", "--test-annotations", "x"), ("--test-annotations needs --test-images",)),
        (("--budget", "linf:8", "--test-images", "nowhere"), ("nowhere",)),
        (("--budget", "linf:8", "--loss", "fear"), ("unknown loss 'fear'",)),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(refused, pictures, more, words):
    refused(*universal("--out", "u", *more), words=words)


def test_bad_changes_and_folders_are_refused(cli, refused, pictures, tmp_path):
    apply = ("apply", "u", "--images", "pictures", "--out", "changed")
    refused(*apply, words=("change u", "detattack universal"))
    assert cli(*universal("--patch", 8, "--on", "car", "--passes", 1, "--out", "u", "--quiet")).status == 0
    refused(*apply, words=("--annotations",))
    refused(*apply[:-1], "pictures", "--annotations", "truth.json", words=("pictures", "not empty"))


def test_a_page_of_a_search_that_is_not_finished_or_damaged(cli, pictures, tmp_path):
    assert cli(*universal("--budget", "linf:40", "--tile", 8, "--passes", 1, "--out", "u", "--quiet")).status == 0
    (tmp_path / "u" / "result.json").write_text('{"change_is": "linf:40"}')
    said = cli("report", "u")
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert "result.json or change.json is damaged" in said.err
    (tmp_path / "u" / "result.json").unlink()
    said = cli("report", "u")
    assert (said.status, said.err) == (2, "detattack: u: the search is not finished; --resume goes on\n")
