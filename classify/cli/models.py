"""`detattack classify models`: which classifiers have a name here."""


def list_models() -> None:
    """Every classifier by name. Beside these: path/to/file.py:factory."""
    from rich.table import Table

    from classify.models.registry import model_names
    from detattack.cli.terminal import Terminal

    table = Table("name", "what it is", box=None, header_style="bold")
    for name, text in model_names().items():
        table.add_row(name, text)
    table.add_row("path/to/file.py:factory", "a third party's, see classify.types")
    Terminal().print(table)
