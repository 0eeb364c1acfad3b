"""`detattack reproduce`: the paper's tables and figures, ours beside theirs."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from detattack.cli import names as n
from detattack.cli import options as o

Names = Annotated[
    list[str],
    typer.Argument(
        help="table1 to table5, fig1 to fig8, or all.", show_default=False, autocompletion=n.one_of(n.EXPERIMENTS)
    ),
]
Cifar10 = Annotated[Path | None, typer.Option("--cifar10", help="CIFAR-10. Default: data/cifar10.")]
Imagenet = Annotated[
    Path | None, typer.Option(help="ImageNet: images, or class folders. Default: in $DETATTACK_SHARED, or ../shared.")
]
Labels = Annotated[Path | None, typer.Option(help="A file that names what each image of --imagenet shows.")]
ImagenetModel = Annotated[
    str | None,
    typer.Option(help="torchvision/NAME, timm/NAME, path/to/file.py:factory.", autocompletion=n.one_of(n.CLASSIFIERS)),
]
ImagenetWeights = Annotated[str | None, typer.Option(help="Its file of weights. Default: its own.")]
Preprocess = Annotated[str | None, typer.Option(help="Its preprocessing, as of `detattack classify`.")]
Limit = Annotated[int | None, typer.Option(min=1, help="So many images at most: a quick look, no published number.")]
Out = Annotated[Path | None, typer.Option(help="Default: runs/paper, with --limit runs/paper-first-N. Resumed.")]


def reproduce(
    names: Names,
    cifar10: Cifar10 = None,
    imagenet: Imagenet = None,
    labels: Labels = None,
    imagenet_model: ImagenetModel = None,
    imagenet_weights: ImagenetWeights = None,
    preprocess: Preprocess = None,
    limit: Limit = None,
    device: o.Device = "auto",
    out: Out = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Reproduce tables and figures of the paper. The same command goes on where an interrupted one was."""
    given = locals()
    out = out or Path("runs") / ("paper" if limit is None else f"paper-first-{limit}")
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        found = _reproduced(names, given, out)
    if json:
        import json as json_module

        print(json_module.dumps({"run": str(out), "summary": found}, allow_nan=False))
    elif not quiet:
        for name in found:
            print((out / name / f"{name}.md").read_text(encoding="utf-8"))
            print(f"written: {out / name}\n")


def _reproduced(names: list[str], given: dict[str, Any], out: Path) -> dict[str, Any]:
    from dataclasses import fields

    from classify.paper.config import ALL, NAMES, load
    from classify.paper.reproducing import reproduce as run
    from classify.paper.sources import Given, Sources

    wanted = list(NAMES) if ALL in names else list(dict.fromkeys(names))
    for name in wanted:
        load(name)
    if given["limit"] is not None:
        print(f"NOTE: --limit {given['limit']}: these are not the published numbers of images", file=sys.stderr)
    sources = Sources(Given(**{field.name: given[field.name] for field in fields(Given)}))
    found = {}
    for name in wanted:
        if not given["quiet"]:
            print(f"{name}: {load(name).title}", file=sys.stderr)
        found[name] = run(name, sources, out, given["quiet"])
    return found
