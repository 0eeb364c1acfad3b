"""Options that the commands on classifiers share, beside those of `detattack.cli.options`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from detattack.cli import names as n
from detattack.cli import options as o

if TYPE_CHECKING:
    from detattack.datasets.source import DatasetSource

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


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which classifier is attacked."""

    model: Model = "vgg16_cifar10"
    weights: o.Weights = None
    preprocess: Preprocess = None
    categories: Categories = None
    device: o.Device = "auto"


@dataclass(frozen=True, kw_only=True)
class GoalOptions:
    """What is wanted of the classifier, and when an attack is done."""

    target: Target = None
    stop_confidence: StopConfidence = None
    classes: Classes = None

    def stop(self) -> dict[str, Any]:
        """Tell the fields of `Attack` that say when to stop."""
        if self.stop_confidence is None:
            return {}
        return {"stop": "confidence", "stop_confidence": self.stop_confidence}


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which images are attacked."""

    images: ImagesDir = None
    labels: Labels = None
    only_right: Only = False
    skip: o.Skip = 0
    limit: o.Limit = None

    def source(self, split: str, missing: str = "skip") -> "DatasetSource":
        """Name where the images come from."""
        from detattack.datasets.source import DatasetSource

        images, labels = (None if path is None else str(path) for path in (self.images, self.labels))
        return DatasetSource(
            images=images,
            labels=labels,
            split=split,
            skip=self.skip,
            limit=self.limit,
            only_right=self.only_right,
            missing=missing,
        )


def values_of(model: ModelOptions, wanted: GoalOptions, seed: int, precision: str) -> dict[str, Any]:
    """Gather the fields of a config, but for the attack."""
    return {**asdict(model), "target": wanted.target, "classes": wanted.classes, "seed": seed, "precision": precision}


def list_methods() -> None:
    """Write what is registered into the help of `--method`; to be called after plugins are loaded."""
    from classify.methods import PRESETS

    _METHOD.help = f"{', '.join(PRESETS)}."
