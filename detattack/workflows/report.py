"""Report: the HTML page of a finished or unfinished run of any task, rebuilt from its folder without the model."""

from pathlib import Path

from detattack.report.page import write_page
from detattack.report.pictures import Told
from detattack.runs.manifest import task_in
from detattack.tasks.registry import find_task


def write_report(path: Path, told: Told = lambda done, total: None) -> Path:
    """Write `report.html` and `thumbs/` of a run folder; the page's path. Raises `InputError`.

    told: how many images have their pictures, and how many there are.
    """
    task = find_task(task_in(path))
    return write_page(path, task.read_run, task.page_content, told)
