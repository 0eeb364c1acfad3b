import base64
import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from detattack.cli import status_of
from detattack.core.errors import InputError
from detattack.metrics.coco import GroundTruth, PrecisionTable, mean_ap
from detattack.metrics.image_quality import measure, quick_measures
from detattack.tasks.detection.record_columns import RECORD_COLUMNS
from detattack.tasks.detection.run_data import read, read_coco
from detattack.workflows.report import write_report
from tests.report.conftest import NAMES, SPENDING, outcome, write_run

HOSTILE = ["<script>window.pwned=1</script>", '"onerror="window.pwned=2"', "</script><b>'`${x}{{7*7}}", "\u202egnp.exe"]


class Page(HTMLParser):
    """The tags of a page with their attributes, and the text inside of script and style."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self._now = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._now = tag if tag in self.inside else ""

    def handle_data(self, data):
        if self._now:
            self.inside[self._now].append(data)
            self._now = ""

    @property
    def data(self) -> dict:
        data, images = map(json.loads, self.inside["script"][:2])
        return data | {"images": images}

    @property
    def policy(self) -> str:
        return next(a["content"] for t, a in self.tags if a.get("http-equiv") == "Content-Security-Policy")


def page_of(run: Path) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def test_a_report_tells_the_run(run):
    text = write_report(run).read_text(encoding="utf-8")
    page = Page(text)
    assert "70.0%" in text  # 7 successes, 2 failures and 1 error
    assert [image["i"] for image in page.data["images"]] == [str(i) for i in range(1, 13)]
    assert page.data["classes"] == list(NAMES)
    assert {"1-before.webp", "1-after.webp", "1-heat.webp", "1-original.webp"} <= set(os.listdir(run / "thumbs"))


def test_tables_of_coco_s_figures_and_of_collateral_damage(run):
    text = write_report(run).read_text(encoding="utf-8")
    rows = re.findall(r'<th scope="row">(AP|AR)([^<]*)</th>', text)
    assert ["".join(row) for row in rows] == [
        *("AP", "AP50", "AP75", "AP small", "AP medium", "AP large"),
        *("AR1", "AR10", "AR100", "AR small", "AR medium", "AR large"),
    ]
    collateral = text.partition("<h3>Collateral damage</h3>")[2].partition("<h3>")[0]
    assert '<th scope="row">of these kept</th><td>0</td><td>–</td>' in collateral  # all are aimed at


def test_what_was_broken_is_drawn_and_counted(run):
    text = write_report(run).read_text(encoding="utf-8")
    titles = re.findall("<h3>([^<]*)</h3>", text)
    drawn = ["Clean to attacked", "Annotated objects, clean", "Annotated objects, attacked", "Where AP50 is lost"]
    assert titles[titles.index(drawn[0]) :][:4] == drawn
    assert "<title>car → gone: 7</title>" in text  # the successes
    assert "<title>car → car: 2</title>" in text  # the failures
    rows = text.partition("<h3>Errors of the detector</h3>")[2].partition("</table>")[0]
    assert '<th scope="row">in all</th><td>11</td><td>11</td>' in rows  # objects of the images that have detections


def test_a_summary_from_before_tells_nothing_of_it(run):
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(
        json.dumps({k: v for k, v in summary.items() if k not in ("confusion", "lost_ap")})
    )
    text = write_report(run).read_text(encoding="utf-8")
    assert "Clean to attacked" not in text
    assert "Errors of the detector" not in text


def test_the_policy_lets_in_our_style_and_script_alone(run):
    page = page_of(run)
    assert page.policy.startswith("default-src 'none'; img-src 'self' file: data:;")
    assert "unsafe" not in page.policy
    assert "http" not in page.policy
    for text in (page.inside["style"][0], page.inside["script"][2]):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in page.policy
    assert len(page.inside["script"]) == 3


def test_no_handler_no_style_attribute_and_nothing_from_elsewhere(run):
    for tag, attributes in page_of(run).tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        assert not any("//" in (attributes.get(name) or "") for name in ("src", "href", "action")), tag


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_names(tmp_path, name):
    stem = name.replace("/", "∕")
    outcomes = [outcome(tmp_path, 1, stem, "success"), outcome(tmp_path, 2, "b", "error", reason=name)]
    run = write_run(tmp_path / "run", outcomes, names=(name, "dog", "bird"))
    text = write_report(run).read_text(encoding="utf-8")
    page, clean = (
        Page(text),
        page_of(write_run(tmp_path / "clean", [outcome(tmp_path, 1, "a", "success"), outcomes[1]])),
    )
    assert page.data["classes"][0] == name
    assert page.data["images"][0]["n"] == stem
    assert page.data["images"][1]["r"] == name
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in clean.tags]
    assert len(page.inside["script"]) == 3


def test_names_that_are_no_text(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    run = write_run(tmp_path / "run", [outcome(tmp_path, 1, "a", "error", reason=name)])
    assert page_of(run).data["images"][0]["r"] == name


def test_pictures_are_not_written_through_a_link(tmp_path):
    run = write_run(tmp_path / "run", [outcome(tmp_path, 1, "a", "success")])
    (tmp_path / "elsewhere").mkdir()
    (run / "thumbs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="link"):
        write_report(run)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_same_run_gives_the_same_page(run):
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_an_unfinished_run_has_a_page(run):
    for name in ("clean.json", "adversarial.json", "annotations.json", "summary.json"):
        (run / name).unlink()
    page = write_report(run).read_text(encoding="utf-8")
    assert re.search(r"not finished: the page shows the \d+ images done so far", page)


def test_a_run_of_nothing_has_a_page(tmp_path):
    assert page_of(write_run(tmp_path / "run", [])).data["images"] == []


@pytest.mark.parametrize("name", ["clean.json", "annotations.json", "summary.json"])
def test_broken_files_are_named(run, name):
    (run / name).write_text("{")
    with pytest.raises(InputError, match=name):
        write_report(run)


def test_a_ledger_of_junk_is_bad_input(run, capsys):
    for file in run.glob("ledger.sqlite*"):
        file.write_bytes(b"junk" * 4096)
    assert status_of(["report", str(run), "--quiet"]) == 2
    assert "ledger" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"id": "../../escaped"},
        {"stem": 7},
        *({"stem": stem} for stem in ("../escaped", "a/b", "..", "", "nul\0", "\ud800")),
        {"status": "triumph"},
        {"colour": "red"},
        {"source": 7},
        {"source": None},
        {"width": "wide"},
        {"quality": {"l2": "far"}},
        {"quality": 3},
        {"trace": {"confidence": ["high"]}},
        {"clean": {"boxes": [[1, 2, 3, 4]], "scores": [0.9], "labels": [10**9]}},
        {"clean": {"boxes": [[1, 2]], "scores": [0.9], "labels": [0]}},
        {"adversarial": {"boxes": [], "scores": [float("nan")], "labels": [0]}},
        {"clean": []},
        {"goal": ["suppress:all"]},
        {"seconds": "long"},
    ],
)
def test_a_damaged_row_is_bad_input(run, tmp_path, change):
    with sqlite3.connect(run / "ledger.sqlite") as ledger:
        (row,) = ledger.execute("SELECT record FROM images WHERE id = 1").fetchone()
        ledger.execute("UPDATE images SET record = ? WHERE id = 1", (json.dumps(json.loads(row) | change),))
    before = {path for path in tmp_path.rglob("*") if run not in path.parents}
    with pytest.raises(InputError):
        write_report(run)
    assert {path for path in tmp_path.rglob("*") if run not in path.parents} == before


@pytest.mark.parametrize("name", ["run.json", "summary.json", "annotations.json", "clean.json"])
@pytest.mark.parametrize("change", [{"config": 3, "collateral": {"images": 3}, "annotations": [1]}])
def test_damaged_files_are_bad_input(run, name, change):
    content = json.loads((run / name).read_text())
    (run / name).write_text(json.dumps([1] if isinstance(content, list) else content | change))
    with pytest.raises(InputError):
        write_report(run)


def test_the_command_prints_the_path_and_needs_a_run(run, tmp_path, capsys):
    assert status_of(["report", str(run), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["report"] == str(run / "report.html")
    assert status_of(["report", str(tmp_path), "--quiet"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_help_needs_no_torch():
    code = "import sys, detattack.cli as c; c.status_of(['report', '--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_scores_keep_their_side_of_the_threshold(tmp_path):
    one = outcome(tmp_path, 1, "a", "success")
    one.record.clean["scores"][:2] = [0.500004, 0.5]
    data = page_of(write_run(tmp_path / "run", [one])).data
    scores = data["images"][0]["b"][1::6]
    assert [score > 0.5 for score in scores] == [True, False, False]


def test_a_run_of_many_boxes_is_shown_from_a_higher_score_on(run, monkeypatch):
    assert page_of(run).data["floor"] == pytest.approx(0.2)
    monkeypatch.setattr("detattack.tasks.detection.report_page.MOST_BOXES", 27)
    data = page_of(run).data
    assert data["floor"] == 0.4
    assert sum(len(image.get(side, [])) // 6 for image in data["images"] for side in "ba") <= 27


def test_precision_agrees_with_the_summary_and_mixes(run):
    data = read(run)
    files, ids = read_coco(run), data.scored
    truth = GroundTruth(files.annotations, files.categories, data.scored)
    precision = PrecisionTable(truth, files.clean, files.adversarial)
    clean, attacked = mean_ap(precision.of(False)), mean_ap(precision.of(True))
    assert clean == pytest.approx(data.summary["ap"]["clean"]["ap"], abs=1e-9)
    assert attacked == pytest.approx(data.summary["ap"]["adversarial"]["ap"], abs=1e-9)
    assert mean_ap(precision.of(ids)) == attacked
    assert mean_ap(precision.of(set())) == clean
    assert mean_ap(precision.of(False, above=0.95)) == 0


def test_notes_on_the_data_set_and_on_images(run):
    with sqlite3.connect(run / "ledger.sqlite") as ledger:
        for number in (1, 2):
            (row,) = ledger.execute("SELECT record FROM images WHERE id = ?", (number,)).fetchone()
            changed = json.loads(row) | {"notes": ["alpha dropped"]}
            ledger.execute("UPDATE images SET record = ? WHERE id = ?", (json.dumps(changed), number))
    assert 'class="notes"' in write_report(run).read_text(encoding="utf-8")
    manifest = json.loads((run / "run.json").read_text())
    left_out = "72 of the 80 annotated images are not in <p8>"
    (run / "run.json").write_text(json.dumps(manifest | {"notes": [left_out]}))
    text = write_report(run).read_text(encoding="utf-8")
    notes = re.findall("<li><bdi>(.*?)</bdi></li>", text.partition('class="notes"')[2].partition("</ul>")[0])
    assert list(map(unescape, notes)) == [left_out, "alpha dropped: 2 images"]


def test_a_run_without_notes_has_no_list_of_them(run):
    assert 'class="notes"' not in write_report(run).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("model", "shown"),
    [("/home/me/tools/net.py:factory", "net.py:factory"), ("../tools/net.py:factory", "net.py:factory"),
     ("torchvision/retinanet_resnet50_fpn", "torchvision/retinanet_resnet50_fpn"), ("hf/a/detr", "hf/a/detr")],
)  # fmt: skip
def test_the_headline_has_the_name_of_a_file_and_the_settings_its_path(run, tmp_path, model, shown):
    manifest = json.loads((run / "run.json").read_text())
    manifest["config"]["model"] = model
    (run / "run.json").write_text(json.dumps(manifest))
    text = write_report(run).read_text(encoding="utf-8")
    head, _, settings = text.partition("<h3>Settings</h3>")
    assert f"against <b><bdi>{shown}</bdi></b>" in head
    assert f"<dd><bdi>{model}</bdi></dd>" in settings
    assert str(tmp_path) not in head  # where the originals lie
    assert f"<dd><bdi>{tmp_path}</bdi></dd>" in settings.partition("<footer")[0]
    assert Page(text).data["images"][0]["u"] == "source-1.png"


def test_means_of_a_budget_say_how_many_images_have_the_measure(tmp_path):
    outcomes = [outcome(tmp_path, i, f"{i}", "success") for i in (1, 2, 3)]
    same = outcomes[2].record
    same = replace(same, quality=measure(outcomes[2].original, outcomes[2].original, quick_measures()).as_json())
    outcomes[2] = replace(outcomes[2], record=same)
    text = write_report(write_run(tmp_path / "run", outcomes, attack=SPENDING)).read_text(encoding="utf-8")
    assert "dB, 2 of 3 attacked images" in text
    assert "gray levels, all 3 attacked images" in text


def test_a_score_of_tau_is_not_above_it(tmp_path):
    one = outcome(tmp_path, 1, "a", "success")
    tau = float(np.float32(0.3))  # above 0.3 as a double
    equal = {"boxes": [[4.0, 6.0, 24.0, 30.0]], "scores": [tau], "labels": [0]}
    one = replace(one, record=replace(one.record, adversarial=equal))
    run = write_run(tmp_path / "run", [one])
    manifest = json.loads((run / "run.json").read_text())
    manifest["config"]["score_threshold"] = 0.3
    (run / "run.json").write_text(json.dumps(manifest))
    assert page_of(run).data["images"][0]["a"][1] == 0.3
    (count,) = (column for column in RECORD_COLUMNS if column.key == "detections_adversarial")
    assert count.value(one.record, manifest) == 0
