"""From the name of a model to a detector: `demo`, `torchvision/NAME`, `path/to/file.py:factory`, or an entry
point of the group `detattack.detectors`."""

import hashlib
import importlib.util
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from urllib.error import URLError

import torch
from torch import nn

from detattack.detectors.base import Detector
from detattack.detectors.torchvision_retinanet import UNNAMED, TorchvisionRetinaNet
from detattack.detectors.weights import COUNTER, fit_weights, read_weights, reason
from detattack.errors import InputError, unknown
from detattack.types import Category

ENTRY_POINT_GROUP = "detattack.detectors"
NO_WEIGHTS = "none"
TORCHVISION = {
    "torchvision/retinanet_resnet50_fpn": "RetinaNet_ResNet50_FPN_Weights",
    "torchvision/retinanet_resnet50_fpn_v2": "RetinaNet_ResNet50_FPN_V2_Weights",
}
DEMO_WEIGHTS = Path(__file__).parent.parent / "scenes" / "weights" / "demo.safetensors"


def model_names() -> dict[str, str]:
    """Every model that has a name here, with one line on it."""
    names = {"demo": "embedded RetinaNet for rendered street scenes, 8 classes, no download"}
    names |= dict.fromkeys(TORCHVISION, "COCO, 80 classes; weights downloaded, or --weights FILE")
    names |= {e.name: f"entry point {e.value}" for e in entry_points(group=ENTRY_POINT_GROUP)}
    return names


def load_detector(spec: str, device: str = "auto", weights: str | None = None) -> Detector:
    """The detector of that name, frozen, on `device` (`auto`, `cpu`, `cuda`, `cuda:1`, `mps`).

    weights: a file; `none` for random ones (seeded); None for the model's own. Raises `InputError`.
    """
    place = resolve_device(device)
    if spec == "demo":
        return _demo(place, weights)
    if spec in TORCHVISION:
        return _torchvision(spec, place, weights)
    if ".py:" in spec:
        return _third_party(spec, _factory_of_file(spec), place, weights)
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name == spec:
            return _third_party(spec, entry.load(), place, weights)
    raise unknown("model", spec, model_names())


def resolve_device(name: str) -> torch.device:
    """A device by its name; `auto` is CUDA, then MPS, then the CPU. Raises `InputError`."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device {name!r}: not available here") from error
    return device


def fingerprint(detector: Detector) -> str:
    """A hash of all weights that the adapter holds or is, and of its categories: models that differ, differ here."""
    digest = hashlib.sha256(repr([(c.name, c.coco_id) for c in detector.categories]).encode())
    for attribute, value in sorted({"": detector, **vars(detector)}.items()):
        tensors = value.state_dict() if isinstance(value, nn.Module) else {}
        for key, tensor in sorted(({"": value} if isinstance(value, torch.Tensor) else tensors).items()):
            digest.update(f"{attribute}.{key}".encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _demo(device: torch.device, weights: str | None) -> Detector:
    from detattack.scenes import CATEGORIES
    from detattack.scenes.network import build_network

    network = _seeded(build_network)
    if weights != NO_WEIGHTS:
        path = weights or DEMO_WEIGHTS
        fit_weights(network, read_weights(path), path)
    return TorchvisionRetinaNet("demo", network, [Category(c.name, c.coco_id) for c in CATEGORIES], device)


def _torchvision(spec: str, device: torch.device, weights: str | None) -> Detector:
    from torchvision.models import detection

    build = getattr(detection, spec.removeprefix("torchvision/"))
    official = getattr(detection, TORCHVISION[spec]).DEFAULT
    if weights is None:
        network = _downloaded(spec, lambda: build(weights=official))
    else:
        network = _seeded(lambda: build(weights=None, weights_backbone=None))
        if weights != NO_WEIGHTS:
            tensors = read_weights(weights)
            fit_weights(network, tensors, weights)
            if spec.endswith("resnet50_fpn") and not any(key.endswith(COUNTER) for key in tensors):
                _frozen_norms(network)
    columns = [None if n in UNNAMED else Category(n, i) for i, n in enumerate(official.meta["categories"])]
    return TorchvisionRetinaNet(spec, network, columns, device)


def _frozen_norms(network: nn.Module) -> None:
    """torchvision runs its first COCO checkpoints, whose batch norms are frozen, with ε = 0."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0


def _seeded(build: Callable[[], nn.Module]) -> nn.Module:
    """Random weights that are the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


def _downloaded(spec: str, build: Callable[[], nn.Module]) -> nn.Module:
    try:
        return build()
    except (URLError, OSError) as error:
        why = f"its weights cannot be downloaded ({reason(error)})"
        raise InputError(f"model {spec}: {why}; pass --weights FILE") from error


def _factory_of_file(spec: str) -> Callable[[str], Detector]:
    """The callable of `path/to/file.py:name`. Runs that file's code: only for a model the user names."""
    path, _, name = spec.rpartition(":")
    if not Path(path).is_file():
        raise InputError(f"model {spec}: no such file {path!r}")
    module_spec = importlib.util.spec_from_file_location(f"detattack_third_party_{Path(path).stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise InputError(f"model {spec}: {path} is not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(
            f"model {spec}: {path} cannot be imported ({type(error).__name__}: {reason(error)})"
        ) from error
    factory = getattr(module, name, None)
    if not callable(factory):
        raise InputError(f"model {spec}: {path} has no function {name!r}")
    return factory


def _third_party(spec: str, factory: Callable[[str], Detector], device: torch.device, weights: str | None) -> Detector:
    if weights is not None:
        raise InputError(f"model {spec}: its factory brings its own weights; --weights does not apply")
    try:
        detector = factory(str(device))
    except Exception as error:
        raise InputError(f"model {spec}: its factory failed ({type(error).__name__}: {reason(error)})") from error
    lacking = [a for a in ("name", "categories", "device", "eval_threshold") if not hasattr(detector, a)]
    lacking += [m for m in ("candidates", "select", "detect") if not callable(getattr(detector, m, None))]
    if lacking:
        raise InputError(f"model {spec}: not a Detector, it lacks {', '.join(lacking)} (detattack.detectors.base)")
    return detector
