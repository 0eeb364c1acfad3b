"""`detattack reproduce`: the paper's tables and figures, ours beside theirs."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detattack.cli import names as n
from detattack.cli import options as o

if TYPE_CHECKING:
    from classify.paper.sources import Given

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
    from classify.paper.sources import Given

    out = out or Path("runs") / ("paper" if limit is None else f"paper-first-{limit}")
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        given = Given(cifar10, imagenet, labels, imagenet_model, imagenet_weights, preprocess, device, limit)
        found = _reproduced(names, given, out, quiet)
    if json:
        import json as json_module

        print(json_module.dumps({"run": str(out), "summary": found}, allow_nan=False))
    elif not quiet:
        from detattack.cli.tables import print_markdown

        for name in found:
            print_markdown((out / name / f"{name}.md").read_text(encoding="utf-8"))
            print(f"written: {out / name}\n")


def _reproduced(names: list[str], given: "Given", out: Path, quiet: bool) -> dict[str, Any]:
    from functools import partial

    from classify.paper.config import ALL, NAMES, load
    from classify.paper.reproducing import reproduce as run
    from classify.paper.sources import Sources
    from detattack.cli.running import progress_of, resumable

    wanted = list(NAMES) if ALL in names else list(dict.fromkeys(names))
    for name in wanted:
        load(name)
    if given.limit is not None:
        print(f"NOTE: --limit {given.limit}: these are not the published numbers of images", file=sys.stderr)
    sources = Sources(given)
    found = {}
    for name in wanted:
        if not quiet:
            print(f"{name}: {load(name).title}", file=sys.stderr)
        with resumable("the same command goes on"):
            found[name] = run(name, sources, out, partial(progress_of, quiet))
    return found
