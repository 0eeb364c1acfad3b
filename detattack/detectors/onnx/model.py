"""A detector in an ONNX file. `detect` is ONNX Runtime; `candidates` is a conversion to torch, by onnx2torch."""

import ast
import hashlib
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms, clip_boxes_to_image

from detattack.core.categories import COCO_NAMES, categories_named
from detattack.core.errors import InputError, reason
from detattack.core.types import Candidates, Category, Detections
from detattack.core.wording import counted
from detattack.detectors.black_box import no_gradient
from detattack.detectors.onnx.description import Description, read_description
from detattack.detectors.onnx.heads import Dense, Head, recognized
from detattack.detectors.parts.resize import resized_as_files

PREFIX = "onnx/"
SIDE = 256
"""Of the image on which a file that takes any size is probed, in pixels."""
TOLERANCE = 1e-3
"""How far outputs of the conversion may be from ONNX Runtime's, relative to the largest of them."""
LAST_OPSET = 17
"""The version of ONNX's operations up to which onnx2torch knows them. A newer file is read as one of that version: most
operations mean the same, and where one does not, the comparison with ONNX Runtime shows it."""
LOWEST = "detattack_lowest"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Place:
    """Where a resized image lies in what is handed over, all as (vertical, horizontal).

    - size: of the resized image
    - corner: its top left one
    - whole: the size of what is handed over
    - scale: from pixels of the image to those; of a letterbox one for both, though the size is rounded
    """

    size: tuple[int, int]
    corner: tuple[int, int]
    whole: tuple[int, int]
    scale: tuple[float, float]


class Session:
    """An ONNX file in ONNX Runtime, on the CPU. A copy of it is itself."""

    def __init__(self, file: Path) -> None:
        """Load the file. Raises whatever the library raises."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # what it raises says the same
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.inputs = self._session.get_inputs()
        self.names = [output.name for output in self._session.get_outputs()]
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def run(self, images: Tensor) -> dict[str, Tensor]:
        """Return the outputs for prepared images, by name."""
        found = self._session.run(self.names, {self.inputs[0].name: images.float().cpu().numpy()})
        return {name: torch.from_numpy(np.array(value)) for name, value in zip(self.names, found, strict=True)}


class OnnxDetector:
    """Adapter of an ONNX file."""

    expected_ap = None

    def __init__(
        self,
        name: str,
        session: Session,
        head: Head,
        description: Description,
        categories: Sequence[Category],
        device: torch.device,
        network: nn.Module | None,
        digest: bytes,
    ) -> None:
        """Put the parts together.

        - name: what reports call the detector
        - session: decides what is detected
        - head: reads its outputs
        - description: without None
        - categories: of its classes
        - device: where the network lives
        - network: the same in torch; None: there is no gradient
        - digest: of the file
        """
        self.name = name
        self.categories = tuple(categories)
        self.device = device
        self.eval_threshold = float(description.score_threshold or 0)
        self.has_gradient = network is not None
        self.digest = torch.tensor(list(digest), dtype=torch.uint8)
        self.network = network
        self._session, self._head, self._description = session, head, description
        self._batched, self._size = _input_size(session, description)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {counted(len(self.categories), 'class')}, {self.device})"

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return all boxes of the head, by the conversion. `extra_boxes` are ignored."""
        if self.network is None or not isinstance(self._head, Dense):
            raise InputError(no_gradient(self.name))
        prepared = self._prepared(images)
        parts = [prepared] if self._batched else prepared.split(1)
        read = [self._head.read(_outputs(self.network, part, self._session.names), _sides(part)) for part in parts]
        boxes, logits = (torch.cat(values).to(images) for values in zip(*read, strict=True))
        return Candidates(self._to_image(boxes, *_sides(images)), logits, state=_sides(images))

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Keep what is above the threshold, then the best of those that overlap, cut to the image."""
        pairs = zip(candidates.boxes.detach(), candidates.logits.detach(), strict=True)
        return [self._select_one(boxes, logits, candidates.state, score_threshold) for boxes, logits in pairs]

    def _select_one(self, boxes: Tensor, logits: Tensor, size: tuple[int, int], score_threshold: float) -> Detections:
        scores = logits.sigmoid()
        allowed = scores > score_threshold
        if isinstance(self._head, Dense) and self._head.one_class:
            allowed &= torch.zeros_like(allowed).scatter_(1, scores.argmax(1, keepdim=True), True)
        row, label = allowed.nonzero(as_tuple=True)
        kept, scores = boxes[row].float(), scores[row, label].float()
        if isinstance(self._head, Dense) and self._head.clips_first:
            kept = clip_boxes_to_image(kept, size)
        iou = self._description.nms_iou
        best = scores.argsort(descending=True, stable=True) if iou is None else batched_nms(kept, scores, label, iou)
        best = best[: self._description.most]
        return Detections(clip_boxes_to_image(kept[best], size), scores[best], label[best])

    @torch.no_grad()
    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        """Run ONNX Runtime, one image at a time."""
        return [self._detect_one(image, score_threshold) for image in images.float().cpu().split(1)]

    def _detect_one(self, image: Tensor, score_threshold: float) -> Detections:
        prepared, (height, width) = self._prepared(image), _sides(image)
        outputs = self._session.run(prepared)
        if isinstance(self._head, Dense):
            boxes, logits = self._head.read(outputs, _sides(prepared))
            boxes = self._to_image(boxes, height, width)
            return self._select_one(boxes[0], logits[0], (height, width), score_threshold)
        found = self._head.read(outputs)
        boxes = clip_boxes_to_image(self._to_image(found.boxes, height, width), (height, width))
        return Detections(boxes, found.scores, found.labels).above(score_threshold)

    def _placed(self, height: int, width: int) -> _Place:
        """Return how an image is brought to the size that the file takes."""
        if self._size is None:
            return _Place((height, width), (0, 0), (height, width), (1.0, 1.0))
        if self._description.fit == "stretch":
            return _Place(self._size, (0, 0), self._size, (self._size[0] / height, self._size[1] / width))
        ratio = min(self._size[0] / height, self._size[1] / width)
        if self._description.fit == "letterbox-topleft":
            size = max(int(height * ratio), 1), max(int(width * ratio), 1)
            return _Place(size, (0, 0), self._size, (ratio, ratio))
        size = max(round(height * ratio), 1), max(round(width * ratio), 1)
        top, left = (round((side - own) / 2 - 0.1) for side, own in zip(self._size, size, strict=True))
        return _Place(size, (top, left), self._size, (ratio, ratio))

    def _prepared(self, images: Tensor) -> Tensor:
        """Return images as the file takes them, with the values of an 8-bit resize for an 8-bit image."""
        wanted, place = self._description, self._placed(*_sides(images))
        resized, (height, width), (top, left) = images, place.size, place.corner
        if place.size != _sides(images):
            smooth = F.interpolate(images, place.size, mode="bilinear", align_corners=False)
            resized = resized_as_files(images, smooth, lambda pixels: _resized_by_opencv(pixels, place.size))
        margins = (left, place.whole[1] - width - left, top, place.whole[0] - height - top)
        padded = F.pad(resized, margins, value=wanted.gray / 255)
        ordered = padded.flip(1) if wanted.order == "bgr" else padded
        mean, std = (ordered.new_tensor(values).view(3, 1, 1) for values in (wanted.mean, wanted.std))
        return (ordered * wanted.range - mean) / std

    def _to_image(self, boxes: Tensor, height: int, width: int) -> Tensor:
        """Return boxes of the prepared image in pixels of the given one."""
        place = self._placed(height, width)
        return (boxes - boxes.new_tensor([*place.corner[::-1]] * 2)) / boxes.new_tensor([*place.scale[::-1]] * 2)


def load_onnx(
    name: str, device: torch.device, weights: str | None, categories: Sequence[Category] | None
) -> OnnxDetector:
    """Load a detector. Raises `InputError`.

    - name: the file
    - device: where the conversion lives; ONNX Runtime is on the CPU
    - weights: None: the file holds its own
    - categories: names of its classes; None: those that it names itself, or COCO's 80
    """
    what, file = f"model {PREFIX}{name}", Path(name)
    if weights is not None:
        raise InputError(f"{what}: holds its weights; --weights does not apply")
    if not file.is_file():
        raise InputError(f"{what}: no such file")
    try:
        session = Session(file)
    except ImportError as error:
        raise InputError(f"{what}: needs onnxruntime (pip install '.[onnx]')") from error
    except Exception as error:  # the library has an exception for each way in which a file is none
        raise InputError(f"{what}: cannot be loaded ({reason(error)})") from error
    named = categories_named(_names(session, what)) if categories is None else tuple(categories)
    description = read_description(file).given(size=_size_of_metadata(session))
    _check_input(session, what)
    probe = torch.rand(
        1, 3, *(_input_size(session, description)[1] or (SIDE, SIDE)), generator=torch.Generator().manual_seed(0)
    )
    outputs = _probed(session, probe, what)
    head = recognized(outputs, len(named), what)
    full = description.given(fit=head.fit, nms_iou=head.nms_iou, score_threshold=head.score_threshold)
    network = _converted(file, session, probe, what) if isinstance(head, Dense) else None
    said = "with a gradient by onnx2torch" if network else "without a gradient"
    log.warning("%s: %s, %s classes, %s", what, head.title, len(named), said)
    network = None if network is None else network.to(device)
    return OnnxDetector(PREFIX + name, session, head, full, named, device, network, _digest(file))


def _check_input(session: Session, what: str) -> None:
    """Raise `InputError` where a file does not take float images `[N,3,H,W]` alone."""
    first = session.inputs[0]
    fits = len(session.inputs) == 1 and first.type == "tensor(float)" and len(first.shape) == 4 and first.shape[1] == 3
    if not fits:
        said = ", ".join(f"{one.name} {one.type} {one.shape}" for one in session.inputs)
        raise InputError(f"{what}: takes {said[:200]}, where float images [N,3,H,W] are expected")


def _input_size(session: Session, description: Description) -> tuple[bool, tuple[int, int] | None]:
    """Return whether a file takes several images at once, and the size `(H,W)` that it takes; None: any."""
    batch, _, height, width = session.inputs[0].shape
    fixed = isinstance(height, int) and isinstance(width, int)
    return not isinstance(batch, int), (height, width) if fixed else description.size


def _probed(session: Session, probe: Tensor, what: str) -> dict[str, Tensor]:
    try:
        return session.run(probe)
    except Exception as error:
        raise InputError(f"{what}: cannot be run ({reason(error)})") from error


def _names(session: Session, what: str) -> list[str]:
    """Return the names of the classes in a file's metadata, as ultralytics and libreyolo write them; else COCO's."""
    written = session.metadata.get("names")
    if written is None:
        return list(COCO_NAMES)
    try:
        names = {int(number): str(name) for number, name in ast.literal_eval(written).items()}
        return [names[number] for number in range(len(names))]
    except (AttributeError, ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError) as error:
        raise InputError(f"{what}: its metadata's names are no mapping from 0 on; pass --categories") from error


def _size_of_metadata(session: Session) -> tuple[int, int] | None:
    """Return the size `(H,W)` that a file's metadata ask for, as ultralytics writes it; None: they do not."""
    try:
        height, width = ast.literal_eval(session.metadata.get("imgsz", ""))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    sides = height, width
    return sides if all(type(side) is int and side > 0 for side in sides) else None


def _converted(file: Path, session: Session, probe: Tensor, what: str) -> nn.Module | None:
    """Return the file as a frozen network in torch; None, and a word on why, where that is not the same."""
    try:
        import onnx2torch

        import onnx

        warnings.filterwarnings("ignore", module=".*onnx2torch")  # of its own code, in every pass
        warnings.filterwarnings("ignore", message="Using a non-tuple sequence")  # the same, in a traced copy
        model = onnx.load(str(file))
        for used in model.opset_import:
            used.version = min(used.version, LAST_OPSET) if used.domain == "" else used.version
        _complete_clips(model.graph)
        network: nn.Module = onnx2torch.convert(model).eval().requires_grad_(False)
        _check_conversion(network, session, probe)
    except Exception as error:  # an operation that it does not know, a shape that it cannot follow
        log.warning("%s: no gradient, the conversion to torch fails (%s)", what, reason(error))
        return None
    return network


def _complete_clips(graph: Any) -> None:
    """Give a clip without a lower bound, of which onnx2torch makes nothing, the lowest float."""
    from onnx import numpy_helper

    clips = [node for node in graph.node if node.op_type == "Clip" and len(node.input) > 1 and not node.input[1]]
    if clips:
        lowest = np.array(np.finfo(np.float32).min, np.float32)
        graph.initializer.append(numpy_helper.from_array(lowest, LOWEST))
    for node in clips:
        node.input[1] = LOWEST


def _check_conversion(network: nn.Module, session: Session, probe: Tensor) -> None:
    """Raise ValueError where a network says something else than ONNX Runtime, or has no gradient."""
    seen = probe.clone().requires_grad_()
    ours, theirs = _outputs(network, seen, session.names), session.run(probe)
    for name, value in theirs.items():
        apart = float((ours[name].detach() - value).abs().max()) / max(float(value.abs().max()), 1e-6)
        if not apart <= TOLERANCE:
            raise ValueError(f"output {name} is {apart:.1e} of its largest value away")
    (gradient,) = torch.autograd.grad(torch.stack([value.sum() for value in ours.values()]).sum(), seen)
    if not (gradient.isfinite().all() and gradient.abs().max() > 0):
        raise ValueError("its gradient is zero, or not finite")


def _sides(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]


def _outputs(network: nn.Module, images: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    found = network(images)
    return dict(zip(names, found if isinstance(found, list | tuple) else [found], strict=True))


def _resized_by_opencv(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    import cv2

    arrays = pixels.permute(0, 2, 3, 1).cpu().numpy()
    resized = np.stack([cv2.resize(one, size[::-1], interpolation=cv2.INTER_LINEAR) for one in arrays])
    return torch.from_numpy(resized).permute(0, 3, 1, 2).float() / 255


def _digest(file: Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()
