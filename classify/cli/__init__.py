"""`detattack classify`: a module a command. Nothing here imports torch before a command runs."""

import typer

from classify.cli import attack, compare, models, train, tune
from detattack.cli.scaling import RayCommand

app = typer.Typer(help="Image classifiers, by the same engine.")
app.command("attack")(attack.attack)
app.command("compare", cls=RayCommand)(compare.compare)
app.command("train")(train.train)
app.command("tune")(tune.tune)
app.command("models")(models.list_models)
