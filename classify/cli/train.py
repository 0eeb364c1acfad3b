"""`detattack classify train`: the embedded VGG16, from CIFAR-10."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from detattack.core.errors import InputError


def train(
    images: Annotated[Path, typer.Option("--images", help="CIFAR-10, as torchvision has it or in class folders.")],
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint, which is continued, and the weights.")],
    epochs: Annotated[int, typer.Option(min=1)] = 30,
    batch: Annotated[int, typer.Option(min=1)] = 128,
    width: Annotated[float, typer.Option(min=0.0625, max=1, help="Factor on the paper's channels.")] = 0.5,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    precision: Annotated[Literal["auto", "bf16", "fp32"], typer.Option()] = "auto",
) -> None:
    """Train VGG16 on CIFAR-10; interrupted, the same command goes on. Prints its accuracy as JSON."""
    import json

    from classify.datasets import open_labeled
    from classify.models.registry import load_classifier
    from classify.models.vgg16 import CLASSES
    from classify.train import TrainConfig, accuracy, as_tensors
    from classify.train import train as run_training

    config = TrainConfig(out, seed, epochs, batch, width, precision=precision)
    held_out = as_tensors(open_labeled(images, None, "test"), CLASSES)
    try:
        path = run_training(config, *as_tensors(open_labeled(images, None, "train"), CLASSES))
    except (ValueError, OSError) as error:
        raise InputError(f"training in {out}: {error}") from error
    classifier = load_classifier("vgg16_cifar10", "cpu", str(path))
    share = accuracy(classifier, *held_out)
    print(json.dumps({"weights": str(path), "bytes": path.stat().st_size, "test_accuracy": share}))
