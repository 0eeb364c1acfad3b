"""A method by its name, with what the user changed."""

import pytest

from detattack.config import named_attack, resolve_attack
from detattack.engine import PRESETS
from detattack.errors import InputError


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
