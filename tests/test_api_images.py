"""Images of any kind go in, and come back in kind, with the bytes that the command line writes."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from detattack.api import Attacked, InputError, Outcome, attack, evaluate, load_detector, open_data, scene
from detattack.cli import status_of
from tests.toy_pictures import marked, squares

PICTURES = [squares("car@8,8"), squares("car@24,16", "dog@40,24", seed=1)]
ARRAYS = np.stack(PICTURES)
TENSORS = torch.from_numpy(ARRAYS).permute(0, 3, 1, 2)


@pytest.fixture
def detector(toy):
    return load_detector(f"{toy}:factory", "cpu")


def test_a_batch_of_tensors_comes_back_as_one_with_the_bytes_of_the_command_line(detector, toy, tmp_path):
    (tmp_path / "in").mkdir()
    for number, pixels in enumerate(PICTURES):
        Image.fromarray(pixels).save(tmp_path / "in" / f"{number}.png")
    files = [str(tmp_path / "in" / f"{number}.png") for number in range(2)]
    line = ["untargeted", *files, "--model", f"{toy}:factory", "--quiet"]
    assert status_of([*line, "--out", str(tmp_path / "run")]) == 0
    found = attack(TENSORS / 255, detector)
    assert isinstance(found.images, torch.Tensor)
    assert found.images.dtype == torch.float32
    back = (found.images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    written = [np.array(Image.open(tmp_path / "run" / "images" / f"{number}.png")) for number in range(2)]
    np.testing.assert_array_equal(back, np.stack(written))
    for number, outcome in enumerate(found.outcomes):
        assert outcome.png == (tmp_path / "run" / "images" / f"{number}.png").read_bytes()


def as_uint8(images) -> np.ndarray:
    """Any kind as uint8 `[N,H,W,3]`."""
    made = [np.asarray(one) for one in images]
    made = [one.transpose(1, 2, 0) if one.shape[0] == 3 else one for one in made]
    return np.stack([one if one.dtype == np.uint8 else np.rint(one * 255).astype(np.uint8) for one in made])


KINDS = {
    "uint8 arrays": ARRAYS,
    "float arrays": ARRAYS / 255,
    "arrays, channels first": np.ascontiguousarray(ARRAYS.transpose(0, 3, 1, 2)),
    "uint8 tensors": TENSORS,
    "double tensors": TENSORS.double() / 255,
    "half tensors": (TENSORS / 255).half(),
    "tensors, channels last": torch.from_numpy(ARRAYS),
    "a list of tensors": list(TENSORS / 255),
    "Pillow images": [Image.fromarray(one) for one in PICTURES],
    "mixed": [PICTURES[0], TENSORS[1]],
}


@pytest.mark.parametrize("kind", KINDS)
def test_images_come_back_in_kind(detector, kind):
    given = KINDS[kind]
    found = attack(given, detector, method="fgsm").images
    expected = [attack(one, detector, method="fgsm").pixels for one in PICTURES]
    assert type(found) is type(given)
    for one, other in zip(found, given, strict=True):
        assert type(one) is type(other)
        assert getattr(one, "dtype", None) == getattr(other, "dtype", None)
        assert getattr(one, "shape", None) == getattr(other, "shape", None)
    np.testing.assert_array_equal(as_uint8(found), np.stack(expected))


@pytest.mark.parametrize("mode", ["I", "F", "I;16", "LAB"])
def test_a_pillow_image_of_more_than_8_bits_is_refused_as_in_a_file(detector, mode):
    with pytest.raises(InputError, match="8 bits|LAB colors"):
        attack(Image.new(mode, (64, 48)), detector, method="fgsm")


def test_what_is_done_to_a_pillow_image_is_noted(detector):
    (record,) = attack(Image.fromarray(PICTURES[0]).convert("RGBA"), detector, method="fgsm").records
    assert record.notes == ("alpha dropped",)


def test_one_image_comes_back_as_one(detector, tmp_path):
    expected = attack(PICTURES[0], detector)
    assert isinstance(expected, Outcome)
    one = attack(TENSORS[0], detector)
    assert isinstance(one, Attacked)
    assert one.images.shape == TENSORS[0].shape
    Image.fromarray(PICTURES[0]).save(tmp_path / "a.png")
    for given in (TENSORS[0], Image.fromarray(PICTURES[0]), tmp_path / "a.png", str(tmp_path / "a.png")):
        np.testing.assert_array_equal(as_uint8([attack(given, detector).images])[0], expected.pixels)


def test_floats_are_given_back_where_they_are_judged(detector):
    found = attack(TENSORS.double() / 255, detector, levels=None)
    np.testing.assert_array_equal(found.images.numpy(), np.stack([one.floats for one in found.outcomes]))
    assert not torch.equal((found.images * 255).round() / 255, found.images)


class Pairs(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return TENSORS[index], {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0)}


@pytest.mark.parametrize("given", [Pairs(), DataLoader(Pairs(), batch_size=2)], ids=["data set", "loader"])
def test_a_data_set_and_a_loader_give_a_list(detector, given):
    found = attack(given, detector, method="fgsm")
    assert [tuple(one.shape) for one in found.images] == [(3, 48, 64)] * 2
    assert found["success"] == 2


def test_scenes_folders_and_data_sets(detector, tmp_path):
    assert len(attack([scene(1), scene(2)], detector, "inject:dog@center", max_iterations=1).images) == 2
    Image.fromarray(PICTURES[0]).save(tmp_path / "a.png")
    (one,) = attack(tmp_path, detector).images
    (other,) = attack(open_data(tmp_path), detector).images
    np.testing.assert_array_equal(one, other)


def test_a_loader_of_images_alone(detector):
    given = DataLoader(TensorDataset(TENSORS), batch_size=2)
    found = attack(given, detector, method="fgsm")
    assert [tuple(one.shape) for one in found.images] == [(3, 48, 64)] * 2


def test_rendered_scenes_have_annotations():
    data = open_data(scenes=2, seed=3)
    np.testing.assert_array_equal(data.samples[1].load().pixels, scene(2, 3).image)
    assert {one["image_id"] for one in data.annotations} <= {1, 2}
    assert {"car", "person"} <= {one["name"] for one in data.categories}
    with pytest.raises(InputError, match="scene 0: not a whole number from 1 on"):
        open_data(scenes=0)
    with pytest.raises(InputError, match="limit: not of rendered scenes"):
        open_data(scenes=2, limit=1)


def test_an_ambiguous_layout_is_said():
    tensor = torch.rand(3, 48, 3)
    with pytest.warns(UserWarning, match=r"may be \[3,H,W\] or \[H,W,3\]; taken for \[3,H,W\]"):
        (sample,) = open_data([tensor]).samples
    assert sample.size == (3, 48)
    with pytest.warns(UserWarning, match=r"taken for \[H,W,3\]"):
        (sample,) = open_data([tensor.numpy()]).samples
    assert sample.size == (48, 3)


def test_old_names_of_parameters_are_still_taken(detector, tmp_path):
    assert attack(image=PICTURES[0], detector=detector).record.status == "success"
    assert evaluate(data=PICTURES[:1], detector=detector, out=tmp_path / "run")["success"] == 1


def test_an_error_of_the_model_costs_its_image(toy):
    raising = load_detector(f"{toy}:raising", "cpu")
    found = attack([marked(PICTURES[0].copy()), PICTURES[1]], raising)
    assert [record.status for record in found.records] == ["error", "success"]
    np.testing.assert_array_equal(found.images[0], marked(PICTURES[0].copy()))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (TENSORS.float(), "image 1: values run from 20 to 155, outside [0,1]; divide by 255, or pass uint8"),
        (TENSORS / 255 - 0.5, "image 1: values run from -0.4"),
        (torch.rand(2, 4, 48, 64), "image 1: expected an image, an array or a tensor uint8 [H,W,3] or [3,H,W]"),
        (torch.rand(1, 2, 3, 48, 64), "images: expected [H,W,3], [3,H,W] or a batch of them, got torch.float32"),
        (torch.zeros(0, 3, 48, 64), "images: there are none"),
        (torch.full((1, 3, 48, 64), torch.nan), "image 1: the image holds values that are not finite"),
        (DataLoader([{"pixels": 1.0}]), "images: the loader yields a dict of pixels, not images"),
        (DataLoader([1.0, 2.0]), "image 1: expected an image, an array or a tensor"),
        ("nothing.png", "nothing.png: no such file"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_are_no_images_is_said_in_a_line(detector, images, said):
    with pytest.raises(InputError) as error:
        attack(images, detector)
    assert str(error.value).startswith(said)
    assert len(str(error.value).splitlines()) == 1
