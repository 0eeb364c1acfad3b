"""The page of a task that brings none of its own."""

import json
import re
from functools import partial
from pathlib import Path

from classify.record import ClassificationRecord
from detattack.report.common_page import common_content
from detattack.report.page import write_page
from detattack.report.reading import read_run
from detattack.tasks.detection.record import DetectionRecord


def page_of(run, record_type) -> str:
    path = write_page(run, partial(read_run, record_type=record_type), common_content, lambda done, total: None)
    return path.read_text(encoding="utf-8")


def test_what_can_be_told_of_every_run(run, classified_run):
    for folder, record_type, title, rate in (
        (run, DetectionRecord, "suppress:all", "70.0%"),
        (classified_run, ClassificationRecord, "classify", "60.0%"),
    ):
        text = page_of(folder, record_type)
        assert re.search("<h1><bdi>(.*?)</bdi></h1>", text)[1] == title
        assert f'<div class="value">{rate}</div>' in text
        for heading in ("Success against distance", "Iterations to success", "Confidence", "Distances and cost"):
            assert f"<h3>{heading}</h3>" in text
        images = json.loads(re.search('id="images">(.*?)</script>', text, re.S)[1])
        records = read_run(folder, record_type).records
        assert [(image["i"], image["n"], image["u"]) for image in images] == [
            (str(r.id), r.stem, Path(r.source).name) for r in records
        ]
        assert [image.get("k") for image in images] == [r.k if r.quality else None for r in records]
