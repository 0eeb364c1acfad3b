"""A detector behind a defense: what it is shown, what gradient comes back, and what is random about it."""

import pytest
import torch

from detattack.core.errors import InputError
from detattack.datasets.corruptions import parse_corruption
from detattack.datasets.corruptions.differentiable import corrupted
from detattack.detectors.defended import DRAWS, HELD_IN, Defended, Defense, load_defense
from detattack.detectors.registry import fingerprint, load_detector
from detattack.detectors.several import descended_of, judges_of
from tests.toy_detector import Toy

DEFENSES = """
import random
import torch

def identity(): return lambda images: images
def halved(): return lambda images: images / 2
def rounded(): return lambda images: (images * 4).round() / 4
def detached(): return lambda images: images.detach().clone()
def noisy(): return lambda images: (images + 0.02 * torch.randn_like(images)).clamp(0, 1)
def secret(): return lambda images: images * random.random()
def smaller(): return lambda images: images[..., :-1]
def lost(): return lambda images: images * torch.nan
def bright(): return lambda images: images + 1
def bytes_(): return lambda images: (images * 255).to(torch.uint8)
def nothing(): return lambda images: None
def raising(): return lambda images: 1 / 0
def no_function(): return 3
def broken(): raise RuntimeError("no luck")
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "defenses.py"
    path.write_text(DEFENSES)
    return path


@pytest.fixture
def images():
    return (torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0)) * 255).round() / 255


def test_inference_and_candidates_see_defended_images(images):
    toy, jpeg = Toy("cpu"), parse_corruption("jpeg:30")
    defended = Defended(toy, load_defense("jpeg:30"))
    expected = toy.candidates(corrupted(images, jpeg)).logits
    assert torch.equal(defended.candidates(images).logits, expected)
    found, wanted = defended.detect(images, 0.01), toy.detect(corrupted(images, jpeg), 0.01)
    assert all(torch.equal(one.scores, other.scores) for one, other in zip(found, wanted, strict=True))
    assert defended.name == "toy+jpeg:30"


def test_a_name_loads_it_and_the_defense_is_part_of_its_fingerprint():
    plain, defended, other = (load_detector(name, "cpu") for name in ("demo", "demo+jpeg:75", "demo+jpeg:80"))
    assert isinstance(defended, Defended)
    assert defended.name == "demo+jpeg:75"
    assert len({fingerprint(plain), fingerprint(defended), fingerprint(other)}) == 3


def gradient(defended, images):
    images = images.clone().requires_grad_()
    return torch.autograd.grad(defended.candidates(images).logits.sum(), images)[0]


@pytest.mark.parametrize(("name", "factor"), [("identity", 1.0), ("halved", 0.5), ("rounded", 1.0), ("detached", 1.0)])
def test_its_own_gradient_or_straight_through(file, images, name, factor):
    toy = Toy("cpu")
    plain = gradient(toy, images)
    torch.testing.assert_close(gradient(Defended(toy, load_defense(f"{file}:{name}")), images), factor * plain)


def test_draws_follow_from_the_image_and_the_number(file, images):
    defense = load_defense(f"{file}:noisy")
    assert defense.random
    one, again, other = (Defended(Toy("cpu"), defense, draw) for draw in (0, 0, 1))
    assert torch.equal(one.defend(images), again.defend(images))
    assert torch.equal(one.defend(images)[1:], one.defend(images[1:])), "neighbors in the batch do not matter"
    assert not torch.equal(one.defend(images), other.defend(images))
    before = torch.random.get_rng_state()
    one.defend(images)
    assert torch.equal(torch.random.get_rng_state(), before), "the caller's randomness is left alone"


def test_a_range_draws_and_one_strength_does_not():
    fixed, drawn = load_defense("resize:0.5"), load_defense("resize:0.5..1")
    assert (fixed.random, drawn.random) == (False, True)
    assert len(judges_of(Defended(Toy("cpu"), fixed))) == 1
    judges = judges_of(Defended(Toy("cpu"), drawn))
    assert [judge.draw for judge in judges] == list(range(HELD_IN))
    assert descended_of(Defended(Toy("cpu"), drawn))[-1].draw == DRAWS - 1
    assert all(judges_of(judge) == (judge,) for judge in judges)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("smaller", "returns float32 [1, 3, 96, 127] of an image float32 [1, 3, 96, 128]"),
        ("lost", "returns values that are not finite"),
        ("bright", "outside [0,1]"),
        ("bytes_", "returns uint8"),
        ("nothing", "returns NoneType, not a tensor"),
        ("raising", "fails (ZeroDivisionError"),
        ("no_function", "returned int, not a function"),
        ("broken", "its factory failed (RuntimeError: no luck)"),
        ("secret", "random in a way that torch.manual_seed does not decide"),
        ("unknown", "has no function 'unknown'"),
    ],
)
def test_a_file_that_breaks_the_contract_is_refused(file, name, words):
    with pytest.raises(InputError) as error:
        load_defense(f"{file}:{name}")
    assert words in str(error.value)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("jpg:75", "'jpeg'"),
        ("jpeg", "a quality, from 1 to 100"),
        ("nonsense", "unknown defense 'nonsense'"),
        ("", "unknown defense ''"),
        ("shift:2", "moves what is in the image"),
        ("jpeg:75+crop:3", "moves what is in the image"),
        ("away.py:factory", "no such file"),
    ],
)
def test_a_name_of_no_defense_is_refused(text, words):
    with pytest.raises(InputError, match="(?s).*") as error:
        load_defense(text)
    assert words in str(error.value)


def test_what_a_function_does_to_other_images_is_checked_too(images):
    defense = Defense("odd", lambda image, seed: image[..., :-1])
    with pytest.raises(ValueError, match="odd: returns"):
        Defended(Toy("cpu"), defense).detect(images, 0.5)
