"""ultralytics' detectors: YOLO of all generations and RT-DETR (extra `[ultralytics]`; that library is under AGPL-3.0).

Its predictor resizes 8-bit images with OpenCV and lets no gradient through. Here the network is called itself, with
the letterbox in the graph: an 8-bit image has the values of OpenCV's resize and the gradient of a tensor operation.
A `.pt` file of ultralytics is a pickle of a whole model, which runs code when it is read: name only one you trust.
"""

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from detattack.core.categories import categories_named
from detattack.core.errors import InputError, reason, unknown
from detattack.core.types import Candidates, Detections
from detattack.core.wording import counted
from detattack.detectors.parts.prompt import phrases_of
from detattack.detectors.parts.random_weights import calibrate, noise, tell_apart
from detattack.detectors.parts.resize import resized_as_files
from detattack.detectors.weights import NO_WEIGHTS, load_weights, seeded

PREFIX = "ultralytics/"
END_TO_END = ":end2end"
"""Ending of a name that asks for the head without NMS, as `predict(nms=False)` does."""
IMAGE_SIDE, STRIDE = 640, 32
"""The predictor's own side of an image, and the least stride of a network, in pixels."""
GRAY = 114 / 255
"""Of the letterbox."""
NMS_IOU, MOST = 0.7, 300
"""The predictor's own: it suppresses above this IoU, and returns at most so many."""


class UltralyticsDetector(ABC):
    """Adapter of an ultralytics model, with batch norms folded as its predictor has them."""

    eval_threshold = 0.001
    expected_ap = None
    LETTERBOX: ClassVar[bool]
    """Whether images keep their proportions, with a margin; else they are stretched to a square."""

    def __init__(self, name: str, network: Any, device: torch.device, side: int, head: "Head") -> None:
        """Freeze the network.

        - name: What reports call the detector.
        - network: The model of ultralytics.
        - device: Where it is to live.
        - side: The longer side in pixels to which images are resized; the next multiple of the stride is taken.
        - head: What is known of its head.
        """
        self.name, self.note = name, head.note
        layout = torch.channels_last if device.type == "cpu" else torch.preserve_format  # as the predictor has them
        if hasattr(network, "txt_feats"):
            network.txt_feats = network.txt_feats.clone()  # an encoder's are of inference mode, unfit for gradients
        self.network = network.fuse(verbose=False).eval().requires_grad_(False).to(device, memory_format=layout)
        self.device = device
        self.categories = categories_named(network.names[i] for i in range(len(network.names)))
        self._stride = max(int(network.stride.max()), STRIDE)
        self._side = side + -side % self._stride  # as the predictor has it

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {counted(len(self.categories), 'class')}, {self.device})"

    @abstractmethod
    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return all candidates; see `Detector`."""

    @abstractmethod
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Post-process candidates; see `Detector`."""

    @torch.no_grad()
    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        """Run ultralytics' own resize (for 8-bit images), network and post-processing, one image at a time."""
        return [self._detect_one(image, score_threshold) for image in images.to(self.device, torch.float32).split(1)]

    @abstractmethod
    def _detect_one(self, image: Tensor, score_threshold: float) -> Detections:
        """Run the official inference of an image `[1,3,H,W]`."""

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size `(H,W)` to which an image is resized."""
        if not self.LETTERBOX:
            return self._side, self._side
        ratio = min(self._side / height, self._side / width)
        return max(round(height * ratio), 1), max(round(width * ratio), 1)

    def _margins(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the left and top margins in pixels of an image of that size in its letterbox."""
        spare_y, spare_x = ((self._side - side) % self._stride / 2 for side in size)
        return round(spare_x - 0.1), round(spare_y - 0.1)

    def _prepared(self, images: Tensor) -> Tensor:
        """Return images in their letterbox, `[N,3,h,w]` in [0,1], sides divisible by the stride."""
        size = self._size(*images.shape[-2:])
        left, top = self._margins(size)
        smooth = F.interpolate(images, size, mode="bilinear", align_corners=False)
        resized = resized_as_files(images, smooth, lambda pixels: _resized_by_opencv(pixels, size))
        right, bottom = (-(size[1] + left) % self._stride, -(size[0] + top) % self._stride)
        return F.pad(resized, (left, right, top, bottom), value=GRAY)


class UltralyticsYolo(UltralyticsDetector):
    """Adapter of the heads that look at every cell: one-to-many with NMS, or one-to-one without.

    Of oriented boxes, the upright ones around them are reported.
    """

    LETTERBOX = True

    def __init__(self, name: str, network: Any, device: torch.device, side: int, head: "Head") -> None:
        """Freeze the network. Parameters as of the base class."""
        super().__init__(name, network, device, side, head)
        self._head = self.network.model[-1]
        self._head.max_det, self._head.agnostic_nms = MOST, head.agnostic
        self._oriented = hasattr(self._head, "ne")

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return every cell of every level with its box and its logits. One stage: `extra_boxes` are ignored."""
        height, width = images.shape[-2:]
        size = self._size(height, width)
        raw = self.network(self._prepared(images))[1]
        raw = raw.get("one2one" if self._head.end2end else "one2many", raw)
        decoded = self._head._get_decode_boxes(raw).transpose(1, 2)
        angles = raw["angle"].transpose(1, 2) if self._oriented else decoded[..., :0]
        scale = images.new_tensor([width / size[1], height / size[0]] * 2)
        left, top = self._margins(size)
        shift = images.new_tensor([left, top, 0, 0] if self._is_centered else [left, top] * 2)
        return Candidates(
            boxes=self._upright(torch.cat(((decoded - shift) * scale, angles), -1)),
            logits=raw["scores"].transpose(1, 2),
            state=((height, width), torch.cat((decoded, angles), -1)),
        )

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Post-process as the predictor does: the best pairs of the one-to-one head, or threshold and NMS by class."""
        size, all_decoded = candidates.state
        found = []
        for boxes, logits, decoded in zip(candidates.boxes.detach(), candidates.logits, all_decoded, strict=True):
            kept, best, labels = self._chosen(logits.sigmoid(), decoded, score_threshold)
            clipped = boxes[kept] if self._oriented else clip_boxes_to_image(boxes[kept], size)
            found.append(Detections(clipped.float(), best.float(), labels.long()))
        return found

    def _detect_one(self, image: Tensor, score_threshold: float) -> Detections:
        from ultralytics.utils.ops import scale_boxes

        values = self._prepared(image)
        output = self.network(values)[0]
        output = output[0] if isinstance(output, tuple) else output  # masks come beside it
        (one,) = self._suppress(output, score_threshold)
        boxes = scale_boxes(values.shape[-2:], one[:, :4].clone(), image.shape[-2:], xywh=self._oriented)
        boxes = torch.cat((boxes, one[:, 6:]), -1) if self._oriented else boxes
        centered = self._oriented  # suppression has made corners of the others
        return Detections(_upright(boxes, centered), one[:, 4], one[:, 5].long())

    @property
    def _is_centered(self) -> bool:
        """Tell whether the head gives center and size; else corners."""
        return self._oriented or not self._head.end2end

    def _upright(self, boxes: Tensor) -> Tensor:
        return _upright(boxes, self._is_centered)

    def _suppress(self, output: Tensor, score_threshold: float, **options: Any) -> Any:
        from ultralytics.utils.nms import non_max_suppression

        options |= {"max_det": MOST, "nc": len(self.categories), "rotated": self._oriented}
        options |= {"end2end": self._head.end2end, "agnostic": self._head.agnostic_nms}
        return non_max_suppression(output, score_threshold, NMS_IOU, **options)

    def _chosen(self, scores: Tensor, decoded: Tensor, score_threshold: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return candidates, scores and labels of what is above the threshold and not suppressed."""
        if self._head.end2end:
            best, labels, kept = self._head.get_topk_index(scores[None], MOST)
            above = best[0, :, 0] > score_threshold
            return kept[0][above], best[0, above, 0], labels[0, above, 0]
        output = torch.cat((decoded[:, :4], scores, decoded[:, 4:]), -1).T[None].float()
        (one,), (kept,) = self._suppress(output, score_threshold, return_idxs=True)
        return kept.view(-1).long(), one[:, 4], one[:, 5]


class UltralyticsRtdetr(UltralyticsDetector):
    """Adapter of RT-DETR: images are stretched to a square, each query is a candidate, there is no NMS."""

    LETTERBOX = False

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return every query with its box and its logits. Set prediction: `extra_boxes` are ignored."""
        height, width = images.shape[-2:]
        boxes, logits, first, *_ = self.network(self._prepared(images))[1]
        scale = images.new_tensor([width, height] * 2)
        places = _upright(first.detach(), centered=True) * scale
        return Candidates(_upright(boxes[-1], centered=True) * scale, logits[-1], anchors=places)

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Post-process as the head does: the best pairs of a query and a class, as many as there are queries."""
        found = []
        for boxes, scores in zip(candidates.boxes.detach(), candidates.logits.detach().sigmoid(), strict=True):
            best, index = scores.flatten().topk(len(scores))
            above = best > score_threshold
            query, label = index[above] // scores.shape[1], index[above] % scores.shape[1]
            found.append(Detections(boxes[query].float(), best[above].float(), label))
        return found

    def _detect_one(self, image: Tensor, score_threshold: float) -> Detections:
        height, width = image.shape[-2:]
        one = self.network(self._prepared(image))[0][0]
        one = one[one[:, 4] > score_threshold][:MOST]
        boxes = _upright(one[:, :4], centered=True) * one.new_tensor([width, height] * 2)
        return Detections(boxes, one[:, 4], one[:, 5].long())


def _upright(boxes: Tensor, centered: bool) -> Tensor:
    """Return boxes `[...,4]`, or `[...,5]` with an angle, as xyxy, also where a side is negative.

    centered: they are center and size; else corners.
    """
    if not centered:
        start, end = boxes.split(2, -1)
        return torch.cat((torch.minimum(start, end), torch.maximum(start, end)), -1)
    center, half = boxes[..., :2], boxes[..., 2:4].abs() / 2
    if boxes.shape[-1] == 5:
        sine, cosine = boxes[..., 4:].sin().abs(), boxes[..., 4:].cos().abs()
        half = half * cosine + half.flip(-1) * sine
    return torch.cat((center - half, center + half), -1)


def _resized_by_opencv(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    import cv2

    arrays = pixels.permute(0, 2, 3, 1).cpu().numpy()
    if arrays.shape[1:3] != size:
        arrays = np.stack([cv2.resize(one, size[::-1], interpolation=cv2.INTER_LINEAR) for one in arrays])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def _calibrate_cells(network: Any) -> None:
    """Calibrate the heads that look at every cell."""
    branches = [getattr(network.model[-1], name, None) for name in ("cv3", "one2one_cv3")]
    classes = [branch[0][-1] for branch in branches if branch is not None]
    coarser = tuple(f"cv3.{level}.2" for level in range(len(branches[0] or ())))
    calibrate(network, lambda: network(noise(8, IMAGE_SIDE // 2)), classes, coarser)


def _calibrate_prompted(network: Any) -> None:
    """Calibrate YOLOE, with random embeddings of its classes."""
    network.pe = seeded(lambda: F.normalize(torch.randn(1, len(network.names), network.model[-1].embed), dim=-1))
    _calibrate_cells(network)


@torch.no_grad()
def _calibrate_queries(network: Any) -> None:
    """Calibrate RT-DETR."""
    head = network.model[-1]
    seeded(lambda: tell_apart(head, (), ()))
    for steps in head.dec_bbox_head:
        steps.layers[-1].weight.div_(10)  # each layer refines a box
    calibrate(network, lambda: network(noise(8, IMAGE_SIDE // 2)), [head.enc_score_head, *head.dec_score_head])


@dataclass(frozen=True)
class Head:
    """What is known of a head.

    - note: What it gives beside boxes, and is left out.
    - agnostic: One box suppresses others whatever their classes.
    - adapter: The adapter of its models.
    - calibrate: Makes its random weights look at the image.
    """

    note: str = ""
    agnostic: bool = False
    adapter: type[UltralyticsDetector] = UltralyticsYolo
    calibrate: Callable[[Any], None] = _calibrate_cells


_MASKS = Head("the boxes are attacked and judged; its masks are left out")
_PROMPTED_MASKS = replace(_MASKS, agnostic=True, calibrate=_calibrate_prompted)
_POINTS = Head("the boxes are attacked and judged; its key points are left out")
_ORIENTED = Head("the upright boxes around its oriented ones are attacked and judged; the angle is left out")
HEADS = {
    "Detect": Head(),
    "v10Detect": Head(),
    "WorldDetect": Head(),
    "YOLOEDetect": Head(agnostic=True, calibrate=_calibrate_prompted),
    "Segment": _MASKS,
    "Segment26": _MASKS,
    "YOLOESegment": _PROMPTED_MASKS,
    "YOLOESegment26": _PROMPTED_MASKS,
    "Pose": _POINTS,
    "Pose26": _POINTS,
    "OBB": _ORIENTED,
    "OBB26": _ORIENTED,
    "RTDETRDecoder": Head(adapter=UltralyticsRtdetr, calibrate=_calibrate_queries),
}
"""By the name of its class."""


def load_ultralytics(
    spec: str, device: torch.device, weights: str | None, prompt: str | None = None
) -> UltralyticsDetector:
    """Load a model. Raises `InputError`.

    - spec: Its file (`.pt`), its name (`yolo11n.pt`, which ultralytics downloads), or its layout (`.yaml`); with
      `:end2end` after it for the head without NMS.
    - device: Where it is to live.
    - weights: For a layout, a file of tensors, or `none` for random ones; None for a file or name.
    - prompt: What YOLO-World or YOLOE look for; None: the classes that were set before the file was saved.
    """
    name, what = spec.removesuffix(END_TO_END), f"model {PREFIX}{spec}"
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")  # else it installs what a file or an encoder lacks
    try:
        from ultralytics import RTDETR, YOLO
    except ImportError as error:
        raise InputError(f"{what}: needs ultralytics (pip install '.[ultralytics]')") from error
    logging.getLogger("ultralytics").setLevel(logging.CRITICAL)  # what it warns of is said here, in one line
    is_layout = Path(name).suffix in (".yaml", ".yml")
    is_rtdetr = is_layout and "rtdetr" in Path(name).stem  # a file says so itself
    if is_layout != (weights is not None):
        lacks = "a layout needs --weights FILE or none" if is_layout else "holds its weights; --weights does not apply"
        raise InputError(f"{what}: {lacks}")
    try:
        model = seeded(lambda: RTDETR(name) if is_rtdetr else YOLO(name, verbose=False))
        network = model.model.float()
    except Exception as error:  # a file that is missing, no model, or of another version can raise anything
        raise InputError(f"{what}: cannot be loaded ({reason(error)})") from error
    head = head_of(what, network, spec != name)
    if weights not in (None, NO_WEIGHTS):
        load_weights(network, str(weights))
        if prompt is None and hasattr(network, "get_text_pe"):
            raise InputError(f"{what}: tensors do not tell its classes; pass --prompt 'car . person'")
    if prompt is not None:
        _look_for(what, network, prompt, encoded=weights != NO_WEIGHTS)
    if weights == NO_WEIGHTS:
        head.calibrate(network.eval())
    side = model.overrides.get("imgsz", IMAGE_SIDE)
    side = max(side) if isinstance(side, list | tuple) else int(side)
    return head.adapter(PREFIX + spec, network, device, side, head)


def head_of(what: str, network: Any, end_to_end: bool) -> Head:
    """Look up the head of a network, and set it to be the one without NMS or not. Raises `InputError`."""
    last = network.model[-1]
    kind = type(last).__name__
    if kind not in HEADS:
        raise unknown(f"head of {what}", kind, HEADS)
    if hasattr(last, "lrpc"):
        raise InputError(f"{what}: its head {kind} names classes of its own vocabulary, which is not known here")
    if end_to_end and getattr(last, "one2one_cv2", None) is None:
        raise InputError(f"{what}: its head {kind} has no branch without NMS")
    if hasattr(network, "end2end"):
        network.end2end = end_to_end
    return HEADS[kind]


def _look_for(what: str, network: Any, prompt: str, encoded: bool = True) -> None:
    """Make the phrases of a prompt the classes of YOLO-World or YOLOE. Raises `InputError`.

    - what: Names the model in messages.
    - network: Of ultralytics.
    - prompt: As of `load_ultralytics`.
    - encoded: By the text encoder of the model; else at random, as all of a model without weights is.
    """
    if not hasattr(network, "get_text_pe"):
        raise InputError(f"{what}: names its own classes; --prompt does not apply")
    phrases = list(phrases_of(prompt))
    is_world = hasattr(network, "txt_feats")
    if encoded:
        embeddings = _encoded(what, network, phrases)
    else:
        width = network.txt_feats.shape[-1] if is_world else network.model[-1].embed
        embeddings = seeded(lambda: F.normalize(torch.randn(1, len(phrases), width), dim=-1))
    if is_world:
        network.txt_feats, network.model[-1].nc = embeddings, len(phrases)
        network.names = dict(enumerate(phrases))
    else:
        network.set_classes(phrases, embeddings)


def _encoded(what: str, network: Any, phrases: list[str]) -> Tensor:
    """Return the embeddings `[1,K,C]` of phrases. Raises `InputError` where the encoder is not to be had."""
    needs = f"{what}: --prompt needs its text encoder"
    saved = "a file saved after model.set_classes([...]) needs none"
    if find_spec("clip") is None:
        raise InputError(f"{needs} (pip install git+https://github.com/ultralytics/CLIP.git); {saved}")
    try:
        return cast(Tensor, network.get_text_pe(phrases))
    except Exception as error:  # a download that fails can raise anything
        raise InputError(f"{needs}, which is downloaded where there is a network ({reason(error)}); {saved}") from error
