"""Messages about names that are not known, and about values that do not fit."""

import pytest
from pydantic import TypeAdapter, ValidationError

from detattack.core.errors import SHOWN, InputError, first_error, unknown


@pytest.mark.parametrize(
    ("name", "known", "message"),
    [
        ("jdn", ["jnd", "fgsm"], "unknown method 'jdn': did you mean 'jnd'?"),
        ("FGSM", ["jnd", "fgsm"], "unknown method 'FGSM': did you mean 'fgsm'?"),
        ("fcos", ["torchvision/fcos", "demo"], "unknown method 'fcos': did you mean 'torchvision/fcos'?"),
        ("zzz", ["jnd", "fgsm"], "unknown method 'zzz': known: jnd, fgsm"),
        ("", ["jnd"], "unknown method '': known: jnd"),
        ("jnd", [], "unknown method 'jnd': known: none"),
    ],
)
def test_an_unknown_name(name, known, message):
    error = unknown("method", name, known)
    assert isinstance(error, InputError)
    assert str(error) == message


def test_a_long_list_is_cut():
    message = str(unknown("class", "zzz", [f"{number:03}" for number in range(2 * SHOWN + 1)]))
    assert message.endswith(f"{SHOWN - 1:03}, ... ({2 * SHOWN + 1} in all)")


def test_the_first_error_of_pydantic_in_one_line():
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(dict[str, int]).validate_python({"a": "x" * 200})
    message = first_error(caught.value)
    assert message.startswith("a: input should be a valid integer")
    assert message.endswith("...)")
    assert len(message) < 200
