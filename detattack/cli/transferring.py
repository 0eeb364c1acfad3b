"""A run's files before other detectors and after changes: the matrix that `verify` and `evaluate` print."""

import json as json_module
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detattack.core.wording import counted, worded

if TYPE_CHECKING:
    from detattack.tasks.experiment import Experiment
    from detattack.workflows.transfer import Other, Transfer


def check_transfers(
    experiment: "Experiment[Any, Any, Any]", models: str | None, survive: str | None, device: str
) -> "list[Other]":
    """List the run's own model and those of `--transfer-to`.

    Raises `InputError` for what would only be known when the run is done.
    """
    from detattack.datasets.corruptions import parse_corruptions
    from detattack.workflows.transfer import Other, load_other

    parse_corruptions(survive or "")
    others = [Other(name.strip()) for name in (models or "").split(",") if name.strip()]
    for other in others:
        load_other(experiment.task, experiment.config, other, device)
    return [Other(), *others]


def print_transfers(
    run: Path, others: "Sequence[Other]", survive: str | None, device: str, json: bool, quiet: bool, trust: bool
) -> None:
    """Judge the files of a run by other models and after corruptions, and print the matrix.

    trust: whether the run's own model may run the code of its file.
    """
    from rich.progress import Progress

    from detattack.cli.terminal import Terminal
    from detattack.workflows.transfer import transfer_run

    # stdout is for the result, whatever a model prints
    with redirect_stdout(sys.stderr), Progress(console=Terminal(stderr=True, quiet=quiet)) as bar:
        task = bar.add_task("scoring", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        found = transfer_run(run, others, survive, device, trust, progress)
    if json:
        rows = [asdict(one) for one in found]
        print(json_module.dumps({"run": str(run), "transfer": rows}, allow_nan=False))
    elif not quiet:
        _print(found)


def _print(found: "Sequence[Transfer]") -> None:
    from rich.table import Table
    from rich.text import Text

    from detattack.cli.terminal import Terminal, shown
    from detattack.tasks.columns import number

    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for name in ("model", "change"):
        table.add_column(name, overflow="fold")
    for name in ("success", "95% CI", "already", "AP clean", "AP after"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        low, high = one.success["interval"] or (None, None)
        ap = one.ap or {"clean": {"ap": None}, "adversarial": {"ap": None}}
        table.add_row(
            Text(shown(one.model)),
            one.change,
            f"{one.success['successes']} of {one.success['trials']}",
            f"{number(low, '.0%')} to {number(high, '.0%')}",
            str(one.already),
            number(ap["clean"]["ap"], ".3f"),
            number(ap["adversarial"]["ap"], ".3f"),
        )
    console = Terminal()
    console.print(table)
    for line in _counted(found):
        console.print(line, markup=False, highlight=False)
    for change, unfit in {one.change: one.unfit for one in found if one.unfit}.items():
        console.print(f"{change}: cannot be done to {counted(unfit, 'image')}, left out", markup=False, highlight=False)
    gone = max(one.unread for one in found)
    if gone:
        console.print(f"{counted(gone, 'image')} left out: the original is gone or has changed", highlight=False)


def _counted(found: "Sequence[Transfer]") -> Iterator[str]:
    """Which images the columns count, and what AP does not."""
    from detattack.tasks.detection.summary import ap_notes

    yield "success: of the run's successes, without those for which the goal holds already with the original"
    scored = [one for one in found if one.ap]
    if scored:
        images = sorted({one.ap["images"] for one in scored if one.ap})
        counts = " to ".join(map(str, dict.fromkeys((images[0], images[-1]))))
        yield f"AP: of the {counts} attacked {worded(images[-1], 'image')}; untouched ones not"
    yield from dict.fromkeys(f"{one.model}: {note}" for one in scored for note in ap_notes(one.ap))
