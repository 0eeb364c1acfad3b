"""Runs of several budgets beside each other: the chart on the page of each, and files that are not to be trusted."""

import json
import re
from pathlib import Path

import pytest

from detattack.engine.budget import Budget
from detattack.report.robustness import MOST_BYTES, robustness_beside
from detattack.workflows.report import write_report
from tests.report.conftest import JND, SPENDING, outcome, write_run
from tests.report.test_questions import figure, titles

TWO = Budget("linf", 2)
CHART = "AP against the budget"
ROWS = [{"method": "ensemble", "budget": f"linf:{size}", "ap_clean": 0.6, "ap": ap}
        for size, ap in ((4, 0.1), (2, 0.25), (1, 0.5))]  # fmt: skip


def write_curve(folder: Path, rows=ROWS) -> None:
    (folder / "robustness.json").write_text(json.dumps({"budgets": rows}))


@pytest.fixture
def folder(tmp_path):
    """A folder of several budgets with the run of linf:2."""
    out = tmp_path / "out"
    out.mkdir()
    write_run(out / "linf-2", [outcome(tmp_path, i, f"{i}", "success") for i in (1, 2)], attack=SPENDING)
    write_curve(out)
    return out


def page(run: Path) -> str:
    return write_report(run).read_text(encoding="utf-8")


def test_the_budgets_beside_a_run_are_drawn_as_steps(folder):
    drawn = figure(page(folder / "linf-2"), CHART)
    paths = dict(re.findall(r'<path d="([^"]*)" class="line (\w+)"', drawn))
    assert re.fullmatch(r"M[\d.]+ [\d.]+(H[\d.]+V[\d.]+){3}", next(d for d, kind in paths.items() if kind != "clean"))
    dots = re.findall("<title>(AP: [^<]*)</title>", drawn)
    assert dots == ["AP: 0.600 at 0", "AP: 0.500 at 1", "AP: 0.250 at 2", "AP: 0.100 at 4"]
    assert ">this run</text>" in drawn
    assert "clean" in paths.values()


def test_pages_that_are_there_are_linked_by_a_relative_name(folder):
    for name in ("linf-1", "linf-4"):
        (folder / name).mkdir()
    (folder / "linf-4" / "report.html").write_text("")
    assert re.findall('<a href="([^"#]*)">([^<]*)</a>', page(folder / "linf-2")) == [
        ("../linf-4/report.html", "L∞ 4/255")
    ]


def test_no_link_leads_out_of_a_page_that_is_one_file(folder):
    (folder / "linf-4").mkdir()
    (folder / "linf-4" / "report.html").write_text("")
    text = write_report(folder / "linf-2", standalone=True).read_text(encoding="utf-8")
    assert CHART in titles(text)
    assert re.findall('<a [^>]*href="([^"#]+)"', text) == []


def test_a_run_alone_has_no_such_chart(folder):
    (folder / "robustness.json").unlink()
    assert CHART not in titles(page(folder / "linf-2"))


def test_a_first_success_beside_budgets_has_no_such_chart(folder, tmp_path):
    write_run(folder / "linf-1", [outcome(tmp_path, 1, "1", "success")], attack=JND)
    assert CHART not in titles(page(folder / "linf-1"))


def test_of_several_methods_the_run_s_own_is_drawn(tmp_path):
    run = tmp_path / "pgd-linf" / "linf-2"
    run.mkdir(parents=True)
    write_curve(tmp_path, [*ROWS, *({**row, "method": "pgd-linf", "ap": row["ap"] / 2} for row in ROWS)])
    assert list(robustness_beside(run, TWO).ap.values()) == [0.25, 0.125, 0.05]
    assert robustness_beside(tmp_path / "fgsm" / "linf-2", TWO) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "[]",
        "{}",
        '{"budgets": 3}',
        '{"budgets": []}',
        *(
            json.dumps({"budgets": [{**ROWS[0], **change}, ROWS[1]]})
            for change in (
                {"ap": None},
                {"ap": "0.1"[:0]},
                {"ap": 7},
                {"ap": float("nan")},
                {"ap_clean": None},
                {"budget": "linf:nan"},
                {"budget": "../../etc"},
                {"budget": 'linf:"><script>'},
                {"budget": "l2:4"},
                {"budget": "linf:1,2"},
                {"budget": "linf:2"},
                {"budget": 4},
            )
        ),
        json.dumps({"budgets": ROWS[:1]}),
        json.dumps({"budgets": ROWS[1:2]}),
        json.dumps({"budgets": ROWS, "more": " " * MOST_BYTES}),
        json.dumps({"budgets": [*ROWS, ROWS[0]]}),
        json.dumps({"budgets": ROWS * 100}),
    ],
    ids=lambda text: text[:60],
)
def test_a_damaged_file_beside_a_run_leaves_no_chart_and_no_error(folder, text):
    (folder / "robustness.json").write_text(text)
    assert robustness_beside(folder / "linf-2", TWO) is None
    assert (folder / "robustness.json").read_text() == text


def test_the_page_of_a_run_beside_a_damaged_file_is_written(folder):
    (folder / "robustness.json").write_bytes(b"\xff\xfe{")
    text = page(folder / "linf-2")
    assert CHART not in titles(text)
    assert "AP50" in text


def test_a_run_that_was_moved_beside_others_is_not_one_of_them(folder):
    (folder / "linf-2").rename(folder / "mine")
    assert CHART not in titles(page(folder / "mine"))
