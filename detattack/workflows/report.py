"""Report: the HTML page of a run or of a comparison, of any task, rebuilt from its folder without the model."""

from pathlib import Path

from detattack.report.page import write_page
from detattack.report.pictures import Told
from detattack.runs.manifest import task_in
from detattack.tasks.registry import find_task
from detattack.workflows.comparison_page import is_comparison, write_comparison_page


def write_report(path: Path, told: Told = lambda done, total: None, standalone: bool = False) -> Path:
    """Write the page of a run folder, or of a comparison and of each run in it; the page's path. Raises `InputError`.

    - told: how many images have their pictures, and how many there are
    - standalone: put the pictures into the page, so that it is one file
    """
    if is_comparison(path):
        return write_comparison_page(path, told, standalone)
    task = find_task(task_in(path))
    return write_page(path, task.read_run, task.page_content, told, standalone)
