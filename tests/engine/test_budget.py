"""Budgets: their text, what they make of a method, and which methods spend one."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detattack.core.errors import InputError
from detattack.engine import PRESETS
from detattack.engine.budget import Budget, budget_of, check_floats, parse_budgets
from detattack.engine.config import check_attack

SPENT_BY = {
    "ensemble": {"linf", "l2", "rms"},
    "square": {"linf"},
    "pgd-linf": {"linf"},
    "fgsm": {"linf"},
    "pgd-l2": {"l2", "rms"},
}
NO_BUDGET = ("deepfool", "noise", "cw", "fmn", "ddn", "jnd", "jnd-min", "jnd-min-quick", "jnd-paper", "baseline", "fgv")


def one_line(error) -> str:
    said = str(error.value)
    assert len(said.splitlines()) == 1
    return said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linf:2", ["linf:2"]),
        (" l2:1.0 ", ["l2:1"]),
        ("rms:0.5", ["rms:0.5"]),
        ("linf:8,0.5, 2", ["linf:0.5", "linf:2", "linf:8"]),
        ("linf:255", ["linf:255"]),
        ("l2:300", ["l2:300"]),
        ("linf:1e-1", ["linf:0.1"]),
    ],
)
def test_budgets_are_read_and_come_smallest_first(text, expected):
    assert [str(budget) for budget in parse_budgets(text)] == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("linf", ("not of the form", "linf:2")),
        ("linf:", ("not of the form",)),
        ("", ("not of the form",)),
        ("2", ("not of the form",)),
        ("linf:0", ("'0'", "above 0")),
        ("linf:-1", ("'-1'", "above 0")),
        ("linf:nan", ("'nan'",)),
        ("l2:inf", ("'inf'",)),
        ("linf:1,,2", ("''",)),
        ("linf:two", ("'two'",)),
        ("linf:256", ("256", "255")),
        ("rms:255.5", ("255.5", "255")),
        ("lin:2", ("norm", "'lin'", "linf")),
        ("l1:2", ("norm", "'l1'", "l2")),
        ("LINF:2", ("norm", "'LINF'")),
        ("linf:2,2.0", ("linf:2", "twice")),
        ("linf:1,2,1", ("linf:1", "twice")),
    ],
)
def test_what_is_no_budget_is_one_line(text, words):
    with pytest.raises(InputError) as error:
        parse_budgets(text)
    said = one_line(error)
    assert "--budget " in said
    assert all(word in said for word in words), said


def test_budgets_that_are_written_the_same_are_the_same():
    """Six digits are what folders and tables say; two budgets must not share a folder."""
    with pytest.raises(InputError, match="twice"):
        parse_budgets("linf:1.00000001,1.00000002")


@settings(deadline=None)
@given(st.text(max_size=20) | st.from_regex(r"(linf|l2|rms):[-0-9.,eE+naif ]{0,12}", fullmatch=True))
def test_any_text_is_budgets_or_one_line(text):
    try:
        budgets, complaint = parse_budgets(text), ""
    except InputError as error:
        budgets, complaint = (), str(error)
    assert len(complaint.splitlines()) == (not budgets)
    assert budgets == tuple(sorted(budgets, key=lambda budget: budget.size))
    assert all(0 < budget.size < math.inf for budget in budgets)
    assert len({budget.folder for budget in budgets}) == len(budgets)


@settings(deadline=None)
@given(st.sampled_from(["linf", "l2", "rms"]), st.floats(0.001, 255))
def test_an_attack_tells_the_budget_that_it_spends(norm, size):
    budget = Budget(norm, float(f"{size:.6g}"))
    method = "pgd-linf" if norm == "linf" else "pgd-l2"
    for name in ("ensemble", method):
        assert budget_of(budget.spent_by(PRESETS[name])) == budget
    assert parse_budgets(str(budget)) == (budget,)


def test_a_first_success_and_a_smallest_one_spend_no_budget():
    assert [name for name, attack in PRESETS.items() if budget_of(attack)] == ["ensemble"]


def test_units_and_names():
    linf, l2, rms = Budget("linf", 2), Budget("l2", 1.5), Budget("rms", 0.5)
    assert [one.radius for one in (linf, l2, rms)] == [2 / 255, 1.5, 0.5 / 255]
    assert [one.folder for one in (linf, l2, rms)] == ["linf-2", "l2-1.5", "rms-0.5"]
    assert [one.label for one in (linf, l2, rms)] == ["L∞ 2/255", "L2 1.5", "RMS 0.5/255"]


@pytest.mark.parametrize("name", sorted(set(SPENT_BY) | set(NO_BUDGET)))
@pytest.mark.parametrize("norm", ["linf", "l2", "rms"])
def test_who_spends_what(name, norm):
    budget = Budget(norm, 2.0)
    if norm in SPENT_BY.get(name, ()):
        spent = check_attack(budget.spent_by(PRESETS[name]))
        assert (spent.name, spent.radius, spent.norm, spent.stop) == (name, budget.radius, norm, "worst")
        assert (spent.refine, spent.undo, spent.growth) == (0, 0, 1)
        assert 0 < spent.step_size <= spent.radius
        return
    with pytest.raises(InputError) as error:
        budget.spent_by(PRESETS[name])
    said = one_line(error)
    assert f"--budget {budget}" in said
    assert name in said
    assert "ensemble" in said
    assert ("another norm" in said) == (name in SPENT_BY)


def test_every_method_is_among_those():
    assert set(PRESETS) <= set(SPENT_BY) | set(NO_BUDGET)


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("linf:0.5", True),
        ("linf:0.999", True),
        ("linf:1", False),
        ("l2:0.0039", True),
        ("l2:0.004", False),
        ("rms:0.01", False),
    ],
)
def test_which_budgets_no_file_can_hold(text, needs):
    (budget,) = parse_budgets(text)
    assert budget.needs_floats == needs
    check_floats([budget], floats=True)
    if needs:
        with pytest.raises(InputError, match=r"--float") as error:
            check_floats([budget], floats=False)
        one_line(error)
        check_floats([budget, Budget(budget.norm, 4)], floats=False)
    else:
        check_floats([budget], floats=False)
