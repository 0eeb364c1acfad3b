import pytest

from detattack.report.method_titles import method_title


@pytest.mark.parametrize(
    ("name", "title"),
    [("jnd", "JND"), ("jnd-paper", "JND (paper)"), ("pgd-linf@4", "PGD L∞ ≤ 4/255"), ("pgd-linf", "PGD L∞"),
     ("baseline", "Baseline")],
)  # fmt: skip
def test_how_a_figure_spells_a_method(name, title):
    assert method_title(name) == title
