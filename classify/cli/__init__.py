"""`detattack classify`: a module a command. Nothing here imports torch before a command runs."""

from collections.abc import Callable

import typer

from classify.cli import attack, compare, models, reproduce, train, tune
from classify.cli.options import list_methods
from detattack.cli.command import Command, Group

__all__ = ["list_methods", "mount"]

app = typer.Typer(cls=Group, help="Image classifiers, by the same engine.")
COMMANDS: dict[str, Callable[..., None]] = {
    "attack": attack.attack,
    "compare": compare.compare,
    "train": train.train,
    "tune": tune.tune,
    "models": models.list_models,
}
for name, function in COMMANDS.items():
    app.command(name, cls=Command)(function)


def mount(parent: typer.Typer) -> None:
    """Add the commands to those of `detattack`."""
    parent.command("reproduce", cls=Command)(reproduce.reproduce)
    parent.add_typer(app, name="classify")
