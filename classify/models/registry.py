"""From the name of a model to a classifier.

A name is `vgg16_cifar10` (embedded), `torchvision/NAME`, `timm/NAME` or `path/to/file.py:factory`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import floor
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torchvision import models as torchvision_models

from classify.models import vgg16
from classify.models.network import NetworkClassifier, Preprocessing
from classify.types import Classifier
from detattack.core.errors import InputError, unknown
from detattack.core.precision import fixed_numerics
from detattack.core.third_party import build_model, callable_of_file
from detattack.detectors import category_file as category_files
from detattack.detectors.registry import resolve_device
from detattack.detectors.weights import (
    NO_WEIGHTS,
    downloaded,
    fit_weights,
    load_weights,
    read_weights,
    seeded,
)

EMBEDDED = "vgg16_cifar10"
TORCHVISION, TIMM = "torchvision/", "timm/"
TIMM_CROPS = ("center", "squash")
"""timm's ways to crop that `Preprocessing` has; its third one, `border`, pads."""
INPUT_TRANSFORMED = ("googlenet", "inception_v3")
"""With torchvision's weights, or some trained on from these, they undo its normalization for one of their own."""
SMALLEST = 32
"""The shortest side of an image for ImageNet networks: their own resizing does the rest."""


def model_names() -> dict[str, str]:
    """Every classifier that has a name here, with one line on it."""
    names = {EMBEDDED: "embedded VGG16 for CIFAR-10, 10 classes, no download"}
    for name in torchvision_models.list_models(module=torchvision_models):
        names[f"{TORCHVISION}{name}"] = "ImageNet, 1000 classes; weights downloaded, or --weights FILE"
    return names | {f"{TIMM}NAME": "any classifier of timm, which is an extra: pip install '.[timm]'"}


@fixed_numerics()
def load_classifier(
    spec: str,
    device: str = "auto",
    weights: str | None = None,
    preprocess: str | None = None,
    categories: str | None = None,
) -> Classifier:
    """Load the classifier of that name, frozen, on `device`.

    - spec: the name, see above
    - weights: a file; `none` for random ones (seeded); None for the model's own
    - preprocess: instead of the model's own, as in `Preprocessing.parse`
    - categories: a file of class names, for a model trained on others

    Raises `InputError`.
    """
    place = resolve_device(device)
    names = None if categories is None else read_categories(Path(categories))
    own = None if preprocess is None else Preprocessing.parse(preprocess)
    if spec == EMBEDDED:
        return _embedded(place, weights, own, names)
    if spec.startswith(TORCHVISION):
        return _torchvision(spec, place, weights, own, names)
    if spec.startswith(TIMM):
        return _timm(spec, place, weights, own, names)
    if ".py:" in spec:
        if weights or preprocess or categories:
            raise InputError(f"model {spec}: its factory brings weights, preprocessing and classes itself")
        return _third_party(spec, place)
    raise unknown("classifier", spec, [*model_names(), *([f"{spec}:factory"] if spec.endswith(".py") else [])])


def read_categories(path: Path) -> tuple[str, ...]:
    """Class names, of any file that a detector's categories are read from. Raises `InputError`."""
    names = tuple(category.name for category in category_files.read_categories(path))
    if len(names) < 2:
        raise InputError(f"categories {path}: at least two names are needed")
    return names


def _embedded(
    device: torch.device, weights: str | None, own: Preprocessing | None, names: tuple[str, ...] | None
) -> Classifier:
    classes = names or vgg16.CLASSES
    tensors = None if weights == NO_WEIGHTS else read_weights(weights or vgg16.WEIGHTS, vgg16.NAMES)
    width = 0.5 if tensors is None else vgg16.width_of(tensors)
    network = seeded(lambda: vgg16.VGG16(width, len(classes)))
    if tensors is not None:
        fit_weights(network, tensors, weights or vgg16.WEIGHTS)
    preprocessing = own or Preprocessing(vgg16.MEAN, vgg16.STD, resize=vgg16.SIDE, crop=vgg16.SIDE)
    return NetworkClassifier(EMBEDDED, network, classes, device, preprocessing, vgg16.SIDE)


def _torchvision(
    spec: str, device: torch.device, weights: str | None, own: Preprocessing | None, names: tuple[str, ...] | None
) -> Classifier:
    name = spec.removeprefix(TORCHVISION)
    if name not in torchvision_models.list_models(module=torchvision_models):
        raise unknown("classifier", spec, model_names())
    official: Any = torchvision_models.get_model_weights(name).DEFAULT
    build = torchvision_models.get_model_builder(name)
    bare = partial(build, weights=None)
    if name in INPUT_TRANSFORMED and weights != NO_WEIGHTS:
        bare = partial(bare, transform_input=True)
    network = _network(spec, weights, partial(build, weights=official), bare, names)
    transforms = official.transforms()
    preprocessing = own or Preprocessing(
        tuple(transforms.mean),
        tuple(transforms.std),
        transforms.resize_size[0],
        transforms.crop_size[0],
        transforms.interpolation.value,
    )
    return NetworkClassifier(
        spec, network, names or tuple(official.meta["categories"]), device, preprocessing, SMALLEST
    )


def _timm(
    spec: str, device: torch.device, weights: str | None, own: Preprocessing | None, names: tuple[str, ...] | None
) -> Classifier:
    try:
        import timm
        from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_data_config
    except ImportError:
        raise InputError(f"model {spec}: needs timm; pip install '.[timm]'") from None
    name = spec.removeprefix(TIMM)
    if name.partition(".")[0] not in timm.list_models():
        raise unknown("timm model", name, timm.list_models())
    network = _network(
        spec,
        weights,
        partial(timm.create_model, name, pretrained=True),
        partial(timm.create_model, name, pretrained=False),
        names,
    )
    preprocessing = own or _timm_preprocessing(spec, resolve_data_config({}, model=network))
    if names is None:
        subset = infer_imagenet_subset(network)
        if subset is None:
            raise InputError(f"model {spec}: its classes have no names; pass --categories FILE")
        info = ImageNetInfo(subset)
        names = tuple(info.index_to_description(i) for i in range(info.num_classes()))
    return NetworkClassifier(spec, network, names, device, preprocessing, SMALLEST)


def _timm_preprocessing(spec: str, data: Mapping[str, Any]) -> Preprocessing:
    """Do as timm's configuration says. Raises `InputError` for what is no resize and crop of a square."""
    _, height, width = data["input_size"]
    if height != width or data["crop_mode"] not in TIMM_CROPS:
        own = f"{height}×{width} pixels, crop_mode {data['crop_mode']}"
        raise InputError(f"model {spec}: its own preprocessing ({own}) is not supported; pass --preprocess")
    scaled = floor(width / data["crop_pct"])
    resize = (scaled, scaled) if data["crop_mode"] == "squash" else scaled
    return Preprocessing(data["mean"], data["std"], resize, width, data["interpolation"])


def _network(
    spec: str,
    weights: str | None,
    pretrained: Callable[[], nn.Module],
    bare: Callable[..., nn.Module],
    names: tuple[str, ...] | None,
) -> nn.Module:
    """Make a network with its own, a file's or random weights, with as many classes as there are names."""
    if weights is None:
        if names is not None:
            raise InputError(f"model {spec}: --categories goes with --weights FILE, the weights of these classes")
        return downloaded(spec, pretrained)
    more = {} if names is None else {"num_classes": len(names)}
    network = seeded(lambda: bare(**more))
    if weights != NO_WEIGHTS:
        load_weights(network, weights)
    return network


def _third_party(spec: str, device: torch.device) -> Classifier:
    attributes = ("name", "classes", "device", "smallest")
    return cast(Classifier, build_model(spec, callable_of_file(spec), str(device), Classifier, attributes, ["logits"]))
