"""Options that commands share, each in one place."""

from pathlib import Path
from typing import Annotated, Any

import typer

from detattack.config import read_config_file
from detattack.errors import InputError, unknown


def _use_config_file(context: typer.Context, path: Path | None) -> Path | None:
    """Makes a file's values the defaults, so that options on the command line win over them."""
    if path is None:
        return None
    known = {p.name: p for p in context.command.params}
    values: dict[str, Any] = read_config_file(path)
    for key in values:
        if key not in known or key == "config":
            raise unknown(f"key of {path}", key, [name for name in known if name and name != "config"])
    if isinstance(values.get("set"), dict):
        values["set"] = [f"{key}={value}" for key, value in values["set"].items()]
    context.default_map = {**(context.default_map or {}), **values}
    return path


def check_exclusive(**given: bool) -> None:
    """Raises `InputError` where more than one of the named options is given."""
    names = [name for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise InputError(f"{' and '.join(names)} exclude each other")


Images = Annotated[
    list[Path] | None, typer.Argument(help="Image files. None: rendered street scenes.", show_default=False)
]
Model = Annotated[
    str, typer.Option(help="demo, torchvision/NAME, path/to/file.py:factory; see `detattack models list`.")
]
Weights = Annotated[str | None, typer.Option(help="A file of weights, or `none` for random ones.")]
Method = Annotated[str, typer.Option(help="jnd, jnd-paper, baseline, fgsm, fgv, noise.")]
ScoreThreshold = Annotated[float, typer.Option(help="τ: a detection counts as seen above this score.")]
MaxIterations = Annotated[int | None, typer.Option(min=1, help="Updates at most, an image.")]
Floats = Annotated[bool, typer.Option("--float", help="Judge floats instead of 8-bit images; kept as .npy.")]
Seed = Annotated[int, typer.Option(min=0, help="Of everything random, rendered scenes included.")]
Scenes = Annotated[int, typer.Option(min=1, help="How many scenes to render where no image is given.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Batch = Annotated[int, typer.Option(min=1, help="Images of equal size attacked together.")]
Config = Annotated[
    Path | None,
    typer.Option(help="A YAML file of these options.", callback=_use_config_file, is_eager=True),
]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", help="key=value of the method, e.g. step_size=0.2. Repeatable.")
]
Out = Annotated[Path | None, typer.Option(help="The run folder. Default: a new one in runs/.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run that is in --out.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no table.")]
