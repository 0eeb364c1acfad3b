"""Tasks by their names."""

import pytest

from detattack.core.errors import InputError
from detattack.tasks.registry import find_task


def test_a_task_that_is_loaded_is_listed_once():
    find_task("detect")
    with pytest.raises(InputError, match=r"unknown task 'nosuch': known: detect, classify(?!.*detect)"):
        find_task("nosuch")
