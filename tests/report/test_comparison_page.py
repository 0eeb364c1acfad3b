"""The page of a comparison: of methods, and of budgets; in Chromium, and where something is missing."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from detattack.cli import status_of
from detattack.report.plots import Axis
from detattack.report.plots import Curve as PlotCurve
from detattack.report.sections_page import Cell, Grid, Line, Page, Section, render
from detattack.tasks.detection.task import DETECTION
from detattack.workflows.compare import Curve, read_method, write_comparison
from detattack.workflows.comparison_page import _together
from detattack.workflows.report import write_report
from tests.browser import DESKTOP, PHONE, needs_browser
from tests.report.conftest import JND, SPENDING, outcome, write_run

METHODS = ("jnd", "fgsm")


@pytest.fixture
def comparison(tmp_path) -> Path:
    """Two methods over four images, of which one has nothing to attack."""
    from detattack.runs.folder import RunFolder
    from detattack.tasks.detection.record import DetectionRecord

    out, methods = tmp_path / "cmp", []
    out.mkdir()
    statuses = {
        "jnd": ("success", "success", "failure", "nothing"),
        "fgsm": ("success", "failure", "failure", "nothing"),
    }
    for name in METHODS:
        outcomes = [outcome(tmp_path, i, f"image {i:02d}", status) for i, status in enumerate(statuses[name], 1)]
        run = write_run(out / name, outcomes, attack={**JND, "name": name})
        folder = RunFolder.open(run, DetectionRecord)
        methods.append(read_method(name, folder))
        folder.close()
    curves = {name: Curve((0.0, 1.0), (0.0, 0.5), (None, None)) for name in METHODS}
    write_comparison(out, methods, curves, DETECTION)
    return out


@pytest.fixture
def budgets(tmp_path) -> Path:
    out = tmp_path / "budgets"
    out.mkdir()
    rows = []
    for size in (1, 2):
        attack = {**SPENDING, "radius": size / 255}
        write_run(out / f"linf-{size}", [outcome(tmp_path, i, f"{i}", "success") for i in (1, 2)], attack=attack)
        row = dict.fromkeys(("ap_clean", "ap", "ap50", "broken", "mean_linf", "mean_l2", "mean_rms"), 0.5)
        rows.append(
            {
                **dict.fromkeys(keys_of_budgets(), 0.25),
                **row,
                "method": "ensemble",
                "budget": f"linf:{size}",
                "judged": "8-bit files",
            }
        )
    (out / "robustness.json").write_text(json.dumps({"budgets": rows}))
    return out


def keys_of_budgets() -> list[str]:
    from detattack.workflows.budgets import columns_of

    return [column.key for column in columns_of(DETECTION, 1)]


def test_one_table_and_a_page_of_each_method(comparison):
    text = write_report(comparison).read_text(encoding="utf-8")
    for name in METHODS:
        assert (comparison / name / "report.html").is_file()
        assert f'<a href="{name}/report.html">' in text
    assert "<bdi>JND</bdi>" in text
    assert "<bdi>66.7%</bdi>" in text
    assert "Success against distance" in text
    assert text.count("<bdi>nothing to attack</bdi>") == 1  # what is skipped, and why


def test_curves_are_drawn_by_their_steps(comparison):
    text = write_report(comparison).read_text(encoding="utf-8")
    figure = text.partition("<h3>Success against distance</h3>")[2].partition("</svg>")[0]
    paths = [part.partition('"')[0] for part in figure.split('<path d="')[1:]]
    assert len(paths) == 2
    assert all("H" in path and "L" not in path for path in paths)


def test_the_caption_of_curves_tells_of_each_run_what_was_scored():
    """Runs of a comparison find different distances; what is true of all of them is said once."""
    curves = [
        (number, PlotCurve("AP", Axis("L2"), Axis("AP"), [(0.0, 0.5), (1.0, 0.2)], "What AP is left.", scored))
        for number, scored in enumerate(("all 2 distances that occur", "3 of 7 distances that occur"))
    ]
    runs = [SimpleNamespace(name=name) for name in METHODS]
    expected = "What AP is left. Scored: jnd at all 2 distances that occur; fgsm at 3 of 7 distances that occur."
    assert _together("AP", curves, runs).caption == expected
    assert curves[0][1].plot("AP").caption == "What AP is left. Scored at all 2 distances that occur."
    alike = [(number, replace(curve, scored_at="")) for number, curve in curves]
    assert _together("AP", alike, runs).caption == alike[0][1].plot("AP").caption == "What AP is left."


def test_a_sample_of_the_images_is_told(comparison, monkeypatch):
    assert "evenly chosen" not in write_report(comparison).read_text(encoding="utf-8")
    monkeypatch.setattr("detattack.workflows.comparison_page.MOST_SIDE_BY_SIDE", 2)
    text = write_report(comparison).read_text(encoding="utf-8")
    assert "One image under each method: 2 of 4 images, evenly chosen." in text


def test_budgets_have_a_page(budgets):
    text = write_report(budgets).read_text(encoding="utf-8")
    assert '<a href="linf-2/report.html"><bdi>L∞ 2/255</bdi>' in text
    figure = text.partition("<h3>Against the budget</h3>")[2].partition("</svg>")[0]
    assert re.findall("<title>(.*?)</title>", figure)[1:] == ["Ensemble: 0.500 at 1", "Ensemble: 0.500 at 2"]


def said(capsys, *arguments: str) -> str:
    assert status_of(["report", *arguments, "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_comparison_without_its_runs_is_bad_input(comparison, capsys):
    shutil.rmtree(comparison / "fgsm")
    assert "missing (fgsm)" in said(capsys, str(comparison))


def test_a_run_without_its_pictures_is_bad_input(run, capsys):
    shutil.rmtree(run / "images")
    assert "pictures are missing" in said(capsys, str(run))


@pytest.mark.parametrize("standalone", [False, True])
def test_a_folder_that_cannot_be_written_is_bad_input(run, comparison, capsys, standalone):
    more = ["--standalone"] if standalone else []
    name = "report-standalone.html" if standalone else "report.html"
    for folder in (run, comparison):
        (folder / name).mkdir()
        (folder / name / "in the way").touch()
        assert "cannot be written" in said(capsys, str(folder), *more)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"methods": []},
        {"methods": 3},
        {"methods": [3]},
        {"methods": [{"method": "../jnd"}]},
        {"methods": [{"method": 7}]},
        {"methods": [{"method": "jnd"}]},
    ],
)
def test_a_damaged_table_is_bad_input(comparison, capsys, content):
    (comparison / "comparison.json").write_text(json.dumps(content))
    said(capsys, str(comparison))


@needs_browser
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_image_under_each_method(window, comparison, size, scheme):
    page = write_report(comparison)
    window.open(page, size, scheme)

    def captions() -> list[str]:
        return [one.text.splitlines()[0] for one in window.all("#side figcaption")]

    assert captions() == ["untouched 2", "JND 0", "FGSM 0"]
    window.run("document.getElementById('images').scrollIntoView({behavior: 'instant'})")
    window.one("#next").click()
    window.settle()
    assert captions() == ["untouched 2", "JND 0", "FGSM 1"]
    assert "image=2" in window.driver.current_url
    assert len(window.all("#side .truth")) == 0
    window.one("#truth").click()
    assert len(window.all("#side .truth")) == 3
    window.one("#views input[value=heat]").send_keys(" ")
    window.driver.refresh()
    window.settle()
    assert captions() == ["untouched 2", "JND", "FGSM"]
    assert window.run("return [...document.querySelectorAll('#side img')].map((i) => i.naturalWidth)") == [64, 64, 64]
    assert window.run("return document.documentElement.scrollWidth") <= size[0]
    console, sent = window.logs()
    assert console == []
    assert all(url.startswith((page.parent.as_uri() + "/", "data:")) for url in sent)


@needs_browser
def test_arrow_keys_and_sorts(window, comparison):
    from selenium.webdriver.common.keys import Keys

    window.open(write_report(comparison))
    window.one("body").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert window.one("#place").text == "3 / 4"
    window.one("body").send_keys(Keys.ARROW_LEFT)
    assert window.one("#place").text == "2 / 4"
    window.all("#methods .sort")[1].click()
    assert [row.text for row in window.all("#methods tbody th bdi")] == ["FGSM", "JND"]


@needs_browser
def test_a_column_of_names_is_sorted_by_the_numbers_in_them(window, budgets):
    (budgets / "linf-1").rename(budgets / "linf-10")
    file = budgets / "robustness.json"
    file.write_text(file.read_text().replace("linf:1", "linf:10"))
    window.open(write_report(budgets))
    window.all("#budgets .sort")[0].click()
    assert [row.text for row in window.all("#budgets tbody th bdi")] == ["L∞ 2/255", "L∞ 10/255"]


@needs_browser
def test_what_is_missing_is_last_in_either_direction(window, tmp_path):
    figures = {"a": 0.5, "b": None, "c": -3.0, "d": -0.5}
    lines = [Line([Cell(name), Cell("–" if value is None else f"{value:g}", value)]) for name, value in figures.items()]
    page = tmp_path / "page.html"
    page.write_text(render(Page("t", "k", [], [Section("S", tables=[Grid(("name", "gain"), lines)])])), "utf-8")
    window.open(page)
    orders = []
    for _ in range(2):
        window.all("#s .sort")[1].click()
        orders.append("".join(row.text for row in window.all("#s tbody th")))
    assert orders == ["cdab", "adcb"]


@needs_browser
def test_a_standalone_comparison(window, comparison, tmp_path):
    page = write_report(comparison, standalone=True).rename(tmp_path / "mailed.html")
    assert "report.html" not in page.read_text(encoding="utf-8")
    window.open(page)
    window.wait(lambda: window.run("return [...document.querySelectorAll('#side img')].every((i) => i.complete)"))
    assert window.run("return [...document.querySelectorAll('#side img')].map((i) => i.naturalWidth)") == [64, 64, 64]
    assert window.printed() >= 4
    window.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    apart = """return [...document.querySelectorAll('#printed figure')].map((figure) => {
        const place = (one) => figure.querySelector(one).getBoundingClientRect();
        const [picture, image, text] = [place('.half'), place('img'), place('figcaption')];
        return picture.height > 20 && Math.abs(image.height - picture.height) < 1 && text.top >= picture.bottom - 1;
    })"""
    laid_out = window.run(apart)
    window.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert laid_out
    assert all(laid_out), "on paper, pictures do not lie over one another or their words"
    assert window.logs()[0] == []
