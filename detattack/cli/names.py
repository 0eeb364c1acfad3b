"""Names that a shell completes.

They stand here a second time, held to the first by a test: to import what knows them takes seconds.
"""

from collections.abc import Callable, Iterable
from importlib.metadata import entry_points

METHODS = (
    *("jnd", "jnd-paper", "jnd-min", "jnd-min-quick", "baseline", "fgsm", "fgv", "pgd-linf", "pgd-linf@4", "pgd-l2"),
    *("ddn", "fmn", "cw", "deepfool", "noise", "ensemble", "square"),
)
CLASSIFIER_METHODS = (*METHODS[:-2], "baseline-no-l2")
DETECTORS = (
    *("demo", "demo-fcos", "demo-ssd", "demo-fasterrcnn", "demo-detr", "demo-robust"),
    "torchvision/retinanet_resnet50_fpn",
    "torchvision/retinanet_resnet50_fpn_v2",
    "torchvision/fasterrcnn_resnet50_fpn",
    "torchvision/fasterrcnn_resnet50_fpn_v2",
    "torchvision/fasterrcnn_mobilenet_v3_large_fpn",
    "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn",
    "torchvision/fcos_resnet50_fpn",
    "torchvision/ssd300_vgg16",
    "torchvision/ssdlite320_mobilenet_v3_large",
)
FAMILIES = ("detectron2/", "hf/", "ultralytics/", "effdet/", "rfdetr/", "yolox/", "onnx/")
ENTRY_POINT_GROUP = "detattack.detectors"
CLASSIFIERS = ("vgg16_cifar10", "torchvision/", "timm/")
EXPERIMENTS = (*(f"table{number}" for number in range(1, 6)), *(f"fig{number}" for number in range(1, 9)), "all")
MEASURES = ("l1", "l2", "linf", "rms", "psnr", "ssim", "uqi", "scc", "vifp", "kl_histogram", "ciede2000_share")
CHANGES = (
    *("jpeg:", "webp:", "resize:", "blur:", "shift:", "crop:", "brightness:", "contrast:", "gamma:", "bits:", "noise:"),
    "screen",
)
MASKS = ("box", "box:", "outside", "border:")
GOALS = ("degrade:all", "degrade:", "suppress:all", "suppress:", "inject:", "mislabel:", "flood:")
LOSSES = ("unmatch", "miss", "mislabel", "mislocate", "vanish", "fabricate", "outrank")
BUDGETS = ("linf:", "l2:", "rms:")
PLACES = ("center", "random", "road")
STREET_CLASSES = ("person", "bicycle", "car", "motorcycle", "bus", "truck", "traffic light", "stop sign")
FORMATS = ("coco", "yolo", "voc")
DEVICES = ("auto", "cpu", "cuda", "mps")

Completer = Callable[[str], list[str]]


def one_of(names: Iterable[str]) -> Completer:
    """Completes to one of some names."""
    names = tuple(names)

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def some_of(names: Iterable[str]) -> Completer:
    """Completes the last of several names with commas between to one that is not among them yet."""
    names = tuple(names)

    def complete(incomplete: str) -> list[str]:
        start, comma, last = incomplete.rpartition(",")
        taken = start.split(",")
        return [f"{start}{comma}{name}" for name in names if name.startswith(last) and name not in taken]

    return complete


def a_detector(incomplete: str) -> list[str]:
    """Completes to a detector that has a name, those of installed packages included, or a family of them."""
    return one_of(_detectors())(incomplete)


def detectors(incomplete: str) -> list[str]:
    """Completes the last of several detectors with commas between."""
    return some_of(_detectors())(incomplete)


def _detectors() -> list[str]:
    return [*DETECTORS, *FAMILIES, *(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP))]
