"""Load a detector by its name.

Names are `demo`, `demo-HEAD`, `demo-robust`, `torchvision/NAME`, those of other libraries (`LIBRARIES`), such as
`hf/NAME_OR_FOLDER`, `path/to/file.py:factory`, or an entry point of the group `detattack.detectors`; and each of them
behind a defense, such as `demo+jpeg:75`.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from numbers import Integral, Real
from pathlib import Path
from typing import Any, cast

import torch

from detattack.core.errors import InputError, unknown
from detattack.core.fingerprint import fingerprint_of_tensors
from detattack.core.model_names import split_defense
from detattack.core.precision import fixed_numerics
from detattack.core.third_party import build_model, callable_of_entry_point, callable_of_file, missing_members
from detattack.core.types import Category
from detattack.detectors.base import Detector
from detattack.detectors.category_file import read_categories
from detattack.detectors.defended import Defended, load_defense
from detattack.detectors.demo.adapter import SetPrediction
from detattack.detectors.huggingface import FAMILIES
from detattack.detectors.several import Several
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
class Library:
    """A library whose detectors are called `LIBRARY/NAME`.

    - form: How names are written.
    - text: What they are.
    - license: Of code and weights.
    - needs: What is to be installed.
    - takes: The options that its `load_LIBRARY` takes after name, device and weights.
    - examples: Names that a mistaken one may stand for.
    """

    form: str
    text: str
    license: str
    needs: str
    takes: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


LIBRARIES = {
    "detectron2": Library(
        "CONFIG.yaml",
        "RetinaNet, Faster R-CNN with FPN or DC5: of the model zoo, or your own",
        "Apache-2.0",
        "detectron2, built from source",
        takes=("categories",),
    ),
    "hf": Library(
        "NAME or hf/FOLDER",
        f"{', '.join(family.title for family in FAMILIES.values())}",
        "Apache-2.0; weights as their card says",
        "pip install '.[hf]'",
        takes=("prompt",),
        examples=(
            *("facebook/detr-resnet-50", "facebook/detr-resnet-101", "hustvl/yolos-tiny", "hustvl/yolos-small"),
            *("PekingU/rtdetr_r50vd", "PekingU/rtdetr_v2_r50vd", "ustc-community/dfine-small-coco"),
            *("SenseTime/deformable-detr", "microsoft/conditional-detr-resnet-50", "IDEA-Research/dab-detr-resnet-50"),
            *("AnnaZhang/lwdetr_small_60e_coco", "Roboflow/rf-detr-base", "google/owlvit-base-patch32"),
            *("google/owlv2-base-patch16-ensemble", "IDEA-Research/grounding-dino-tiny"),
        ),
    ),
    "ultralytics": Library(
        "NAME or FILE",
        "YOLOv5u to YOLO26, YOLO-World, YOLOE, RT-DETR; of models for masks, key points, oriented boxes the boxes",
        "AGPL-3.0",
        "pip install '.[ultralytics]'",
        takes=("prompt",),
        examples=tuple(f"{name}.pt" for name in ("yolov8n", "yolo11n", "yolo12n", "yolo26n", "rtdetr-l")),
    ),
    "effdet": Library(
        "NAME",
        "EfficientDet",
        "Apache-2.0",
        "pip install '.[effdet]'",
        takes=("categories",),
        examples=("efficientdet_d0", "tf_efficientdet_d0", "tf_efficientdet_lite0"),
    ),
    "rfdetr": Library(
        "NAME",
        "RF-DETR of Roboflow's package",
        "Apache-2.0",
        "pip install '.[rfdetr]'",
        takes=("categories",),
        examples=("nano", "small", "medium", "base", "large"),
    ),
    "yolox": Library(
        "NAME",
        "YOLOX",
        "Apache-2.0",
        "pip install '.[yolox]'",
        takes=("categories",),
        examples=tuple(f"yolox-{size}" for size in ("nano", "tiny", "s", "m", "l", "x")),
    ),
    "onnx": Library(
        "FILE.onnx",
        "YOLO, boxes and scores, DETR, detections: judged by ONNX Runtime",
        "its own",
        "pip install '.[onnx]'",
        takes=("categories",),
    ),
}
MODULES = {"hf": "huggingface", "onnx": "onnx.model"}
"""The module of a library's adapter, where it is called otherwise."""


@dataclass(frozen=True)
class ModelLine:
    """A line of `models list`.

    - name: The model's name, or a form of names.
    - text: What it is.
    - license: Of code and weights.
    - expected_ap: COCO AP in [0,1] as its authors state it, or None.
    - needs: What is to be installed.
    """

    name: str
    text: str
    license: str
    expected_ap: float | None = None
    needs: str = "nothing"


def model_lines() -> Iterator[ModelLine]:
    """Yield every model that has a name of its own, then the forms of names that stand for many."""
    for name, head in EMBEDDED.items():
        trained = ", trained on attacked images" if name == ROBUST else ""
        yield ModelLine(name, f"embedded {head}, 8 street classes{trained}", "Apache-2.0")
    for name in ARCHITECTURES:
        yield ModelLine(PREFIX + name, "COCO", "BSD-3-Clause", expected_ap(name))
    for name, one in LIBRARIES.items():
        yield ModelLine(f"{name}/{one.form}", one.text, one.license, needs=one.needs)
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        yield ModelLine(entry.name, f"entry point {entry.value}", "its own", needs="its package")
    yield ModelLine("path/to/file.py:factory", "yours: docs/adapters.md", "its own", needs="your file")
    yield ModelLine("MODEL+DEFENSE", "any of these behind a defense, demo+jpeg:75: docs/universal.md", "the model's")


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
    base, defense = split_defense(spec)
    if defense is not None:
        guard = load_defense(defense)
        return Defended(load_detector(base, device, weights, categories, prompt), guard)
    place = resolve_device(str(device))
    named = None if categories is None else read_categories(categories)
    library, _, name = spec.partition("/")
    is_torchvision = library == "torchvision" and name in ARCHITECTURES
    known = LIBRARIES.get(library) if name else None
    takes = known.takes if known else ("categories",) if is_torchvision else ()
    given = {"categories": named, "prompt": prompt}
    for option, value in given.items():
        if value is not None and option not in takes:
            raise InputError(f"model {spec}: names its own classes; --{option} does not apply")
    if is_torchvision:
        return load_torchvision(name, place, weights, named)
    if known:
        module = import_module(f"detattack.detectors.{MODULES.get(library, library)}")
        load = getattr(module, f"load_{library}")
        return cast(Detector, load(name, place, weights, *(given[option] for option in takes)))
    if spec in EMBEDDED:
        return _embedded(spec, place, weights)
    if ".py:" in spec:
        return _third_party(spec, callable_of_file(spec), place, weights)
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name == spec:
            return _third_party(spec, callable_of_entry_point(entry), place, weights)
    raise unknown("model", spec, [*model_names(), *_examples(), *_spellings(spec)])


def _examples() -> Iterator[str]:
    """Yield the names of well-known models of libraries."""
    for library, one in LIBRARIES.items():
        yield from (f"{library}/{name}" for name in one.examples)


def _spellings(spec: str) -> Iterator[str]:
    """Yield the names that the name of a model may be short for."""
    suffix = Path(spec).suffix
    if suffix == ".py":
        yield f"{spec}:factory"
    elif suffix == ".pt" or re.match(r"(?i)yolo(?!x)", spec):
        yield f"ultralytics/{spec}"
    elif suffix == ".onnx":
        yield f"onnx/{spec}"
    elif suffix in (".yaml", ".yml"):
        yield f"detectron2/{spec}"
    elif spec.partition("/")[0] not in ("torchvision", *LIBRARIES) and "/" in spec:
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
    """Return a hash of all weights that an adapter holds or is, and of its categories and its defense."""
    if isinstance(detector, Defended):
        return _hashed(fingerprint(detector.detector), detector.defense.name, detector.defense.digest)
    if isinstance(detector, Several):
        return _hashed(*map(fingerprint, detector.models))
    return fingerprint_of_tensors(detector, [(c.name, c.coco_id) for c in detector.categories])


def _hashed(*parts: str) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


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
    detector = cast(Detector, build_model(spec, factory, str(device), Detector, ATTRIBUTES, METHODS))
    check_attributes(f"model {spec}", detector)
    return detector


def check_attributes(what: str, detector: Detector) -> None:
    """Raise `InputError`, saying `what`, for a detector's categories or threshold that are none."""
    categories: Any = detector.categories
    if not (isinstance(categories, Sequence) and all(map(_is_category, categories))):
        raise InputError(
            f"{what}: its categories are not a tuple of Category(name, coco_id) (detattack.detectors.base)"
        )
    if not isinstance(detector.eval_threshold, Real | torch.Tensor):
        raise InputError(f"{what}: its eval_threshold is {detector.eval_threshold!r:.80}, not a number")


def _is_category(one: Any) -> bool:
    return isinstance(getattr(one, "name", None), str) and isinstance(getattr(one, "coco_id", None), Integral)


def lacks(detector: object) -> list[str]:
    """Return the names of the attributes and methods that every detector has and an object lacks."""
    return missing_members(detector, ATTRIBUTES, METHODS)
