"""The page of a task that brings none of its own: what can be told of every run."""

from typing import Any

from detattack.report.charts import confidences, of_first_success, success_curves
from detattack.report.page import (
    Content,
    distance_cards,
    image_row,
    judged_on,
    question_of,
    questions_of,
    success_card,
)
from detattack.report.pictures import Pictures
from detattack.report.reading import RunData
from detattack.runs.manifest import task_of


def common_content(run: RunData[Any], pictures: dict[int, Pictures]) -> Content:
    """Tell of a run of any task: success rate, distances, iterations and confidences. pictures: by image id."""
    plots = (*of_first_success(run), confidences(run.traces, spends=run.budget is not None))
    return Content(
        title=str(run.config.get("goal") or task_of(run.manifest)),
        facts=[question_of(run), judged_on(run)],
        questions=questions_of(run, "the goal of the attack is reached."),
        cards=[success_card(run), *distance_cards(run)],
        plots=[plot for plot in plots if plot],
        tables=[],
        data={
            "classes": [],
            "floor": 0,
            "goal": str(run.config.get("goal") or ""),
        },
        images=(image_row(record, pictures.get(record.id, Pictures())) for record in run.whole()),
        curves=success_curves(run),
    )
