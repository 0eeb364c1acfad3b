"""The command line: a module a command. Nothing here imports torch before a command runs."""

import io
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from detattack import __version__
from detattack.cli import (
    attack,
    bench,
    compare,
    data,
    evaluate,
    models,
    options,
    quality,
    rank,
    report,
    rerun,
    scenes,
    tune,
    universal,
    verify,
)
from detattack.cli.command import Command, Group
from detattack.cli.status import BAD_INPUT, FAILED, INTERRUPTED
from detattack.core.errors import InputError
from detattack.core.plugins import load_plugins

app = typer.Typer(
    name="detattack",
    cls=Group,
    help="Attack object detectors with the smallest change of an image, and measure what it took.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)
COMMANDS: dict[str, Callable[..., None]] = {
    "untargeted": attack.untargeted,
    "targeted": attack.targeted,
    "evaluate": evaluate.evaluate,
    "compare": compare.compare,
    "rank": rank.rank,
    "universal": universal.universal,
    "apply": universal.apply,
    "merge": evaluate.merge,
    "verify": verify.verify,
    "report": report.report,
    "rerun": rerun.rerun,
    "quality": quality.quality,
    "tune": tune.tune,
    "bench": bench.bench,
}
for name, function in COMMANDS.items():
    app.command(name, cls=Command)(function)
TASK_COMMANDS = [import_module("classify.cli")]
"""Commands of the tasks outside of this package: each module has `mount` and `list_methods`. By name, as tasks are."""
for commands in TASK_COMMANDS:
    commands.mount(app)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.add_typer(scenes.app, name="scenes")


def _print_version(context: typer.Context, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:  # which is how a shell completes
        print(f"detattack {__version__}")
        raise typer.Exit


@app.callback()
def _detattack(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Attack object detectors with the smallest change of an image, and measure what it took."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Bad input is one line on stderr and status 2; Ctrl-C is 130.

    What the encoding of stdout or stderr lacks is written as a question mark.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where a program without a console starts it
            stream.reconfigure(errors="replace")
    warnings.showwarning = _say_warning
    sys.exit(status_of(arguments))


def status_of(arguments: list[str] | None = None) -> int:
    """Return the exit status of a command line, without leaving Python. An empty one is answered with help."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        load_plugins()
        options.list_methods()
        for commands in TASK_COMMANDS:
            commands.list_methods()
        return get_command(app)(arguments or ["--help"], prog_name="detattack", standalone_mode=False) or 0
    except InputError as error:
        return _say(str(error), BAD_INPUT)
    except TyperException as error:
        return _say(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        return FAILED
    except OSError as error:  # a full disk, above all: the command is right, the machine is not
        return _say(str(error), FAILED)


def _say_warning(message: Warning | str, *place: Any, **more: Any) -> None:
    """As `warnings.showwarning`, in a line and without the place in the code."""
    from detattack.cli.terminal import say

    say(f"WARNING: {' '.join(str(message).split())}", file=sys.stderr)


def _say(message: str, status: int) -> int:
    from detattack.cli.terminal import say

    text = " ".join(message.split())
    if text:
        say(f"detattack: {text}", file=sys.stderr)
    return status
