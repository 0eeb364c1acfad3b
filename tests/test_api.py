"""What a notebook imports."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy_pictures import squares

from detattack import api
from detattack.api import PRESETS, InputError, attack, load_detector, load_image, parse_goal, save_figure, scene
from detattack.cli import status_of
from detattack.images import to_tensor


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
        (squares() / 255, {}, "uint8 [H,W,3], got float64 [48, 64, 3]"),
        (squares()[..., 0], {}, "got uint8 [48, 64]"),
        ("photo.jpg", {}, "got str"),
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
