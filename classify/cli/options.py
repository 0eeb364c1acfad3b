"""Options that the commands on classifiers share, beside those of `detattack.cli.options`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from detattack.cli import names as n

Images = Annotated[
    list[Path] | None, typer.Argument(help="Image files. None: photos that are installed already.", show_default=False)
]
ImagesDir = Annotated[
    Path | None,
    typer.Option("--images", help="CIFAR-10, class folders, or images. None: installed photos.", show_default=False),
]
Labels = Annotated[Path | None, typer.Option(help="A JSON or CSV file that names what each image shows.")]
Split = Annotated[Literal["train", "test"], typer.Option(help="train or test, where the data set has both.")]
Model = Annotated[
    str,
    typer.Option(
        help="vgg16_cifar10, torchvision/NAME, timm/NAME, path/to/file.py:factory.",
        autocompletion=n.one_of(n.CLASSIFIERS),
    ),
]
Preprocess = Annotated[
    str | None,
    typer.Option(help="Instead of the model's own: resize=256,crop=224,mean=124:116:104,std=58:57:57 (on 0-255)."),
]
Categories = Annotated[
    str | None, typer.Option(help="A file that names the classes of --weights: one a line, a YOLO data.yaml, or JSON.")
]
Target = Annotated[str | None, typer.Option(help="The class that images should be taken for. None: any other.")]
_METHOD = typer.Option(autocompletion=n.one_of(n.CLASSIFIER_METHODS))
Method = Annotated[str, _METHOD]
StopConfidence = Annotated[
    float | None, typer.Option(min=0, max=1, help="Go on until the wrong class is first with this probability.")
]
Classes = Annotated[int | None, typer.Option(min=2, help="How many classes DeepFool considers. None: all.")]
Only = Annotated[bool, typer.Option("--only-right", help="Leave out images that the model gets wrong already.")]


def list_methods() -> None:
    """Writes what is registered into the help of `--method`; to be called after plugins are loaded."""
    from classify.methods import PRESETS

    _METHOD.help = f"{', '.join(PRESETS)}."
