"""The command line: a module a command. Nothing here imports torch before a command runs."""

import sys

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from classify.cli import app as classify_app
from classify.cli import reproduce
from detattack.cli import attack, bench, compare, evaluate, models, quality, report, rerun, scenes, tune, verify
from detattack.cli.scaling import RayCommand
from detattack.cli.status import BAD_INPUT, FAILED, INTERRUPTED
from detattack.errors import InputError

app = typer.Typer(
    name="detattack",
    help="Attack object detectors with the smallest change of an image, and measure what it took.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("untargeted")(attack.untargeted)
app.command("targeted")(attack.targeted)
app.command("evaluate", cls=RayCommand)(evaluate.evaluate)
app.command("compare", cls=RayCommand)(compare.compare)
app.command("merge")(evaluate.merge)
app.command("verify")(verify.verify)
app.command("report")(report.report)
app.command("rerun")(rerun.rerun)
app.command("quality")(quality.quality)
app.command("tune")(tune.tune)
app.command("bench")(bench.bench)
app.command("reproduce")(reproduce.reproduce)
app.add_typer(classify_app, name="classify")
app.add_typer(models.app, name="models")
app.add_typer(scenes.app, name="scenes")


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line. Bad input is one line on stderr and status 2; Ctrl-C is 130."""
    sys.exit(status_of(arguments))


def status_of(arguments: list[str] | None = None) -> int:
    """The exit status of a command line, without leaving Python. An empty one is answered with help."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return get_command(app)(arguments or ["--help"], standalone_mode=False) or 0
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


def _say(message: str, status: int) -> int:
    from detattack.cli.terminal import say

    text = " ".join(message.split())
    if text:
        say(f"detattack: {text}", file=sys.stderr)
    return status
