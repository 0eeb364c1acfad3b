"""`detattack models`: which detectors have a name here, and whether an adapter keeps the contract."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detattack.cli import names as n
from detattack.cli import options as o
from detattack.cli.command import Group
from detattack.cli.status import FAILED
from detattack.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from detattack.core.types import Detections
    from detattack.detectors.base import Detector

app = typer.Typer(cls=Group, help="The detectors that can be attacked.")

Spec = Annotated[
    str, typer.Argument(help="A model, as --model takes it.", show_default=False, autocompletion=n.a_detector)
]
Count = Annotated[int, typer.Option(min=1, help="Pictures to compare on.")]
OwnImages = Annotated[
    Path | None,
    typer.Option(
        "--images", help="Compare on the first --count images of a folder, or of a data set.", show_default=False
    ),
]
OwnAnnotations = Annotated[
    Path | None,
    typer.Option(
        "--annotations",
        help="COCO annotations of --images (YOLO and VOC need none): are the classes called what they are?",
    ),
]


@app.callback(help="The detectors that can be attacked.")
def _models() -> None:
    """Group the commands on detectors."""


@app.command("list")
def list_models(json: o.Json = False) -> None:
    """Every model by name, with license and the AP that its authors state."""
    from dataclasses import asdict
    from json import dumps

    from detattack.detectors.registry import model_lines

    lines = list(model_lines())
    if json:
        print(dumps({"models": [asdict(line) for line in lines]}))
        return
    width = max(len(line.name) for line in lines)
    print(f"{'name':{width}}  COCO AP  {'license':18}  what it is")
    for line in lines:
        ap = "" if line.expected_ap is None else f"{line.expected_ap:.3f}"
        print(f"{line.name:{width}}  {ap:7}  {line.license:18}  {line.text}")


@app.command("check")
def check_model(
    spec: Spec,
    weights: o.Weights = None,
    categories: o.Categories = None,
    prompt: o.Prompt = None,
    count: Count = 6,
    images: OwnImages = None,
    annotations: OwnAnnotations = None,
    device: o.Device = "auto",
    json: o.Json = False,
) -> None:
    """Check an adapter: parity with the official inference, scores, columns, boxes, gradient, ids, left untouched.

    Status 1 where a property does not hold or could not be compared.
    """
    from json import dumps

    from detattack.cli.terminal import say
    from detattack.detectors.check import check_detector
    from detattack.detectors.registry import load_detector

    if images is None and annotations is not None:
        raise InputError("--annotations needs --images, the folder that they are of")
    stdout = sys.stdout
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        detector = load_detector(spec, device, weights, categories, prompt)
        note = getattr(detector, "note", "")
        if note:
            say(f"model {spec}: {note}")
        photos, truth = _photos(detector, images, annotations, count) if images else ([], [])
        findings = []
        for finding in check_detector(detector, count, photos, truth):
            findings.append(finding)
            if not json:
                say(f"{finding.verdict:13} {finding.name:15} {finding.detail}", file=stdout, flush=True)
    passed = all(finding.passed for finding in findings)
    if json:
        verdicts: list[dict[str, Any]] = [
            {"property": f.name, "verdict": f.verdict, "detail": f.detail} for f in findings
        ]
        print(dumps({"model": spec, "passed": passed, "findings": verdicts}))
    raise typer.Exit(0 if passed else FAILED)


def _photos(
    detector: "Detector", images: Path, annotations: Path | None, count: int
) -> "tuple[list[Tensor], list[Detections]]":
    """Load the first images of a folder, and what annotations say is on each, as far as the detector has the class."""
    import torch

    from detattack.core.types import Detections
    from detattack.datasets.coco import category_ids
    from detattack.datasets.image_io import to_tensor
    from detattack.datasets.open import open_dataset
    from detattack.datasets.source import DatasetSource

    named = None if annotations is None else str(annotations)
    dataset = open_dataset(DatasetSource(images=str(images), annotations=named, limit=count))
    photos = [to_tensor(sample.load().pixels) for sample in dataset.samples]
    if not dataset.categories:
        return photos, []
    label_of = {i: label for label, i in category_ids(detector.categories, dataset.categories).items()}
    truth = []
    for sample in dataset.samples:
        own = [a for a in dataset.annotations if a["image_id"] == sample.id and a["category_id"] in label_of]
        boxes = torch.tensor([a["bbox"] for a in own], dtype=torch.float32).view(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = torch.tensor([label_of[a["category_id"]] for a in own], dtype=torch.long)
        truth.append(Detections(boxes, torch.ones(len(own)), labels))
    return photos, truth
