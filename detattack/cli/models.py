"""`detattack models`: which detectors have a name here."""

import typer

app = typer.Typer(help="The detectors that can be attacked.")


@app.callback()
def _models() -> None:
    """The detectors that can be attacked."""


@app.command("list")
def list_models() -> None:
    """Every model by name. Beside these: path/to/file.py:factory."""
    from rich.console import Console
    from rich.table import Table

    from detattack.detectors.registry import model_names

    table = Table(box=None, header_style="bold")
    table.add_column("name")
    table.add_column("what it is")
    for name, text in model_names().items():
        table.add_row(name, text)
    table.add_row("path/to/file.py:factory", "a third party's, see detattack.detectors.base")
    Console().print(table)
