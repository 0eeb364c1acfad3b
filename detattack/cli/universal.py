"""`detattack universal` and `detattack apply`: one change for many images."""

import json as json_module
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detattack.cli import names as n
from detattack.cli import options as o
from detattack.cli.groups import with_groups
from detattack.core.errors import InputError
from detattack.core.wording import counted
from detattack.workflows.changes import DEFAULT_SHARE, DEFAULT_TILE, changes_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detattack.tasks.detection.universal import Change

Bound = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="NORM:SIZE,...",
        help="Search a perturbation of that size: linf:8 (gray levels), l2:4.0 (in [0,1] units), rms:2; several: "
        "linf:2,4,8.",
        autocompletion=n.one_of(n.BUDGETS),
    ),
]
TileSide = Annotated[
    int | None,
    typer.Option(
        "--tile",
        help=f"The perturbation is a square of so many pixels, repeated over the image. Default: {DEFAULT_TILE}.",
        show_default=False,
    ),
]
PatchSide = Annotated[
    int | None, typer.Option("--patch", help="Search a patch instead: a picture of N×N pixels.", show_default=False)
]
On = Annotated[
    str,
    typer.Option(
        help="The class of the objects that are not to be found any more, and that a patch is put on; or `all`.",
        autocompletion=n.one_of(["all", *n.STREET_CLASSES]),
    ),
]
Share = Annotated[
    float | None,
    typer.Option(help=f"Of an object's area that a patch covers. Default: {DEFAULT_SHARE}.", show_default=False),
]
HeldOut = Annotated[
    int | None,
    typer.Option(help="How many of the images, drawn by --seed, are judged and not trained on. Default: half."),
]
TestImages = Annotated[
    Path | None, typer.Option(help="Judge on these images instead; none may be among those that are trained on.")
]
TestAnnotations = Annotated[Path | None, typer.Option(help="COCO annotations of --test-images.")]
PassesOver = Annotated[int, typer.Option("--passes", min=1, help="Passes over the training images.")]
Minibatch = Annotated[int, typer.Option("--batch", min=1, help="Training images of one step.")]


@with_groups
def universal(
    data: o.DataOptions,
    model: o.ModelOptions,
    run: o.ResumableOptions,
    budget: Bound = None,
    tile: TileSide = None,
    patch: PatchSide = None,
    on: On = "all",
    share: Share = None,
    test_images: TestImages = None,
    test_annotations: TestAnnotations = None,
    held_out: HeldOut = None,
    passes: PassesOver = 10,
    batch: Minibatch = 4,
    loss: o.Loss = None,
    reference: o.Reference = None,
    score_threshold: o.ScoreThreshold = o.DEFAULT_SCORE_THRESHOLD,
    precision: o.Precision = "fp32",
    seed: o.Seed = 0,
    missing: o.Missing = "skip",
) -> None:
    """Find one perturbation, or one patch, for many images; judge it on images that it was not found on, beside noise.

    Nothing here is about printing or the physical world.
    """
    from detattack.cli.progress import phases
    from detattack.cli.running import goes_on, resumable
    from detattack.cli.terminal import say_notes
    from detattack.tasks.detection.universal import Recipe
    from detattack.workflows.universal import find, make_search

    out = run.folder("universal")
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        asked = changes_of(budget, tile, patch, share)
        values: dict[str, Any] = {
            **asdict(model),
            "loss": loss,
            "reference": reference,
            "score_threshold": score_threshold,
            "precision": precision,
        }
        judged = _judged(test_images, test_annotations, held_out, missing)
        source, recipe = data.source(seed, missing), Recipe(passes, batch, seed)
        say = cache(lambda note: say_notes([note]))  # several searches look at the same images
        searches = [make_search(values, one, on, source, judged, held_out, recipe) for one in asked]
        with resumable(goes_on(out)), phases(run.quiet) as told:
            results = [
                find(search, _folder(out, search.change, len(asked)), run.resume, told, say) for search in searches
            ]
    if run.json:
        print(json_module.dumps({"run": str(out), "changes": results}, allow_nan=False))
    elif run.quiet:
        print(out, file=sys.stderr)
    else:
        _print(results)
        print(f"folder: {out}")


@with_groups
def apply(
    change: Annotated[Path, typer.Argument(help="The folder of `detattack universal`.", show_default=False)],
    data: o.DataOptions,
    out: Annotated[Path, typer.Option(help="A new folder, for images/ and annotations.json.", show_default=False)],
    seed: o.Seed = 0,
    missing: o.Missing = "skip",
    quiet: o.Quiet = False,
) -> None:
    """Put a change of `detattack universal` onto any images; a patch onto the annotated objects of its class."""
    from detattack.cli.progress import phases
    from detattack.cli.terminal import say, say_notes
    from detattack.datasets.open import open_dataset
    from detattack.tasks.detection.universal import read_change
    from detattack.workflows.universal import apply_change

    saved, dataset = read_change(change), open_dataset(data.source(seed, missing))
    say_notes(dataset.notes)
    with phases(quiet) as told:
        images = apply_change(saved, dataset, out, told, lambda note: say_notes([note]))
    say(images)


def _folder(out: Path, change: "Change", count: int) -> Path:
    """Name the folder of a change: of several, each has its own."""
    from detattack.tasks.detection.universal import Perturbation

    return out / change.budget.folder if count > 1 and isinstance(change, Perturbation) else out


def _judged(images: Path | None, annotations: Path | None, held_out: int | None, missing: str) -> Any:
    """Name the images to judge on; None: some of the training images are held out. Raises `InputError`."""
    o.check_exclusive(**{"--test-images": images is not None, "--held-out": held_out is not None})
    if images is None and annotations is not None:
        raise InputError("--test-annotations needs --test-images, the folder of the images that it speaks of")
    return None if images is None else o.DataOptions(images=images, annotations=annotations).source(0, missing)


def _print(results: "Sequence[Mapping[str, Any]]") -> None:
    from rich.table import Table

    from detattack.cli.terminal import Terminal
    from detattack.workflows.universal_rows import HEADINGS, rows_of

    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    first, *others = HEADINGS
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows_of(*results):
        table.add_row(*row.texts)
    console = Terminal()
    console.print(table)
    console.print(
        f"found on {counted(results[0]['training_images'], 'image')}, judged on "
        f"{counted(results[0]['judged_images'], 'other')}; missed: of the objects that are found untouched",
        highlight=False,
        soft_wrap=True,
    )
