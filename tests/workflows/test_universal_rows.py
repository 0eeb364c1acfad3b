"""The rows of universal changes."""

from detattack.metrics.rates import rate
from detattack.workflows.universal_rows import rows_of


def result(name: str, missed: int, ap: dict[str, float] | None) -> dict[str, object]:
    one = {"ap": ap, "missed": rate(missed, 8), "broken": rate(0, 0)}
    return {"change_is": name, "clean": ap, "change": one, "noise": {**one, "missed": rate(1, 8)}}


def test_a_change_is_a_row_between_untouched_images_and_noise():
    rows = list(rows_of(result("linf:8", 6, {"ap": 0.25, "ap50": 0.5})))
    assert [row.texts for row in rows] == [
        ["untouched", "0.250", "0.500", "-", "-"],
        ["linf:8", "0.250", "0.500", "6 of 8", "0 of 0"],
        ["noise", "0.250", "0.500", "1 of 8", "0 of 0"],
    ]
    assert rows[0].values == {"judged": "untouched", "ap": 0.25, "ap50": 0.5, "missed": None, "broken": None}
    assert rows[1].values == {"judged": "linf:8", "ap": 0.25, "ap50": 0.5, "missed": 0.75, "broken": None}


def test_noise_of_several_changes_is_named_after_each():
    rows = rows_of(result("linf:4", 2, None), result("linf:8", 6, None))
    assert [row.judged for row in rows] == ["untouched", "linf:4", "noise, linf:4", "linf:8", "noise, linf:8"]


def test_images_without_annotations_have_no_ap():
    assert [row.texts[1:3] for row in rows_of(result("linf:4", 2, None))] == [["-", "-"]] * 3
