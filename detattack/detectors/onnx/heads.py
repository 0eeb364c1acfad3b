"""Kinds of heads in ONNX files, recognized by names and shapes of their outputs.

- YOLO: one output of 4 + K or 5 + K numbers a box, in either order of axes: center and size in pixels, perhaps an
  objectness, and a score for each class
- boxes and scores (SSD, RetinaNet): `[N,A,4]`, xyxy in pixels or in shares, and scores in [0,1], `[N,A,K]`, or K + 1
  with a background first
- queries (DETR): boxes `[N,Q,4]`, center and size in shares, and logits `[N,Q,K]`, or K + 1 with "no object" last
  where `logit` is in their name
- detections, with NMS done: `[1,M,6]`, or boxes, scores and labels of their own; no gradient leads through them
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torchvision.ops import box_convert

from detattack.core.errors import InputError
from detattack.core.types import Detections
from detattack.core.wording import counted
from detattack.detectors.onnx.description import Fit
from detattack.detectors.parts import log_odds
from detattack.detectors.parts.log_odds import are_scores

LARGEST_SHARE = 2.0
"""Half of the numbers of boxes are below it where they are shares of an image or codes, and above it in pixels."""
MOST_SWAPPED = 0.1
"""Share of the corners of detections that may be swapped; of centers and sizes many more would be."""
Outputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class Dense(ABC):
    """A head that says of many boxes what they are. The defaults are those of `Description`."""

    title: ClassVar[str]
    fit: ClassVar[Fit] = "stretch"
    nms_iou: ClassVar[float | None] = 0.5
    score_threshold: ClassVar[float] = 0.05
    clips_first: ClassVar[bool] = True
    """Whether boxes are cut to the image before those that overlap are sorted out."""

    @property
    def one_class(self) -> bool:
        """Whether a box is reported with its best class alone."""
        return False

    @abstractmethod
    def read(self, outputs: Outputs, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return boxes `[N,A,4]`, xyxy in pixels of the prepared image of `size` `(H,W)`, and logits `[N,A,K]`."""


@dataclass(frozen=True)
class Yolo(Dense):
    """One output. columns_first: its axis of numbers comes before that of boxes."""

    title: ClassVar[str] = "YOLO"
    fit: ClassVar[Fit] = "letterbox"
    nms_iou: ClassVar[float | None] = 0.7
    score_threshold: ClassVar[float] = 0.001
    clips_first: ClassVar[bool] = False
    output: str
    columns_first: bool
    objectness: bool

    @property
    def one_class(self) -> bool:
        """As YOLO's own post-processing has it."""
        return True

    def read(self, outputs: Outputs, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return boxes and log-odds; an objectness multiplies the scores."""
        found = outputs[self.output]
        found = found.transpose(1, 2) if self.columns_first else found
        scores = found[..., 5:] * found[..., 4:5] if self.objectness else found[..., 4:]
        return box_convert(found[..., :4], "cxcywh", "xyxy"), log_odds.of_score(scores)


@dataclass(frozen=True)
class BoxesAndScores(Dense):
    """Two outputs. in_shares: boxes are in shares of the prepared image's sides; else in its pixels."""

    title: ClassVar[str] = "boxes and scores"
    boxes: str
    scores: str
    background: bool
    in_shares: bool

    def read(self, outputs: Outputs, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return boxes and log-odds."""
        scores, boxes = outputs[self.scores], outputs[self.boxes]
        boxes = boxes * boxes.new_tensor([*size[::-1]] * 2) if self.in_shares else boxes
        return boxes, log_odds.of_score(scores[..., 1:] if self.background else scores)


@dataclass(frozen=True)
class Queries(Dense):
    """Two outputs of set prediction. softmax: the last column is "no object"."""

    title: ClassVar[str] = "DETR"
    nms_iou: ClassVar[float | None] = None
    score_threshold: ClassVar[float] = 0.0
    boxes: str
    logits: str
    softmax: bool

    @property
    def one_class(self) -> bool:
        """Of a softmax the best class of a query is reported."""
        return self.softmax

    def read(self, outputs: Outputs, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return boxes and logits."""
        logits, boxes = outputs[self.logits], box_convert(outputs[self.boxes], "cxcywh", "xyxy")
        height, width = size
        classes = log_odds.of_softmax(logits)[..., :-1] if self.softmax else logits
        return boxes * boxes.new_tensor([width, height, width, height]), classes


@dataclass(frozen=True)
class Finished:
    """Detections with NMS done, xyxy in pixels of the prepared image. Either one output, or boxes, scores, labels."""

    title: ClassVar[str] = "detections"
    fit: ClassVar[Fit] = "stretch"
    nms_iou: ClassVar[float | None] = None
    score_threshold: ClassVar[float] = 0.0
    outputs: tuple[str, ...]

    def read(self, outputs: Outputs) -> Detections:
        """Return the detections of the one image."""
        if len(self.outputs) == 1:
            rows = outputs[self.outputs[0]].reshape(-1, 6)
            return Detections(rows[:, :4].float(), rows[:, 4].float(), rows[:, 5].long())
        boxes, scores, labels = (outputs[name] for name in self.outputs)
        return Detections(boxes.reshape(-1, 4).float(), scores.reshape(-1).float(), labels.reshape(-1).long())


Head = Dense | Finished


def recognized(outputs: Outputs, classes: int, where: str) -> Head:
    """Return the kind of head that a file has.

    - outputs: what it gives for one image
    - classes: how many it names
    - where: names the file in messages

    Raises `InputError` for outputs that nobody knows.
    """
    head = _one(outputs, classes, where) if len(outputs) == 1 else _several(outputs, classes)
    if head is None:
        said = ", ".join(f"{name} {list(value.shape)}" for name, value in outputs.items())
        raise InputError(
            f"{where}: outputs {said[:200]} are of no known head with {counted(classes, 'class')} (YOLO, boxes and "
            "scores, DETR, detections; docs/recipes.md); are the classes named, by --categories?"
        )
    return head


def _one(outputs: Outputs, classes: int, where: str) -> Head | None:
    ((name, values),) = outputs.items()
    shape, rows_of_six = values.shape, values.shape[-1] == 6 and values.ndim in (2, 3)
    if len(shape) == 3 and not (rows_of_six and _are_detections(values)):
        for columns, objectness in ((4 + classes, False), (5 + classes, True)):
            if columns in shape[1:]:
                head = Yolo(name, columns_first=shape[2] != columns, objectness=objectness)
                _check_decoded(values.transpose(1, 2) if head.columns_first else values, name, where)
                return head
    return Finished((name,)) if rows_of_six else None


def _check_decoded(rows: Tensor, name: str, where: str) -> None:
    """Raise `InputError` for rows of a YOLO `[N,A,4+K]` that are codes of boxes, or logits, as some exporters do."""
    if _are_small(rows[..., :4]):
        said = "boxes that are not in pixels; export them decoded (YOLOX: --decode_in_inference)"
    elif not are_scores(rows[..., 4:]):
        said = "scores that are not in [0,1]; export them with their sigmoid"
    else:
        return
    raise InputError(f"{where}: output {name} has {said}")


def _are_small(boxes: Tensor) -> bool:
    """Whether boxes are in shares of an image or codes, not in pixels."""
    return float(boxes.abs().median()) <= LARGEST_SHARE


def _are_detections(rows: Tensor) -> bool:
    """Whether rows `[...,6]` are corners, score and class: raw scores of one or two classes are no whole numbers.

    Some corners of what is hardly detected may be swapped, where a head has no bins for the sides of a box.
    """
    corners, label = rows[..., :4], rows[..., 5]
    swapped = (corners[..., 2:] < corners[..., :2]).double().mean()
    return bool((label == label.round()).all()) and not float(swapped) > MOST_SWAPPED


def _several(outputs: Outputs, classes: int) -> Head | None:
    shapes = {name: tuple(value.shape) for name, value in outputs.items()}
    boxes = [name for name, shape in shapes.items() if shape[-1:] == (4,)]
    named = [name for name in boxes if "box" in name.lower()] or boxes
    if len(named) != 1:
        return None
    count = shapes[named[0]][-2:-1]
    others = {name: shape for name, shape in shapes.items() if name != named[0]}
    dense = [name for name, shape in others.items() if len(shape) == 3 and shape[1:2] == count]
    fitting = [name for name in dense if shapes[name][2] - classes in (0, 1)]
    if len(fitting) == 1:
        return _boxes_and(fitting[0], named[0], outputs, spare=shapes[fitting[0]][2] > classes)
    flat = [name for name, shape in others.items() if shape[-1:] == count and len(shape) <= 2]
    labels, scores = ([name for name in flat if key in name.lower()] for key in ("label", "score"))
    return Finished((named[0], *scores, *labels)) if len(labels) == len(scores) == 1 else None


def _boxes_and(values: str, boxes: str, outputs: Outputs, spare: bool) -> Head | None:
    """Return what boxes and an output of `values` for the classes are: by their numbers, whatever they are called.

    spare: there is a column more than classes.
    """
    in_shares = _are_small(outputs[boxes])
    if "logit" not in values.lower() and are_scores(outputs[values]):
        return BoxesAndScores(boxes, values, background=spare, in_shares=in_shares)
    # A column more of logits that are not called so may be "no object", or a background of sigmoids.
    is_known = in_shares and ("logit" in values.lower() or not spare)
    return Queries(boxes, values, softmax=spare) if is_known else None
