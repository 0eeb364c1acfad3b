"""`detattack data`: what a data set is taken for, and what it holds; and data sets fetched."""

import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from detattack.cli import names as n
from detattack.cli import options as o
from detattack.cli.command import Group
from detattack.core.wording import counted

if TYPE_CHECKING:
    from detattack.datasets.overview import Overview

app = typer.Typer(cls=Group, help="The data sets that can be attacked.")
SCRIPT = "prepare.py"
"""What fetches a data set, in a folder of its name: nothing but the standard library, so that it runs by itself."""

DataPath = Annotated[
    Path, typer.Argument(help="A folder of images, a VOC folder, or a YOLO data.yaml.", show_default=False)
]
WithModel = Annotated[
    str | None,
    typer.Option("--model", help="A model: which classes does it lack?", autocompletion=n.a_detector),
]


Fetched = Annotated[Literal["cifar10", "coco"], typer.Argument(help="cifar10, or coco: val2017.", show_default=False)]
Archives = Annotated[
    list[Path] | None,
    typer.Option("--from", help="Of cifar10: an archive that is there, instead of the official one.", exists=True),
]


@app.callback(help="The data sets that can be attacked.")
def _data() -> None:
    """Group the commands on data sets."""


@app.command("check")
def check_data(
    path: DataPath,
    annotations: o.Annotations = None,
    format: o.Format = None,
    split: o.Split = None,
    missing: o.Missing = "skip",
    model: WithModel = None,
    weights: o.Weights = None,
    categories: o.Categories = None,
    device: o.Device = "auto",
    json: o.Json = False,
) -> None:
    """Say what a data set is taken for: classes, objects, sizes, what is mended or left out, classes a model lacks."""
    from dataclasses import asdict
    from json import dumps

    from detattack.cli.terminal import say_notes
    from detattack.datasets.open import open_dataset
    from detattack.datasets.overview import overview

    data = o.DataOptions(images=path, annotations=annotations, format=format, split=split)
    dataset = open_dataset(data.source(0, missing))
    found, in_model = overview(dataset), None
    if model is not None:
        with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
            in_model = _known_to(model, device, weights, categories, dataset.categories)
    say_notes(dataset.notes)
    if json:
        lacking = None if in_model is None else [c.name for c in found.classes if not in_model[c.name]]
        print(dumps({**asdict(found), "not_in_model": lacking, "notes": dataset.notes}))
    else:
        _print(found, in_model)


@app.command("prepare")
def prepare_data(
    name: Fetched,
    out: Annotated[Path | None, typer.Option(help="Where it is unpacked. Default: data/NAME.")] = None,
    archives: Archives = None,
) -> None:
    """Fetch a data set from its official place, check it and unpack it; the same command goes on where it was."""
    from detattack.core.errors import InputError

    if archives and name != "cifar10":
        raise InputError(f"--from: goes with cifar10, not {name}")
    more = ["--from", *map(str, archives)] if archives else []
    line = [sys.executable, str(_script(name)), "--out", str(out or Path("data") / name), *more]
    status = subprocess.call(line)
    if status:
        raise typer.Exit(status)


def _script(name: str) -> Path:
    """Find the script of a data set: in the installed package, or in a checkout."""
    package = Path(str(files("detattack")))
    installed = package / "prepare" / name / SCRIPT
    return installed if installed.is_file() else package.parent / "data" / name / SCRIPT


def _known_to(
    model: str, device: str, weights: str | None, categories: str | None, of_data: "tuple[dict[str, object], ...]"
) -> dict[str, bool]:
    """Return whether a model has each class of the data, by name."""
    from detattack.datasets.coco import category_ids
    from detattack.detectors.registry import load_detector

    detector = load_detector(model, device, weights, categories)
    known = set(category_ids(detector.categories, of_data).values()) if of_data else set()
    return {str(category["name"]): category["id"] in known for category in of_data}


def _print(found: "Overview", in_model: Mapping[str, bool] | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from detattack.cli.terminal import Terminal, shown

    facts = Table(box=None, show_header=False, padding=(0, 1))
    for name, text in _facts(found, in_model):
        facts.add_row(name, Text(shown(text)))
    console = Terminal()
    console.print(facts)
    annotated = [one for one in found.classes if one.objects]
    if not annotated:
        return
    table = Table(box=None, header_style="bold", padding=(0, 1))
    table.add_column("class", overflow="fold")
    for heading in ("objects", "images", *(() if in_model is None else ("in the model",))):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in sorted(annotated, key=lambda one: -one.objects):
        known = [] if in_model is None else ["yes" if in_model[one.name] else "no"]
        table.add_row(Text(shown(one.name)), str(one.objects), str(one.images), *known)
    console.print(table)


def _facts(found: "Overview", in_model: Mapping[str, bool] | None) -> list[tuple[str, str]]:
    sizes = "none can be read"
    if found.smallest and found.largest:
        sizes = " to ".join(f"{width}×{height}" for width, height in dict.fromkeys((found.smallest, found.largest)))
    unreadable = f", {found.unreadable} cannot be read" if found.unreadable else ""
    other = f", {found.other_size} of another size than the data set says" if found.other_size else ""
    facts = [("format", found.format), ("images", f"{found.images}{unreadable}{other}"), ("image sizes", sizes)]
    if not found.classes:
        return [*facts, ("annotations", "none")]
    objects = sum(one.objects for one in found.classes)
    crowds = f" and {counted(found.crowds, 'crowd')}" if found.crowds else ""
    by_size = ", ".join(f"{count} {name}" for name, count in found.by_size.items())
    facts += [
        ("objects", f"{objects} ({by_size}){crowds}"),
        ("images without objects", str(found.without_objects)),
        ("classes", f"{len(found.classes)}, {sum(one.objects > 0 for one in found.classes)} of them annotated"),
    ]
    if in_model is not None:
        lacking = [name for name, known in in_model.items() if not known]
        shown = ", ".join(lacking[:10]) + (", ..." if len(lacking) > 10 else "")
        facts.append(("not in the model", f"{len(lacking)}: {shown}" if lacking else "none"))
    return facts
