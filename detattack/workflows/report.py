"""Report: page and table of a run of any task, or page of a comparison, rebuilt from its folder without the model."""

from contextlib import closing
from pathlib import Path

from detattack.report.page import write_page
from detattack.report.pictures import Told
from detattack.runs.folder import RunFolder
from detattack.runs.manifest import task_in
from detattack.tasks.columns import record_columns
from detattack.tasks.image_table import write_image_tables
from detattack.tasks.registry import find_task
from detattack.workflows.comparison_page import is_comparison, write_comparison_page
from detattack.workflows.universal import UNIVERSAL
from detattack.workflows.universal_page import write_universal_page


def write_report(path: Path, told: Told = lambda done, total: None, standalone: bool = False) -> Path:
    """Write `report.html`, `thumbs/` and `images.csv` of a run folder, or of each in a comparison, and its page.

    That of a universal change is always one file. Returns the page's path. Raises `InputError`.

    - told: how many images have their pictures, and how many there are
    - standalone: put the pictures into the page, so that it is one file
    """
    if is_comparison(path):
        return write_comparison_page(path, told, standalone)
    if task_in(path) == UNIVERSAL:
        return write_universal_page(path)
    task = find_task(task_in(path))
    page = write_page(path, task.read_run, task.page_content, told, standalone)
    with closing(RunFolder.open(path, task.record_type)) as folder:
        write_image_tables(folder, record_columns(task.record_columns))
    return page
