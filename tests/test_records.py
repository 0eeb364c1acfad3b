"""A record that comes from anybody is checked as it is read."""

from dataclasses import replace

import pytest

from detattack.tasks.detection.record import DetectionRecord


@pytest.mark.parametrize("name", ["id", "k", "forwards"])
@pytest.mark.parametrize(("value", "taken"), [(2**63 - 1, True), (2**63, False), (-(2**63), False)])
def test_a_whole_number_that_no_table_holds_is_refused(name, value, taken):
    values = replace(DetectionRecord(1, "a", "a.png", status="nothing"), **{name: value}).as_json()
    if taken:
        assert getattr(DetectionRecord.from_json(values), name) == value
    else:
        with pytest.raises(ValueError, match=f"{name} {value} is too large"):
            DetectionRecord.from_json(values)
