"""Load a detector by its name.

Names are `demo`, `demo-HEAD`, `demo-robust`, `torchvision/NAME`, `detectron2/CONFIG`, `hf/NAME_OR_FOLDER`,
`ultralytics/NAME_OR_FILE`, `path/to/file.py:factory`, or an entry point of the group `detattack.detectors`.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

import torch

from detattack.core.errors import InputError, unknown
from detattack.core.fingerprint import fingerprint_of_tensors
from detattack.core.precision import fixed_numerics
from detattack.core.third_party import build_model, callable_of_entry_point, callable_of_file, missing_members
from detattack.core.types import Category
from detattack.detectors.base import Detector
from detattack.detectors.category_file import read_categories
from detattack.detectors.demo.adapter import SetPrediction
from detattack.detectors.torchvision.base import TorchvisionDetector
from detattack.detectors.torchvision.models import ARCHITECTURES, PREFIX, expected_ap, load_torchvision
from detattack.detectors.torchvision.one_stage import TorchvisionFCOS, TorchvisionRetinaNet, TorchvisionSSD
from detattack.detectors.torchvision.two_stage import TorchvisionFasterRCNN
from detattack.detectors.weights import NO_WEIGHTS, load_weights, seeded

ENTRY_POINT_GROUP = "detattack.detectors"
ATTRIBUTES = ("name", "categories", "device", "eval_threshold")
METHODS = ("candidates", "select", "detect")
"""What every detector has."""
ROBUST = "demo-robust"
"""The embedded detector that was trained on attacked images."""
EMBEDDED = {
    "demo": "retinanet",
    "demo-fcos": "fcos",
    "demo-ssd": "ssd",
    "demo-fasterrcnn": "fasterrcnn",
    "demo-detr": "detr",
    ROBUST: "retinanet",
}
"""The embedded detectors, by name: the kind of head on the one backbone."""

ADAPTERS: dict[str, type[TorchvisionDetector]] = {
    "retinanet": TorchvisionRetinaNet,
    "fcos": TorchvisionFCOS,
    "ssd": TorchvisionSSD,
    "fasterrcnn": TorchvisionFasterRCNN,
    "detr": SetPrediction,
}


@dataclass(frozen=True)
class ModelLine:
    """A line of `models list`.

    - name: The model's name, or a form of names.
    - text: What it is.
    - license: Of code and weights.
    - expected_ap: COCO AP in [0,1] as its authors state it, or None.
    """

    name: str
    text: str
    license: str
    expected_ap: float | None = None


def model_lines() -> Iterator[ModelLine]:
    """Yield every model that has a name of its own, then the forms of names that stand for many."""
    for name, head in EMBEDDED.items():
        trained = ", trained on attacked images" if name == ROBUST else ""
        yield ModelLine(name, f"embedded {head}, 8 street classes{trained}", "Apache-2.0")
    for name in ARCHITECTURES:
        yield ModelLine(PREFIX + name, "COCO", "BSD-3-Clause", expected_ap(name))
    yield ModelLine("detectron2/CONFIG.yaml", "RetinaNet, Faster R-CNN: of the model zoo, or your own", "Apache-2.0")
    yield ModelLine("hf/NAME or hf/FOLDER", "DETR family, RT-DETR, YOLOS (extra [hf])", "Apache-2.0, mostly")
    yield ModelLine("ultralytics/NAME or FILE", "YOLOv8, YOLO11 (extra [ultralytics])", "AGPL-3.0")
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        yield ModelLine(entry.name, f"entry point {entry.value}", "its own")
    yield ModelLine("path/to/file.py:factory", "yours: docs/adapters.md", "its own")


def model_names() -> list[str]:
    """Return the names of all models that have one of their own."""
    return [
        *EMBEDDED,
        *(PREFIX + name for name in ARCHITECTURES),
        *(e.name for e in entry_points(group=ENTRY_POINT_GROUP)),
    ]


@fixed_numerics()
def load_detector(
    spec: str,
    device: str = "auto",
    weights: str | None = None,
    categories: str | None = None,
    prompt: str | None = None,
) -> Detector:
    """Load a detector, frozen. Raises `InputError`.

    - spec: Its name; see the module.
    - device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
    - weights: A file; `none` for random ones (seeded); None for the model's own.
    - categories: A file that names the classes of a model trained on others than its library's, see
      `read_categories`.
    - prompt: What a model with an open vocabulary looks for, such as `car . person`.
    """
    _check_text(model=spec, device=device, weights=weights, categories=categories, prompt=prompt)
    spec, weights = str(spec), None if weights is None else str(weights)
    place = resolve_device(str(device))
    named = None if categories is None else read_categories(categories)
    library, _, name = spec.partition("/")
    if prompt is not None and library != "hf":
        raise InputError(f"model {spec}: names its own classes; --prompt does not apply")
    if library == "torchvision" and name in ARCHITECTURES:
        return load_torchvision(name, place, weights, named)
    if library == "detectron2" and name:
        from detattack.detectors.detectron2 import load_detectron2

        return load_detectron2(name, place, weights, named)
    if named is not None:
        raise InputError(f"model {spec}: names its own classes; --categories does not apply")
    if library == "hf" and name:
        from detattack.detectors.huggingface import load_hf

        return load_hf(name, place, weights, prompt)
    if library == "ultralytics" and name:
        from detattack.detectors.ultralytics import load_ultralytics

        return load_ultralytics(name, place, weights)
    if spec in EMBEDDED:
        return _embedded(spec, place, weights)
    if ".py:" in spec:
        return _third_party(spec, callable_of_file(spec), place, weights)
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name == spec:
            return _third_party(spec, callable_of_entry_point(entry), place, weights)
    raise unknown("model", spec, [*model_names(), *_spellings(spec)])


def _spellings(spec: str) -> Iterator[str]:
    """Yield the names that the name of a model may be short for."""
    suffix = Path(spec).suffix
    if suffix == ".py":
        yield f"{spec}:factory"
    elif suffix == ".pt" or spec.lower().startswith("yolo"):
        yield f"ultralytics/{spec}"
    elif suffix in (".yaml", ".yml"):
        yield f"detectron2/{spec}"
    elif "/" in spec and not spec.startswith((PREFIX, "hf/")):
        yield f"hf/{spec}"


def _check_text(**given: object) -> None:
    """Raise `InputError` for what is neither a name nor a path, which a notebook may pass."""
    for what, value in given.items():
        optional = value is None and what in ("weights", "categories", "prompt")
        if not optional and not isinstance(value, str | os.PathLike | torch.device):
            raise InputError(f"{what}: expected a name or a path, got {type(value).__name__}")


def resolve_device(name: str) -> torch.device:
    """Return a device by its name; `auto` is CUDA, then MPS, then the CPU. Raises `InputError`."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device {name!r}: not available here") from error
    return device


def fingerprint(detector: Detector) -> str:
    """Return a hash of all weights that an adapter holds or is, and of its categories."""
    return fingerprint_of_tensors(detector, [(c.name, c.coco_id) for c in detector.categories])


def _embedded(name: str, device: torch.device, weights: str | None) -> Detector:
    from detattack.datasets.scenes import CATEGORIES
    from detattack.detectors.demo.network import HEADS, build_network, weights_file

    head = EMBEDDED[name]
    network = seeded(lambda: build_network(head))
    if weights != NO_WEIGHTS:
        load_weights(network, weights or weights_file(name))
    columns: list[Category | None] = [None] * HEADS[head].first_label
    columns += [Category(c.name, c.coco_id) for c in CATEGORIES]
    return ADAPTERS[head](name, network, columns, device)


def _third_party(spec: str, factory: Callable[[str], Any], device: torch.device, weights: str | None) -> Detector:
    if weights is not None:
        raise InputError(f"model {spec}: its factory brings its own weights; --weights does not apply")
    return cast(Detector, build_model(spec, factory, str(device), Detector, ATTRIBUTES, METHODS))


def lacks(detector: object) -> list[str]:
    """Return the names of the attributes and methods that every detector has and an object lacks."""
    return missing_members(detector, ATTRIBUTES, METHODS)
