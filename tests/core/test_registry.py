"""What is known by a name."""

import pytest

from detattack.core.errors import InputError
from detattack.core.registry import Registry


def test_entries_by_name_in_the_order_of_registration():
    registry: Registry[int] = Registry("number")
    registry.register("two", 2)
    registry.register("one", 1)
    assert (dict(registry), list(registry), len(registry)) == ({"two": 2, "one": 1}, ["two", "one"], 2)
    assert ("one" in registry, registry["one"], registry.find("two"), registry.get("six")) == (True, 1, 2, None)


def test_nothing_is_replaced_and_the_nearest_names_are_suggested():
    registry: Registry[int] = Registry("number")
    registry.register("two", 2)
    with pytest.raises(InputError, match="^number 'two': is registered already$"):
        registry.register("two", 3)
    assert registry["two"] == 2
    with pytest.raises(InputError, match="^unknown number 'tow': did you mean 'two'\\?$"):
        registry.find("tow")
