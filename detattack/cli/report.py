"""`detattack report`: the HTML page of a run, a comparison or a universal change."""

from pathlib import Path
from typing import Annotated

import typer

from detattack.cli import options as o


def report(
    run: Annotated[
        Path, typer.Argument(help="The folder of a run, a comparison or a universal change.", show_default=False)
    ],
    standalone: Annotated[
        bool, typer.Option("--standalone", help="One file with its pictures inside: report-standalone.html.")
    ] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Write RUN/report.html: numbers, plots and pictures on one page. No model is needed.

    Of a comparison, the page has the methods' table, their curves and each image under every method; a page of each
    method stands behind it.
    """
    import json as json_module

    from rich.progress import Progress

    from detattack.cli.terminal import Terminal, shown
    from detattack.workflows.report import write_report

    bar = Progress(console=Terminal(stderr=True, quiet=quiet), transient=True)
    task = bar.add_task("pictures", total=None)

    def told(done: int, total: int | None) -> None:
        bar.start()  # not before: a folder that is refused has no progress
        bar.update(task, completed=done, total=total)

    try:
        path = write_report(run, told, standalone)
    finally:
        if bar.live.is_started:
            bar.stop()
    print(json_module.dumps({"run": str(run), "report": str(path)}) if json else shown(path))
