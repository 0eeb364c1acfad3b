"""What a notebook imports."""

import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detattack import api
from detattack.api import PRESETS, InputError, attack, load_detector, load_image, parse_goal, save_figure, scene
from detattack.cli import status_of
from detattack.core.files import write_bytes_atomic
from detattack.datasets.image_io import to_tensor
from detattack.datasets.rendered import rendered_scenes
from detattack.runs.folder import RunFolder
from detattack.tasks.detection.goals import Suppress
from detattack.tasks.detection.record import DetectionRecord
from tests.toy_pictures import squares


@pytest.fixture
def detector(toy):
    return load_detector(f"{toy}:factory", "cpu")


def cars(detector, pixels) -> int:
    (found,) = detector.detect(to_tensor(pixels)[None], 0.5)
    return len(found.of(0))


def test_everything_that_is_offered_is_there():
    assert all(hasattr(api, name) for name in api.__all__)


def test_a_car_vanishes_and_the_file_is_what_was_judged(detector, tmp_path):
    image = squares("car@8,8", "dog@40,16")
    untouched = image.copy()
    result = attack(image, detector, goal="suppress:car")
    assert (result.record.status, result.record.goal) == ("success", "suppress:car")
    assert result.record.k > 0
    assert result.record.quality["psnr"] > 30
    result.save(tmp_path / "blind.png")
    np.testing.assert_array_equal(load_image(tmp_path / "blind.png"), result.pixels)
    assert (cars(detector, image), cars(detector, result.pixels)) == (1, 0)
    np.testing.assert_array_equal(image, untouched)


def test_a_car_appears_on_the_road_of_a_scene(detector):
    place = attack(scene(1), detector, "inject:car@road", max_iterations=1).record
    assert place.box is not None
    assert place.goal == "inject:car@road"


def test_others_are_kept(detector):
    image = squares("car@8,8", "faint dog@32,16")
    result = attack(image, detector, parse_goal("inject:dog@32,16,48,32"), keep_others=True)
    assert result.record.status == "success"
    assert [label for label, _ in result.record.kept] == [0]
    assert cars(detector, result.pixels) == 1


def test_floats_by_an_override(detector):
    result = attack(squares("car@8,8"), detector, levels=None)
    assert result.record.status == "success"
    assert result.floats.shape == (3, 48, 64)


@pytest.mark.parametrize("method", ["fgsm", replace(PRESETS["fgsm"], name="mine", step_size=0.004)])
def test_methods_by_name_and_as_data(detector, method):
    record = attack(squares("car@8,8"), detector, method=method).record
    assert record.status == "success"
    assert record.quality["linf"] * 255 == pytest.approx(round(record.quality["linf"] * 255), abs=1e-3)


def test_overrides_limit_the_attack(detector):
    record = attack(squares("car@8,8"), detector, max_iterations=1, step_size=0.001).record
    assert (record.status, record.backwards) == ("failure", 1)


def test_the_threshold_decides(detector):
    assert attack(squares("car@8,8"), detector, score_threshold=0.9).record.status == "nothing"


def test_the_same_bytes_as_the_command_line(detector, toy, tmp_path):
    Image.fromarray(squares("car@8,8")).save(tmp_path / "a.png")
    out = tmp_path / "run"
    assert status_of(["untargeted", str(tmp_path / "a.png"), "--model", f"{toy}:factory", "--out", str(out)]) == 0
    result = attack(load_image(tmp_path / "a.png"), detector)
    assert (out / "images" / "a.png").read_bytes() == result.png


def test_scenes_are_those_of_the_command_line(detector, toy, tmp_path):
    out = tmp_path / "run"
    assert status_of(["targeted", "--scenes", "1", "--model", f"{toy}:factory", "--add", "dog", "--box", "random",
                      "--max-iterations", "1", "--seed", "2", "--out", str(out)]) == 0  # fmt: skip
    result = attack(scene(1, seed=2).image, detector, "inject:dog@random", max_iterations=1, seed=2)
    assert (out / "images" / "scene000001.png").read_bytes() == result.png


def test_the_five_lines_of_the_readme(tmp_path, monkeypatch, capsys):
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme.partition("## In a notebook")[2], re.DOTALL)[:1]
    assert code in api.__doc__
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert capsys.readouterr().out.startswith("success ")
    assert load_image(tmp_path / "blind.png").shape == (320, 480, 3)


def test_the_figure_of_a_result(detector, tmp_path):
    save_figure(attack(squares("car@8,8"), detector), detector, tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as figure:
        assert figure.width > 3 * 64


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (squares(), {"goal": "suppress:carr"}, "did you mean 'car'"),
        (squares(), {"goal": "vanish:car"}, "goal"),
        (squares(), {"goal": "inject:car@0,0,65,9"}, "outside the image of 64×48"),
        (squares(), {"method": "fgms"}, "did you mean 'fgsm'"),
        (squares(), {"stepsize": 1}, "did you mean 'step_size'"),
        (squares(), {"step_size": "fast"}, "step_size"),
        (squares(), {"score_threshold": 1.0}, "score_threshold"),
        (squares() / 20, {}, "outside [0,1]; divide by 255, or pass uint8"),
        (squares() / 255 - 1, {}, "what a model does to images belongs into the model"),
        (squares()[..., 0], {}, "got uint8 [48, 64]"),
        ("photo.jpg", {}, "photo.jpg: no such file"),
    ],
)
def test_bad_input_is_named(detector, image, options, words):
    with pytest.raises(InputError) as error:
        attack(image, detector, **options)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_what_the_model_raises_is_raised(toy):
    image = squares("car@8,8")
    image[0, 0] = 0
    with pytest.raises(RuntimeError, match="out of cheese"):
        attack(image, load_detector(f"{toy}:raising", "cpu"))


# What a notebook shows


def test_the_last_line_of_a_cell_is_one_short_line(detector, tmp_path):
    outcome = attack(squares("car@8,8"), detector)
    demo = load_detector("demo", "cpu")
    pixels = to_tensor(squares("car@8,8"))[None]
    shown = [
        outcome,
        outcome.record,
        attack(squares(), detector),
        scene(8),
        demo,
        demo.candidates(pixels),
        demo.detect(pixels, 0.0)[0],
        *detector.detect(to_tensor(squares())[None], 0.5),
        parse_goal("suppress:car"),
        PRESETS["jnd"],
        *rendered_scenes(2, 0).samples,
        rendered_scenes(2, 0),
        rendered_scenes(1, 0).samples[0].load(),
    ]
    for one in shown:
        assert 0 < len(repr(one)) < 420
        assert len(repr(one).splitlines()) == 1
    assert repr(outcome).startswith("Outcome(DetectionRecord(1, 'image', 'success', k ")
    assert repr(outcome).endswith("image 64×48)")
    assert repr(demo) == "TorchvisionRetinaNet('demo', 8 classes, cpu)"
    assert repr(rendered_scenes(2, 0)).startswith("Dataset(2 images, ")


def test_a_run_folder_and_a_run_are_shown_in_a_line(toy, tmp_path):
    out = tmp_path / "run"
    Image.fromarray(squares("car@8,8")).save(tmp_path / "a.png")
    assert status_of(["untargeted", str(tmp_path / "a.png"), "--model", f"{toy}:factory", "--out", str(out)]) == 0
    with closing(RunFolder.open(out, DetectionRecord)) as folder:
        assert repr(folder) == f"RunFolder({str(out)!r})"
        assert all(len(repr(record)) < 200 for record in folder.iterate())


def test_a_name_is_needed_to_save(detector):
    with pytest.raises(InputError, match="save it as a .png"):
        attack(scene(8).image, detector, max_iterations=1).save("")


@pytest.mark.parametrize("name", ["x.jpg", "x.JPEG", "x.webp", "x.bmp", "x", "x.png.txt"])
def test_only_png_is_saved(detector, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = attack(squares("car@8,8"), detector, max_iterations=1)
    with pytest.raises(InputError) as error:
        result.save(name)
    assert str(error.value).startswith(f"{name}: ")
    assert "png" in str(error.value).lower()
    assert ("lossy" in str(error.value)) == (Path(name).suffix.lower() in (".jpg", ".jpeg", ".webp"))
    assert list(tmp_path.iterdir()) == []


def test_png_in_capitals_is_one(detector, tmp_path):
    attack(squares("car@8,8"), detector, max_iterations=1).save(tmp_path / "X.PNG")
    assert (tmp_path / "X.PNG").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("write", ["save", "save_figure"])
def test_errors_name_the_path_that_was_given(detector, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = attack(squares("car@8,8"), detector, max_iterations=1)
    with pytest.raises(InputError) as error:
        result.save("no such/a.png") if write == "save" else save_figure(result, detector, "no such/a.png")
    assert str(error.value) == "no such/a.png: cannot be written (No such file or directory)"


def test_a_failed_write_names_the_file_and_not_the_temporary_one(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        write_bytes_atomic(tmp_path / "gone" / "a.png", b"x")
    assert error.value.filename == str(tmp_path / "gone" / "a.png")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder") as error:
        write_bytes_atomic(tmp_path / "folder", b"x")
    assert ".tmp-" not in str(error.value)


def test_a_detector_by_its_name():
    record = attack(scene(8), "demo", max_iterations=1).record
    assert record.backwards == 1


NO_PATHS = [None, 7, ["a.png"], {}, torch.nn.Linear(1, 1)]


@pytest.mark.parametrize("path", NO_PATHS)
def test_what_is_no_path_is_bad_input(path, detector):
    result = attack(squares("car@8,8"), detector, max_iterations=1)
    calls = [
        lambda: load_image(path),
        lambda: load_detector(path),
        lambda: result.save(path),
        lambda: save_figure(result, detector, path),
    ]
    calls += [] if path is None else [lambda: load_detector("demo", weights=path)]
    calls += [] if path is None else [lambda: load_detector("demo", categories=path)]
    for call in calls:
        with pytest.raises(InputError):
            call()


@pytest.mark.parametrize("number", [0, -1, 1.5, "8", None, True, np.nan, 2**63])
def test_scenes_that_are_none(number):
    with pytest.raises(InputError, match="not a whole number"):
        scene(number)
    with pytest.raises(InputError, match="not a whole number"):
        scene(1, -1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image": None}, "got NoneType"),
        ({"image": [squares(), 5]}, "image 2: expected an image"),
        ({"image": {"pixel_values": 1}}, "got dict"),
        ({"image": squares()[:0]}, "got uint8 [0, 64, 3]"),
        ({"image": np.full((48, 64, 3), np.nan)}, "not finite"),
        ({"image": squares().astype(bool)}, "got bool"),
        ({"image": torch.from_numpy(squares())[..., 0]}, "got torch.uint8 [48, 64]"),
        ({"image": torch.zeros(3, 48, 64, dtype=torch.bfloat16)}, "got torch.bfloat16 [3, 48, 64]"),
        ({"detector": torch.nn.Linear(1, 1)}, "Linear is no Detector, it lacks name, categories"),
        ({"detector": None}, "NoneType is no Detector"),
        ({"detector": "dem"}, "did you mean 'demo'"),
        ({"goal": ["suppress:car"]}, "goal: expected a text"),
        ({"goal": Suppress("car", 5)}, "goal: its place"),
        ({"goal": Suppress("car", (np.nan, 1, 2, 3))}, "not four numbers"),
        ({"method": None}, "method: expected a name"),
        ({"method": ["jnd"]}, "method: expected a name"),
        ({"score_threshold": np.nan}, "score_threshold"),
        ({"score_threshold": None}, "score_threshold"),
        ({"step_size": np.nan}, "step_size"),
        ({"max_iterations": np.inf}, "max_iterations"),
        ({"max_iterations": 10**30}, "max_iterations"),
        ({"levels": np.nan}, "levels"),
        ({"seed": None}, "seed"),
        ({"seed": -1}, "seed"),
        ({"keep_others": "perhaps"}, "keep_others"),
    ],
)
def test_bad_input_of_a_notebook_is_named_in_a_line(detector, options, words):
    given = {"image": squares("car@8,8"), "detector": detector, "max_iterations": 1, **options}
    with pytest.raises(InputError) as error:
        attack(**given)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("goal", [None, 5, b"suppress:car"])
def test_a_goal_that_is_no_text(goal):
    with pytest.raises(InputError, match="not of the form"):
        parse_goal(goal)
