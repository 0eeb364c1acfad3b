"""The page of a classifier's run."""

import json
import re
import sqlite3
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from classify.methods import PRESETS
from classify.task import CLASSIFICATION
from detattack.cli import status_of
from detattack.core.errors import InputError
from detattack.tasks.detection.task import DETECTION
from detattack.workflows.report import write_report
from tests.report.conftest import NAMES, classified, write_classified

HOSTILE = ("<script>window.pwned=1</script>", '"onerror="window.pwned=2"', "</script><b>'`${x}{{7*7}}")


def page_of(run) -> str:
    return write_report(run).read_text(encoding="utf-8")


def data_of(text: str) -> dict:
    data, images = (json.loads(re.search(f'id="{name}">(.*?)</script>', text, re.S)[1]) for name in ("data", "images"))
    return data | {"images": images}


def cards(text: str) -> dict[str, str]:
    found = re.findall('<div class="label">(.*?)</div>\\s*<div class="value">(.*?)</div>', text)
    return dict(found)


def rows(text: str, title: str) -> list[list[str]]:
    table = text.partition(f"<h3>{title}</h3>")[2].partition("</table>")[0]
    return [re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row) for row in table.split("<tr>")[1:]]


def tags(text: str) -> list[str]:
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append(tag)
    parser.feed(text)
    return found


def test_a_report_tells_the_run(classified_run):
    text = page_of(classified_run)
    found = cards(text)
    assert found["Success rate"] == "60.0%"  # 3 successes, 1 failure and 1 error
    assert found["Accuracy"] == "80.0% → 20.0%"  # of 5 images with a label: all but the fifth, and the failure alone
    assert "misclassified, untargeted" in text
    assert "judged on the saved 8-bit files" in text
    assert "until the model&#39;s top prediction is another class than the one attacked." in text
    assert rows(text, "By class") == [
        ["class", "images", "success", "interval", "taken for", "others taken for it"],
        ["car", "4", "75.0%", "30–95%", "dog 3", "0"],
        ["dog", "0", "–", "–", "–", "3"],
    ]
    assert rows(text, "Errors")[1][1] == "it broke"
    for title in ("Success against distance", "Iterations to success", "Confidence", "Predictions by class"):
        assert f"<h3>{title}</h3>" in text
    assert "Still fools" not in text
    assert "mAP" not in text


def test_what_the_script_knows(classified_run):
    data = data_of(page_of(classified_run))
    assert data["classes"] == list(NAMES)
    first, fifth, sixth = (data["images"][i] for i in (0, 4, 5))
    assert first["l"] == [[0, 0.9, 1, 0.08], [1, 0.5, 0, 0.49]]
    assert first["g"] == "car → any other class"
    assert first["e"] == [["label", "car"]]
    assert first["p"] == 1 + 2 + 4  # after, difference, before
    assert fifth["e"] == [["label", "dog"]]
    assert "l" not in sixth


def test_a_target_and_a_confidence(tmp_path):
    attack = replace(PRESETS["jnd"], stop="confidence", stop_confidence=0.25)
    outcomes = [classified(tmp_path, 1, "success", targeted=True)]
    text = page_of(write_classified(tmp_path / "run", outcomes, target="dog", attack=attack))
    assert "misclassified as dog" in text
    assert "until the model&#39;s top prediction is dog, with a probability of at least 0.25." in text
    assert data_of(text)["images"][0]["g"] == "car → dog"


def test_successes_of_floats_that_are_none_as_files(tmp_path):
    outcomes = [classified(tmp_path, i, "success", file_quality={"l2": 0.1}, file_success=i == 1) for i in (1, 2, 3)]
    text = page_of(write_classified(tmp_path / "run", outcomes))
    assert cards(text)["Still fools as a file"] == "33.3%"
    assert [image.get("m", False) for image in data_of(text)["images"]] == [False, True, True]


def test_images_without_labels_and_a_run_of_nothing(tmp_path):
    text = page_of(write_classified(tmp_path / "run", [classified(tmp_path, 1, "success", label=-1)]))
    assert "Accuracy" not in text
    assert "e" not in data_of(text)["images"][0]
    text = page_of(write_classified(tmp_path / "nothing", []))
    assert data_of(text)["images"] == []
    assert cards(text)["Success rate"] == "–"


def test_an_unfinished_run_has_a_page(classified_run):
    (classified_run / "summary.json").unlink()
    assert "not finished" in page_of(classified_run)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_names(tmp_path, name):
    texts = []
    for run, names in (("run", (name, name + "2", "bird")), ("plain", NAMES)):
        texts.append(page_of(write_classified(tmp_path / run, [classified(tmp_path, 1, "success")], names=names)))
    assert data_of(texts[0])["classes"][0] == name
    assert tags(texts[0]) == tags(texts[1])


@pytest.mark.parametrize(
    "change",
    [{"leaves": 9}, {"label": 9}, {"clean": {"labels": [9], "scores": [0.5]}}, {"clean": {"labels": [0], "scores": []}},
     {"wrong": "dog"}, {"quality": {"l2": "far"}}],
)  # fmt: skip
def test_a_damaged_row_is_bad_input(classified_run, change):
    with sqlite3.connect(classified_run / "ledger.sqlite") as ledger:
        (row,) = ledger.execute("SELECT record FROM images WHERE id = 1").fetchone()
        ledger.execute("UPDATE images SET record = ? WHERE id = 1", (json.dumps(json.loads(row) | change),))
    with pytest.raises(InputError):
        write_report(classified_run)


@pytest.mark.parametrize("change", [{"classes": 3}, {"classes": ["car"]}, {"config": 3}, {"config": {"model": "toy"}}])
def test_a_damaged_manifest_is_bad_input(classified_run, change):
    manifest = json.loads((classified_run / "run.json").read_text())
    (classified_run / "run.json").write_text(json.dumps(manifest | change))
    with pytest.raises(InputError):
        write_report(classified_run)


def test_the_command_knows_the_task(run, classified_run, capsys):
    for folder in (run, classified_run):
        assert status_of(["report", str(folder), "--json", "--quiet"]) == 0
        assert json.loads(capsys.readouterr().out)["report"] == str(folder / "report.html")
    for task, other in ((DETECTION, classified_run), (CLASSIFICATION, run)):
        with pytest.raises(InputError, match="another task"):
            task.read_run(other)
