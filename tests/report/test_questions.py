"""A run asks for a first success, or for the harm within a budget: its page says which, and shows what it asks."""

import json
import re
import sqlite3
import statistics
from dataclasses import replace

import pytest

from detattack.core.wording import counted
from detattack.metrics.coco import GroundTruth, PrecisionTable, mean_ap
from detattack.report.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from detattack.tasks.detection import charts
from detattack.tasks.detection.run_data import read, read_coco
from detattack.workflows.report import write_report
from tests.report.conftest import SPENDING, outcome, write_run
from tests.report.test_page import page_of

DISTANCES = ("AP against L∞", "AP against L2", "AP against RMS")


def cards(text: str) -> dict[str, tuple[str, str]]:
    """The value and the note of each card."""
    found = re.findall(
        r'class="label">([^<]*)</div>\s*<div class="value">([^<]*)</div>.*?class="note">([^<]*)</div>', text, re.S
    )
    return {label: (value, note) for label, value, note in found}


def titles(text: str) -> list[str]:
    return re.findall("<h3>([^<]*)</h3>", text)


def lead(text: str) -> str:
    return text.partition('<p class="lead">')[2].partition("</p>")[0]


def figure(text: str, title: str) -> str:
    return text.partition(f"<h3>{title}</h3>")[2].partition("</figure>")[0]


@pytest.fixture
def spending(tmp_path):
    """A run with the budget linf:2: three images broken, two not, one broken untouched and attacked all the same."""
    statuses = ("success", "failure", "success", "failure", "success", "success")
    outcomes = [outcome(tmp_path, i, f"{i:02d}", status) for i, status in enumerate(statuses, 1)]
    outcomes[5] = replace(outcomes[5], record=replace(outcomes[5].record, status="already"))
    return write_run(tmp_path / "linf-2", outcomes, attack=SPENDING)


def test_a_run_without_a_kind_is_one_of_first_success(run):
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({k: v for k, v in summary.items() if k not in ("kind", "budget")}))
    text = write_report(run).read_text(encoding="utf-8")
    assert "<span>first success</span>" in lead(text)
    assert "budget" not in lead(text)
    assert "<b>First success</b> asks how small a change it takes until" in text
    assert {"Success rate", "AP", "Median K", "Median L2"} <= cards(text).keys()
    assert not {"Broken", "AP50", "Mean L2"} & cards(text).keys()


def test_a_budget_run_is_told_over_all_attacked_images(spending):
    text = write_report(spending).read_text(encoding="utf-8")
    data, shown = read(spending), cards(text)
    scores, above = data.summary["ap"], data.summary["above_threshold"]
    assert "<span>budget L∞ 2/255, the worst image kept</span>" in lead(text)
    assert "first success" not in text.lower()
    for label, sides, key, form in (
        ("AP", scores, "ap", ".3f"),
        ("AP50", scores, "ap50", ".3f"),
        ("Recall", above, "recall", ".3f"),
        ("False positives", above, "false_positives_per_image", ".2f"),
    ):
        before, after = (format(sides[side][key], form) for side in ("clean", "adversarial"))
        assert shown[label][0] == f"{before} → {after}"
    assert shown["Broken"] == ("60.0%", "3 of 5 not broken untouched, 95% interval 23.1–88.2%")
    qualities = [r.quality for r in data.records]
    assert len(qualities) == 6
    assert shown["Mean L2"][0] == f"{statistics.fmean(q['l2'] for q in qualities):.4f}"
    assert shown["Mean RMS"] == (
        f"{statistics.fmean(q['rms'] for q in qualities):.3f}",
        "gray levels, all 6 attacked images",
    )
    assert shown["Mean L∞"][1] == "10/255, all 6 attacked images"
    assert shown["Backward passes"][0] == "3.5"  # of 1 to 6
    assert not [label for label in shown if label.startswith("Median") or label == "Success rate"]


def test_the_distances_of_a_budget_run_are_of_all_attacked_images(spending, run):
    for folder, over, first, count in ((spending, "all attacked images", "iteration of the worst", 6),
                                       (run, "the successes", "K", 7)):  # fmt: skip
        table = write_report(folder).read_text(encoding="utf-8").partition("<h3>Distances and cost</h3>")[2]
        assert f"Distances and similarities over {over}" in table
        assert re.search('<th scope="row">([^<]*)</th>', table)[1] == first
        assert re.search(r'<th scope="row">L2</th><td>(\d+)</td>', table)[1] == str(count)


def test_charts_of_success_within_a_distance_are_for_first_success_alone(spending, run):
    asked = {*DISTANCES, "Success against distance", "Iterations to success", "Success against τ"}
    first, budget = (set(titles(write_report(folder).read_text(encoding="utf-8"))) for folder in (run, spending))
    assert asked <= first
    assert not asked & budget
    assert {"Broken against τ", "AP against τ", "AP by class", "COCO&#39;s figures"} <= budget


def test_statuses_have_the_words_of_the_question(spending, run):
    assert page_of(spending).data["said"] == ["broken", "not broken", "skipped: nothing to attack",
                                              "broken untouched", "error"]  # fmt: skip
    assert page_of(run).data["said"] == ["success", "failure", "skipped: nothing to attack",
                                         "skipped: already holds", "error"]  # fmt: skip


def test_an_image_that_was_attacked_although_it_was_broken_shows_its_change(spending):
    image = page_of(spending).data["images"][5]
    assert image["p"] == 1 + 2 + 4  # after, difference, before
    assert image["q"][1] == pytest.approx(read(spending).records[5].quality["l2"], rel=1e-5)


def steps_of(text: str, title: str, last: float) -> list[tuple[float, float]]:
    """The distance and the height, in units of the chart, of each step; nothing but steps may be in the path."""
    path = re.search('<path d="([^"]*)" class="line adversarial"', figure(text, title))[1]
    assert re.fullmatch(r"M[\d.]+ [\d.]+(H[\d.]+V[\d.]+)+", path)
    scale = last * 1.05 / (WIDTH - LEFT - RIGHT)
    return [((float(x) - LEFT) * scale, HEIGHT - float(y)) for x, y in re.findall(r"H([\d.]+)V([\d.]+)", path)]


@pytest.mark.parametrize(("title", "norm", "scale"), [(DISTANCES[0], "linf", 255), (DISTANCES[1], "l2", 1),
                                                      (DISTANCES[2], "rms", 1)])  # fmt: skip
def test_ap_within_a_distance_falls_in_steps_where_a_change_was_found(tmp_path, title, norm, scale):
    outcomes = [outcome(tmp_path, i, f"{i}", "success") for i in range(1, 7)]
    nothing = {"boxes": [], "scores": [], "labels": []}
    run = write_run(tmp_path / "run", [replace(o, record=replace(o.record, adversarial=nothing)) for o in outcomes])
    text = write_report(run).read_text(encoding="utf-8")
    data, files = read(run), read_coco(run)
    wins = {r.id: r.quality[norm] * scale for r in data.records if r.status == "success"}
    distances = sorted({round(d, 9) for d in wins.values()})
    steps = steps_of(text, title, distances[-1])
    assert [at for at, _ in steps[:-1]] == pytest.approx(distances, abs=0.002 * distances[-1])
    assert f"all {counted(len(distances), 'distance')} that occur" in figure(text, title)
    table = PrecisionTable(GroundTruth(files.annotations, files.categories, data.scored), files.clean,
                           files.adversarial)  # fmt: skip
    expected = [mean_ap(table.of({i for i, d in wins.items() if d <= at + 1e-6})) for at in distances]
    clean = mean_ap(table.of(False))  # the top of the chart
    drawn = [(height - BOTTOM) / (HEIGHT - TOP - BOTTOM) * clean for _, height in steps]
    assert drawn == pytest.approx([*expected, expected[-1]], abs=0.001)
    assert expected == sorted(expected, reverse=True)
    assert expected[-1] < clean


def test_many_distances_are_scored_at_some_and_the_caption_says_so(run, monkeypatch):
    monkeypatch.setattr(charts, "MOST_STEPS", 3)
    text = write_report(run).read_text(encoding="utf-8")
    assert "3 of 7 distances" in figure(text, "AP against L2")
    assert "all 1 distance that occurs." in figure(text, "AP against L∞")
    path = re.search('<path d="([^"]*)" class="line adversarial"', figure(text, "AP against L2"))[1]
    assert path.count("H") == 3 + 1  # and the end


def test_records_from_before_rms_have_no_chart_of_it(run):
    with sqlite3.connect(run / "ledger.sqlite") as ledger:
        for number, row in ledger.execute("SELECT id, record FROM images").fetchall():
            record = json.loads(row)
            record["quality"].pop("rms", None)
            ledger.execute("UPDATE images SET record = ? WHERE id = ?", (json.dumps(record), number))
    found = titles(write_report(run).read_text(encoding="utf-8"))
    assert "AP against L2" in found
    assert "AP against RMS" not in found
