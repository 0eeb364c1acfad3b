"""The page of a task that brings none of its own: what can be told of every run."""

from typing import Any

from detattack.report.charts import confidences, iterations, success_within
from detattack.report.page import Content, distance_cards, image_row, judged_on, success_card
from detattack.report.pictures import Pictures
from detattack.report.reading import RunData
from detattack.runs.manifest import task_of


def common_content(run: RunData[Any], pictures: dict[int, Pictures]) -> Content:
    """Tell of a run of any task: success rate, distances, iterations and confidences. pictures: by image id."""
    records = run.records
    plots = (success_within(records), iterations(records), confidences(run.traces))
    return Content(
        title=str(run.config.get("goal") or task_of(run.manifest)),
        facts=[judged_on(run)],
        questions=[("Success", "asks whether the goal of the attack is reached.")],
        cards=[success_card(records), *distance_cards(records)],
        plots=[plot for plot in plots if plot],
        tables=[],
        data={
            "classes": [],
            "floor": 0,
            "goal": str(run.config.get("goal") or ""),
        },
        images=(image_row(record, pictures.get(record.id, Pictures())) for record in run.whole()),
    )
