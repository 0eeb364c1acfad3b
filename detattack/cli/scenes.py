"""`detattack scenes`: the rendered data set, and the training of the embedded detector on it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from detattack.cli.command import Group
from detattack.cli.names import one_of
from detattack.core.errors import InputError

app = typer.Typer(cls=Group, help="Rendered street scenes, and the embedded detector's training.")


@app.command()
def render(
    out: Annotated[Path, typer.Option(help="Folder for images/ and instances.json.")],
    count: Annotated[int, typer.Option("-n", min=1, help="How many scenes.")] = 100,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    width: Annotated[int, typer.Option(min=128)] = 480,
    height: Annotated[int, typer.Option(min=128)] = 320,
) -> None:
    """Render a data set in COCO format."""
    from rich.progress import Progress

    from detattack.cli.terminal import Terminal
    from detattack.datasets.scenes import write_coco

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"output folder {out}: exists and is not empty")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with Progress(console=Terminal(stderr=True)) as bar:
            task = bar.add_task("rendering", total=count)
            path = write_coco(out, count, seed, width, height, lambda done, _: bar.update(task, completed=done))
    except OSError as error:
        raise InputError(f"output folder {out}: cannot be written ({error})") from error
    print(path)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint, which is continued, and the weights.")],
    head: Annotated[
        Literal["retinanet", "fcos", "ssd", "fasterrcnn", "detr"], typer.Option(help="Kind of detector.")
    ] = "retinanet",
    start: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Weights to begin with; those of another head give their backbone alone."
        ),
    ] = None,
    adversarial: Annotated[
        str | None,
        typer.Option(
            metavar="linf:N",
            help="Attack two thirds of each batch, within N gray levels, so that the detector learns to resist.",
            autocompletion=one_of(["linf:"]),
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1)] = 5000,
    batch: Annotated[int, typer.Option(min=1)] = 8,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-3,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    precision: Annotated[Literal["auto", "bf16", "fp32"], typer.Option()] = "auto",
    evaluate: Annotated[int, typer.Option(min=0, help="Held-out scenes to score the weights on.")] = 500,
) -> None:
    """Train an embedded detector; interrupted, the same command goes on. Prints its scores as JSON."""
    import json
    from dataclasses import asdict

    from detattack.detectors.demo.adversarial import parse_adversary
    from detattack.detectors.demo.evaluate import evaluate_network
    from detattack.detectors.demo.network import HEADS, load_network
    from detattack.detectors.demo.train import TrainConfig
    from detattack.detectors.demo.train import train as run_training

    adversary = None if adversarial is None else parse_adversary(adversarial)
    config = TrainConfig(out, head, start, seed, steps, batch, lr=lr, precision=precision, adversary=adversary)
    try:
        path = run_training(config)
    except (ValueError, OSError) as error:
        raise InputError(f"training in {out}: {error}") from error
    network, first_label = load_network(path, head), HEADS[head].first_label
    scores = asdict(evaluate_network(network, evaluate, first_label=first_label)) if evaluate else {}
    print(json.dumps({"weights": str(path), **scores}))
