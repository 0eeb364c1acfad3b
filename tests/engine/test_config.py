"""A method by its name, with what the user changed."""

from dataclasses import asdict
from functools import partial

import pytest
import torch

from classify.task import CLASSIFICATION
from detattack.core.errors import InputError
from detattack.datasets.image_io import to_pixels, to_tensor
from detattack.engine import PRESETS
from detattack.engine.config import LEVELS, named_attack, resolve_attack
from detattack.engine.quantize import as_file
from detattack.tasks.detection.task import DETECTION


@pytest.mark.parametrize(("name", "radius"), [("2", 2), ("4", 4), ("8", 8), ("0.5", 0.5), ("255", 255), ("16.0", 16)])
def test_a_radius_in_the_name(name, radius):
    attack = resolve_attack(f"pgd-linf@{name}", floats=True)
    assert attack.name == f"pgd-linf@{radius:g}"
    assert attack.radius == pytest.approx(radius / 255)
    assert attack.step_size == pytest.approx(radius / 255 / 4)
    assert attack.max_iterations == PRESETS["pgd-linf"].max_iterations


def test_without_one_a_method_is_its_preset():
    assert named_attack("pgd-linf") is PRESETS["pgd-linf"]
    assert resolve_attack("pgd-linf") == PRESETS["pgd-linf"]


def test_other_keys_can_be_set_beside_it():
    assert resolve_attack("pgd-linf@4", overrides={"step_size": "0.01"}).step_size == 0.01


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("pgd-linf@", "above 0, at most 255"),
        ("pgd-linf@0", "above 0, at most 255"),
        ("pgd-linf@-4", "above 0, at most 255"),
        ("pgd-linf@256", "above 0, at most 255"),
        ("pgd-linf@nan", "above 0, at most 255"),
        ("pgd-linf@4@8", "above 0, at most 255"),
        ("pgd-linf@four", "above 0, at most 255"),
        ("pgd-linf@0.5", "below one gray level"),
        ("jnd@4", "jnd has no radius"),
        ("pgd-lin@4", "did you mean 'pgd-linf'"),
    ],
)
def test_bad_names(method, words):
    with pytest.raises(InputError, match=words):
        resolve_attack(method)


def test_a_name_that_says_the_radius_is_not_contradicted():
    with pytest.raises(InputError, match="says the radius already"):
        resolve_attack("pgd-linf@4", overrides={"radius": "0.5"})


@pytest.mark.parametrize("levels", [1, 3, 100, 255, 257, -1])
def test_levels_that_no_8_bit_file_holds(levels):
    with pytest.raises(InputError, match=f"levels must be one of 2, 4, 6, 16, 18, 52, 86, 256, .*not {levels}"):
        resolve_attack("jnd", overrides={"levels": levels})


@pytest.mark.parametrize("levels", LEVELS)
def test_what_is_judged_at_these_levels_is_what_a_file_holds(levels):
    seen = as_file(torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(levels)), levels)
    assert torch.equal(to_tensor(to_pixels(seen)), seen)


READERS = [partial(DETECTION.make_config, goal="suppress:all"), partial(CLASSIFICATION.make_config, loss="wrong")]


@pytest.mark.parametrize("read", READERS, ids=["detect", "classify"])
@pytest.mark.parametrize("wrong", [{"levels": 1}, {"levels": 100}, {"radius": -1}, {"step_size": -0.1}])
def test_an_attack_of_a_manifest_is_checked_as_one_of_options(read, wrong):
    attack = asdict(resolve_attack("pgd-linf")) | wrong
    with pytest.raises(InputError, match=next(iter(wrong))):
        read(attack=attack)


NUMBERS = [name for name, value in vars(PRESETS["pgd-linf"]).items() if type(value) in (int, float)]


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", [-1, "nan"])
def test_no_number_of_an_attack_is_negative_or_none(key, value):
    with pytest.raises(InputError, match=key):
        resolve_attack("pgd-linf", overrides={key: value})
