"""What the commands that run have in common: how an interrupt ends, what is told, and options that a task must know."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from detattack.cli.status import INTERRUPTED
from detattack.core.errors import InputError

if TYPE_CHECKING:
    from detattack.cli.progress import Progress
    from detattack.datasets.base import Dataset
    from detattack.tasks.base import Task

AUTO = "auto"
NOT_DEFAULT = ("COMMANDLINE", "DEFAULT_MAP", "ENVIRONMENT")
"""Where the value of an option comes from that somebody gave."""


@contextmanager
def resumable(again: str) -> Iterator[None]:
    """Turn Ctrl-C into status 130, and say on it and on a full disk how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"detattack: interrupted; {again}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except OSError as error:
        raise OSError(f"{' '.join(str(error).split())}; the run stopped at a consistent state, {again}") from error


def goes_on(out: Path) -> str:
    """Say how a run is continued."""
    return f"--out {out} --resume goes on"


@contextmanager
def progress_of(quiet: bool, title: str = "", spends: bool = False) -> Iterator["Progress"]:
    """Show progress on stderr. title: what the bar is called; spends: whether the run spends a budget."""
    from detattack.cli.progress import Progress
    from detattack.engine.listening import listening

    with (
        Progress(not quiet, title, "broken" if spends else "success") as progress,
        listening(None if quiet else progress.iterate),
    ):
        yield progress


def config_values(context: typer.Context, task: "Task[Any, Any, Any]", options: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the options that are fields of a task's config. Raises `InputError` for one that was given and is none.

    The defaults of the options are those of detectors; another task has its own.
    """
    named = {name for name in options if given(context, name)}
    fields = task.config_type.model_fields
    for name in [*(named - fields.keys()), *(name for name in task.not_taken if given(context, name))]:
        raise InputError(f"--{name.replace('_', '-')}: task {task.name} has no such option")
    own = options.keys() & fields.keys()
    return {name: options[name] for name in options if name in own and (task.name == "detect" or name in named)}


def given(context: typer.Context, name: str) -> bool:
    """Tell whether somebody gave a value for a parameter of the command."""
    return _source(context, name) in NOT_DEFAULT


def _source(context: typer.Context, name: str) -> str:
    source = context.get_parameter_source(name)
    return "" if source is None else source.name


def batch_size(text: str) -> int | None:
    """Parse a number from 1 on; None for `auto`. Raises `InputError`."""
    if str(text) == AUTO:
        return None
    try:
        size = int(text)
    except ValueError:
        size = 0
    if size < 1:
        raise InputError(f"--batch {text!r}: neither a number from 1 on nor {AUTO!r}")
    return size


def say_if_tuned_on(config: Path | None, dataset: "Dataset") -> None:
    """Say on stderr where the images are some that the config file was tuned on."""
    from detattack.cli.terminal import say
    from detattack.workflows.tuned_on import overlap_note

    note = config and overlap_note(config, dataset)
    if note:
        say(f"NOTE: {note}", file=sys.stderr)


def print_run(task: "Task[Any, Any, Any]", out: Path, json: bool, quiet: bool) -> None:
    """Print a finished run over a data set."""
    from contextlib import closing

    from detattack.cli.tables import print_json, print_summary, warn
    from detattack.runs.folder import RunFolder

    with closing(RunFolder.open(out, task.record_type)) as folder:
        summary = folder.read_json("summary.json")
        warn(task, summary)
        if json:
            print_json(out, folder.iterate(), summary)
        elif quiet:
            print(out, file=sys.stderr)
        else:
            print_summary(task, out, summary, task.skipped_line(folder, summary))


def print_attacks(task: "Task[Any, Any, Any]", out: Path, json: bool, quiet: bool) -> None:
    """Print a finished run over a few images, a row an image."""
    from contextlib import closing

    from detattack.cli.tables import print_images, print_json
    from detattack.runs.folder import RunFolder

    with closing(RunFolder.open(out, task.record_type)) as folder:
        summary = folder.read_json("summary.json")
        if json:
            print_json(out, folder.iterate(), summary)
        elif quiet:
            print(out, file=sys.stderr)
        else:
            print_images(task, out, folder.records(), folder.manifest, summary)
