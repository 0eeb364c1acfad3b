"""From a model in memory to a detector: torchvision, transformers, ultralytics, MAITE, or a function."""

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any, cast

import torch
from torch import nn

from detattack.core.categories import categories_named
from detattack.core.errors import InputError, reason
from detattack.core.precision import fixed_numerics
from detattack.core.types import Category
from detattack.core.wording import counted
from detattack.detectors.base import Detector
from detattack.detectors.function import FunctionDetector
from detattack.detectors.maite import detector_of, is_maite
from detattack.detectors.registry import check_attributes, lacks
from detattack.detectors.torchvision.base import TorchvisionDetector
from detattack.detectors.torchvision.models import coco_columns, named_columns
from detattack.detectors.torchvision.one_stage import TorchvisionFCOS, TorchvisionRetinaNet, TorchvisionSSD
from detattack.detectors.torchvision.two_stage import TorchvisionFasterRCNN
from torchvision.models import detection

_COCO = detection.FasterRCNN_ResNet50_FPN_Weights.DEFAULT
_TORCHVISION: dict[type[nn.Module], tuple[type[TorchvisionDetector], Callable[[Any], int]]] = {
    detection.RetinaNet: (TorchvisionRetinaNet, lambda net: net.head.classification_head.num_classes),
    detection.FCOS: (TorchvisionFCOS, lambda net: net.head.classification_head.num_classes),
    detection.ssd.SSD: (TorchvisionSSD, lambda net: net.head.classification_head.num_columns),
    detection.FasterRCNN: (TorchvisionFasterRCNN, lambda net: net.roi_heads.box_predictor.cls_score.out_features),
}
"""By torchvision's class: our adapter, and how many columns its head has."""


@fixed_numerics()
def wrap(
    model: Any,
    categories: Sequence[str | Category] | None = None,
    *,
    processor: Any = None,
    name: str | None = None,
    device: str | torch.device | None = None,
    **options: Any,
) -> Detector:
    """Make a detector of a model in memory. The model stays as it is: a copy is frozen and attacked.

    - model: a torchvision detection module, a transformers model for object detection, an ultralytics `YOLO`, or a
      function as `FunctionDetector` has it: a module, or any other, which is called and not copied; or a MAITE model,
      which is called too, and has no gradient
    - categories: names of the classes in the order of labels, without a background; None: those that the model names
      itself, COCO's for a torchvision head of 91 columns
    - processor: the image processor of a transformers model
    - name: what reports call it; None: its class
    - device: where the copy lives; None: where the model is
    - options: of a function: `scores`, `eval_threshold`, `nms_iou`, see `FunctionDetector`; of a MAITE model: `pixels`,
      see `maite.detector_of`

    Raises `InputError` for what is no such model.
    """
    named = None if categories is None else _categories(categories)
    name = str(name or getattr(model, "__name__", type(model).__name__))
    place = torch.device(device) if device is not None else _device_of(model)
    if not isinstance(model, type) and not lacks(model):
        check_attributes(f"wrap {name}", model)
        return cast(Detector, model)
    kind = next((kind for kind in _TORCHVISION if isinstance(model, kind)), None)
    is_transformer, is_yolo = _is_of(model, "transformers", "PreTrainedModel"), _is_of(model, "ultralytics", "Model")
    if options and (kind or is_transformer or is_yolo):
        raise InputError(f"wrap {name}: {', '.join(options)}: of functions only")
    if kind:
        return _of_torchvision(kind, model, named, name, place)
    if is_transformer or is_yolo:
        if named is not None:
            raise InputError(f"wrap {name}: names its own classes; categories do not apply")
        return _of_transformers(model, processor, name, place) if is_transformer else _of_yolo(model, name, place)
    if named is None and is_maite(model):
        return detector_of(model, place, **options)
    if not callable(model) or isinstance(model, type):
        raise InputError(f"wrap {name}: neither a model of torchvision, transformers or ultralytics, nor a function")
    if named is None:
        raise InputError(f"wrap {name}: a function does not say what its classes are called; pass categories")
    function = deepcopy(model).eval().requires_grad_(False).to(place) if isinstance(model, nn.Module) else model
    try:
        return FunctionDetector(name, function, named, place, **options)
    except TypeError as error:
        raise InputError(f"wrap {name}: {reason(error)}") from error


def _categories(given: Iterable[str | Category]) -> tuple[Category, ...]:
    named = tuple(given)
    names = [one.name if isinstance(one, Category) else one for one in named]
    if isinstance(given, str) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"categories: expected a list of names, got {type(given).__name__}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"categories: {twice!r} is named twice")
    ours = [one for one in named if isinstance(one, Category)]
    return tuple(ours) if len(ours) == len(named) else categories_named(names)


def _device_of(model: Any) -> torch.device:
    """Return where the first parameter of a model is; the CPU for what has none."""
    inner = getattr(model, "model", model) if not isinstance(model, nn.Module) else model
    tensors = inner.parameters() if isinstance(inner, nn.Module) else iter(())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def _is_of(model: object, library: str, base: str) -> bool:
    """Return whether a model is of a library's base class, without importing that library."""
    return any(kind.__module__.partition(".")[0] == library and kind.__name__ == base for kind in type(model).__mro__)


def _of_torchvision(
    kind: type[nn.Module], model: nn.Module, named: Sequence[Category] | None, name: str, device: torch.device
) -> Detector:
    adapter, columns = _TORCHVISION[kind]
    try:
        count = columns(model)
    except AttributeError as error:
        raise InputError(f"wrap {name}: its head is not torchvision's ({reason(error)})") from error
    coco = coco_columns(_COCO)
    if named is None and count != len(coco):
        raise InputError(
            f"wrap {name}: its head has {counted(count, 'column')}, not COCO's {len(coco)}; pass categories"
        )
    head = coco if named is None else named_columns(count, named, adapter.BACKGROUND, f"wrap {name}: its")
    return adapter(name, deepcopy(model).float(), head, device)


def _of_transformers(model: Any, processor: Any, name: str, device: torch.device) -> Detector:
    from detattack.detectors.huggingface import FAMILIES, HfDetr, head_columns

    if processor is None:
        raise InputError(f"wrap {name}: a model of transformers needs its image processor; pass processor")
    family = FAMILIES.get(model.config.model_type)
    if family is None:
        raise InputError(f"wrap {name}: the family {model.config.model_type!r} of transformers is not known here")
    if family.prompt:
        raise InputError(f"wrap {name}: {family.title} needs a prompt; --model hf/FOLDER --prompt takes it")
    network = deepcopy(model).float()
    return HfDetr(name, network, processor, head_columns(model.config.id2label, f"model {name}"), device)


def _of_yolo(model: Any, name: str, device: torch.device) -> Detector:
    from detattack.detectors.ultralytics import IMAGE_SIDE, head_of

    network = deepcopy(model.model).float()
    head = head_of(f"wrap {name}", network, False)
    side = model.overrides.get("imgsz", IMAGE_SIDE)
    longest = max(side) if isinstance(side, list | tuple) else int(side)
    return head.adapter(name, network, device, longest, head)
