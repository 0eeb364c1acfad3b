"""`detattack universal` and `detattack apply`, from the command line to the files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detattack.tasks.detection.inference import detected
from detattack.workflows import universal as workflow
from tests.toy_pictures import marked, squares

TOY_FILE = Path(__file__).parents[1] / "toy_detector.py"
TOY = f"{TOY_FILE}:Toy"
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


def universal(*more, model=TOY):
    return ("universal", "--images", "pictures", "--annotations", "truth.json", "--model", model, *more)


def notes_of(said: str) -> list[str]:
    """List what was noted for people."""
    return [line.removeprefix("NOTE: ") for line in said.splitlines() if line.startswith("NOTE: ")]


def killed_at(monkeypatch, phase: str, at: int) -> None:
    """A search ends there as by Ctrl-C."""
    find = workflow.find

    def killed(search, out, resume, told, say):
        def tell(name, done, total):
            if (name, done) == (phase, at):
                raise KeyboardInterrupt

        return find(search, out, resume, tell, say)

    monkeypatch.setattr(workflow, "find", killed)


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


@pytest.mark.parametrize(
    ("phase", "at", "model"), [("finding", 3, TOY), ("judging", 2, TOY), ("finding", 2, f"{TOY}+noise:20")]
)
def test_a_killed_search_goes_on_to_the_same_bytes(cli, pictures, tmp_path, monkeypatch, phase, at, model):
    options = ("--budget", "l2:2", "--tile", 16, "--passes", 3, "--batch", 2, "--held-out", 8, "--quiet")
    command = universal(*options, model=model)
    assert cli(*command, "--out", "whole").status == 0
    with monkeypatch.context() as patch:
        killed_at(patch, phase, at)
        said = cli(*command, "--out", "cut")
    assert (said.status, said.out) == (130, "")
    assert "--out cut --resume goes on" in said.err
    assert (tmp_path / "cut" / "checkpoint.npz").is_file()
    assert not (tmp_path / "cut" / "result.json").exists()
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


def test_a_damaged_checkpoint_is_one_line(cli, pictures, tmp_path, monkeypatch):
    command = universal("--budget", "linf:8", "--tile", 8, "--passes", 1, "--batch", 2, "--quiet", "--out", "u")
    with monkeypatch.context() as patch:
        killed_at(patch, "finding", 2)
        assert cli(*command).status == 130
    checkpoint = tmp_path / "u" / "checkpoint.npz"
    content = checkpoint.read_bytes()
    for damaged in (content[: len(content) // 2], (pictures / "p0.png").read_bytes()):
        checkpoint.write_bytes(damaged)
        said = cli(*command, "--resume")
        assert (said.status, said.err.count("\n")) == (2, 1)
        assert "checkpoint.npz: cannot be read" in said.err


def test_a_finished_search_is_not_that_of_other_images_or_annotations(cli, pictures, tmp_path):
    other, truth = tmp_path / "other", tmp_path / "other.json"
    other.mkdir()
    Image.fromarray(squares("car@8,8", seed=99)).save(other / "new.bmp")
    content = json.loads((tmp_path / "truth.json").read_text())
    content["images"] = [{"id": 0, "file_name": "new.bmp", "width": 64, "height": 48}]
    content["annotations"] = [{**content["annotations"][0], "bbox": [8, 8, 16, 16]}]
    truth.write_text(json.dumps(content))
    tested = ("--test-images", "other", "--test-annotations", "other.json")
    command = universal("--budget", "linf:8", "--tile", 8, "--passes", 1, *tested, "--out", "u", "--quiet")
    assert cli(*command).status == 0
    assert cli(*command, "--resume").status == 0

    Image.fromarray(squares("car@8,8", seed=98)).save(other / "new.bmp")  # as many bytes
    said = cli(*command, "--resume")
    assert said.status == 2
    assert "holds another run: judged" in said.err
    Image.fromarray(squares("car@8,8", seed=99)).save(other / "new.bmp")
    assert cli(*command, "--resume").status == 0
    content["annotations"][0]["bbox"] = [0, 0, 10, 10]
    truth.write_text(json.dumps(content))
    said = cli(*command, "--resume")
    assert said.status == 2
    assert "holds another run: judged" in said.err


def test_a_search_does_not_go_on_with_other_training_images(cli, pictures, tmp_path):
    first = Image.open(pictures / "p0.png").convert("RGB")
    first.save(pictures / "p0.png", format="BMP")
    tested = ("--test-images", "other")
    (tmp_path / "other").mkdir()
    Image.fromarray(squares("car@8,8", seed=99)).save(tmp_path / "other" / "new.png")
    command = universal("--budget", "linf:8", "--tile", 8, "--passes", 1, *tested, "--out", "u", "--quiet")
    assert cli(*command).status == 0
    assert cli(*command, "--resume").status == 0
    first.rotate(180).save(pictures / "p0.png", format="BMP")  # as many bytes
    said = cli(*command, "--resume")
    assert said.status == 2
    assert "holds another run: trained" in said.err


def test_images_that_are_bad_or_that_the_model_fails_on_are_left_out(cli, pictures, tmp_path):
    (pictures / "p5.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    Image.fromarray(marked(np.array(Image.open(pictures / "p6.png")))).save(pictures / "p6.png")
    command = universal("--budget", "linf:40", "--tile", 16, "--passes", 2, "--json", model=f"{TOY_FILE}:raising")
    said = cli(*command, "--out", "u")
    assert said.status == 0, said.err
    (row,) = said.json["changes"]
    reasons = {Path(source).name: reason for source, reason in row["left_out"].items()}
    assert reasons.keys() == {"p5.png", "p6.png"}
    assert reasons["p6.png"] == "RuntimeError: out of cheese and of luck"
    assert row["left_out_images"] == 2
    assert row["training_images"] + row["judged_images"] == 10
    notes = [f"{source}: left out: {reason}" for source, reason in row["left_out"].items()]
    assert notes_of(said.err) == notes
    trained_on = json.loads((tmp_path / "u" / "change.json").read_text())["trained_on"]
    assert not row["left_out"].keys() & set(trained_on)


def test_images_that_fail_in_the_search_or_under_the_change_are_left_out(cli, pictures, tmp_path, monkeypatch):
    for i in range(0, 12, 2):
        Image.fromarray(marked(np.array(Image.open(pictures / f"p{i}.png")))).save(pictures / f"p{i}.png")
    seen = iter(range(100))

    def failing(model, config, image):
        if next(seen) == 3:  # the second image with noise
            raise MemoryError("no more")
        return detected(model, config, image)

    monkeypatch.setattr("detattack.tasks.detection.universal.judging.detected", failing)
    options = ("--budget", "linf:40", "--tile", 16, "--passes", 2, "--held-out", 3, "--out", "u", "--json")
    said = cli(*universal(*options, model=f"{TOY_FILE}:losing_gradients"))
    assert said.status == 0, said.err
    (row,) = said.json["changes"]
    assert row["judged_images"] == 2
    assert row["training_images"] == 9 - (row["left_out_images"] - 1) < 9
    assert "MemoryError: no more" in row["left_out"].values()
    assert "the model gave a loss or a gradient that is not finite" in row["left_out"].values()
    assert len(notes_of(said.err)) == row["left_out_images"]


@pytest.mark.parametrize("factory", ["raising", "losing_gradients"])
def test_a_model_that_fails_on_all_images_is_one_line(cli, pictures, factory):
    for path in pictures.iterdir():
        Image.fromarray(marked(np.array(Image.open(path)))).save(path)
    said = cli(*universal("--budget", "linf:8", "--passes", 1, "--out", "u", "--quiet", model=f"{TOY_FILE}:{factory}"))
    assert said.status == 2
    assert said.err.startswith("detattack: universal: none of the training images can be used; ")
    assert said.err.count("\n") == 1


def test_a_change_goes_onto_all_images_that_can_be_read(cli, pictures, refused, tmp_path):
    assert cli(*universal("--budget", "linf:8", "--passes", 1, "--out", "u", "--quiet")).status == 0
    (pictures / "p5.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    for name in ("p6.png", "p7.png"):
        Image.open(pictures / name).convert("L").save(pictures / name)
    said = cli("apply", "u", "--images", "pictures", "--annotations", "truth.json", "--out", "changed", "--quiet")
    assert said.status == 0, said.err
    assert len(list((tmp_path / "changed" / "images").iterdir())) == 11
    written = json.loads((tmp_path / "changed" / "annotations.json").read_text())
    assert {image["id"] for image in written["images"]} == {i for i in range(12) if i != 5}
    gray, bad = notes_of(said.err)
    assert gray.endswith("p6.png: gray converted to RGB")
    assert "p5.png: left out: " in bad
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"nothing")
    refused("apply", "u", "--images", "bad", "--out", "none", "--quiet", words=("none of the images", "a.png"))


def test_notes_of_both_sets_and_of_their_images_are_said_once(cli, pictures, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    Image.fromarray(squares("car@8,8", seed=99)).convert("RGBA").save(other / "new.png")
    content = json.loads((tmp_path / "truth.json").read_text())
    content["images"] = [{"id": 0, "file_name": "new.png", "width": 64, "height": 48}, {"id": 1, "file_name": "no.png"}]
    content["annotations"] = content["annotations"][:1]
    (tmp_path / "other.json").write_text(json.dumps(content))
    tested = ("--test-images", "other", "--test-annotations", "other.json")
    said = cli(*universal("--budget", "linf:8,9", "--tile", 8, "--passes", 1, *tested, "--out", "u", "--quiet"))
    assert said.status == 0, said.err
    missing, alpha = notes_of(said.err)
    assert "no.png" in missing
    assert alpha.endswith("new.png: alpha dropped")


def test_copies_of_images_to_judge_are_not_trained_on(cli, pictures, refused, tmp_path):
    same = tmp_path / "same"
    same.mkdir()
    for i in range(6):
        (same / f"s{i}.png").write_bytes((pictures / "p0.png").read_bytes())
    command = ("universal", "--images", "same", "--model", TOY, "--budget", "linf:8", "--passes", 1, "--out", "u")
    refused(*command, words=("copies of those to judge",))
    for i in range(3):
        (same / f"t{i}.png").write_bytes((pictures / f"p{i + 1}.png").read_bytes())
    said = cli(*command, "--held-out", 4, "--json", "--seed", 1)
    assert said.status == 0, said.err
    trained_on = json.loads((tmp_path / "u" / "change.json").read_text())["trained_on"]
    judged = json.loads((tmp_path / "u" / "run.json").read_text())["split"]
    assert len(judged) == 4
    assert not {Path(one).read_bytes() for one in trained_on} & {Path(one).read_bytes() for one in judged}
    assert any("not trained on" in note for note in notes_of(said.err))


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
        (("--budget", "linf:0.4"), ("--budget linf:0.4: below one gray level, less than 8-bit images can hold",)),
        (("--budget", "l2:0.001"), ("--budget l2:0.001: below one gray level, less than 8-bit images can hold",)),
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
