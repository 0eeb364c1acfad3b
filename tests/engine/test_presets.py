"""The methods as data."""

import pytest

from detattack.core.errors import InputError
from detattack.engine.config import check_attack
from detattack.engine.presets import PRESETS, UNIT, Attack, register_method


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_valid_and_known_by_its_name(name):
    assert PRESETS[name].name == name
    assert check_attack(PRESETS[name]) is PRESETS[name]


def test_the_papers_attack_is_gradient_descent_with_every_term_of_equation_2():
    paper = PRESETS["jnd-paper"]
    assert (paper.step, paper.stop, paper.levels) == ("gd", "first", 256)
    assert (paper.loss_weight, paper.l2_weight, paper.range_weight, paper.tv_weight) == (1, 1, 1, 1)
    baseline = PRESETS["baseline"]
    assert (baseline.l2_weight, baseline.range_weight, baseline.tv_weight) == (1, 0, 0)


def test_a_value_means_something_only_beside_the_field_that_it_names():
    fields = Attack.__dataclass_fields__
    units = {name: field.metadata[UNIT] for name, field in fields.items() if UNIT in field.metadata}
    assert units == {"step": "step", "step_size": "step", "radius": "norm", "norm": "norm"}
    assert set(units.values()) <= set(fields)


def test_a_taken_name_is_refused():
    with pytest.raises(InputError, match="method 'jnd': is registered already"):
        register_method(Attack("jnd", "gd", 1.0))
