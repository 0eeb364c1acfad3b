"""detectron2's RetinaNet and Faster R-CNN: of its model zoo, or a user's own config and weights.

It resizes 8-bit images with Pillow, outside of its models. Here an 8-bit image has the values of that resize and
the gradient of a tensor operation; any other image, which Pillow cannot take, is resized by that operation.
"""

import logging
import pickle
from abc import ABC, abstractmethod
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

from detattack.core.errors import InputError, reason
from detattack.core.types import Candidates, Category, Detections
from detattack.core.wording import counted
from detattack.detectors.parts import log_odds
from detattack.detectors.parts.head_columns import Columns
from detattack.detectors.parts.proposals import ProposalRule, Regions, candidates_of, proposed_only, with_nearest
from detattack.detectors.parts.random_weights import calibrate, noise
from detattack.detectors.parts.resize import resized_as_files
from detattack.detectors.parts.settings import with_setting
from detattack.detectors.parts.topk import best_of_levels
from detattack.detectors.torchvision.base import scale_of
from detattack.detectors.weights import NO_WEIGHTS, choose_weights, fit_weights, names_of, read_weights, seeded

PREFIX = "detectron2/"
HEADS = ("cls_score", "bbox_pred", "objectness_logits", "anchor_deltas")
"""What detectron2 calls the last layers of its heads."""
ZOO_AP = {
    "COCO-Detection/retinanet_R_50_FPN_1x.yaml": 0.374,
    "COCO-Detection/retinanet_R_50_FPN_3x.yaml": 0.387,
    "COCO-Detection/retinanet_R_101_FPN_3x.yaml": 0.404,
    "COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml": 0.379,
    "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml": 0.402,
    "COCO-Detection/faster_rcnn_R_101_FPN_3x.yaml": 0.420,
    "COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x.yaml": 0.430,
}
"""Box AP on COCO val2017 of the model zoo's page."""


class Detectron2Detector(ABC):
    """Base class of the adapters of detectron2's models."""

    THRESHOLD = "test_score_thresh"
    """Where the network holds its threshold."""

    def __init__(
        self, name: str, network: Any, config: Any, columns: Columns, device: torch.device, expected_ap: float | None
    ) -> None:
        """Freeze the network and read its settings.

        - name: What reports call the detector.
        - network: The detectron2 model.
        - config: Its config.
        - columns: The columns of its head.
        - device: Where it lives.
        - expected_ap: COCO AP in [0,1] that the model zoo states.
        """
        self.name = name
        self.network = network.eval().requires_grad_(False)
        self.device = device
        self.expected_ap = expected_ap
        self.categories = columns.categories
        self.eval_threshold = float(attrgetter(self.THRESHOLD)(network))
        self._columns = columns
        self._short, self._long = config.INPUT.MIN_SIZE_TEST, config.INPUT.MAX_SIZE_TEST
        self._bgr = config.INPUT.FORMAT == "BGR"

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
        """Run the model as detectron2's predictor does, one image at a time."""
        height, width = images.shape[-2:]
        network, found = with_setting(self.network, self.THRESHOLD, score_threshold), []
        for image in images.to(self.device, torch.float32).split(1):
            values = self._resized(image)
            one = network([{"image": values[0], "height": height, "width": width}])[0]["instances"]
            found.append(self._columns.detections(one.pred_boxes.tensor, one.scores, one.pred_classes))
        return found

    def _resized(self, images: Tensor) -> Tensor:
        """Return `[N,3,h,w]` in the model's own size, color order and range, before normalization."""
        size = self._new_size(*images.shape[-2:])
        smooth = F.interpolate(images * 255, size, mode="bilinear", align_corners=False, antialias=True)
        resized = resized_as_files(images, smooth, self._resized_by_pillow)
        return resized.flip(1) if self._bgr else resized

    def _resized_by_pillow(self, pixels: Tensor) -> Tensor:
        from detectron2.data.transforms import ResizeTransform

        height, width = pixels.shape[-2:]
        resize = ResizeTransform(height, width, *self._new_size(height, width))
        arrays = [resize.apply_image(one) for one in pixels.permute(0, 2, 3, 1).cpu().numpy()]
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)

    def _new_size(self, height: int, width: int) -> tuple[int, int]:
        from detectron2.data.transforms import ResizeShortestEdge

        return ResizeShortestEdge.get_output_shape(height, width, self._short, self._long)

    def _features(self, images: Tensor) -> tuple[Any, dict[str, Tensor], Tensor]:
        """Return the model's batch, its feature maps, and the factors `[4]` from the resized image to the given one."""
        batch = self.network.preprocess_image([{"image": one} for one in self._resized(images)])
        size = (images.shape[-2], images.shape[-1])
        return batch, self.network.backbone(batch.tensor), scale_of(size, batch.image_sizes[0], images)

    def _reported(self, boxes: Tensor, scores: Tensor, columns: Tensor, size: tuple[int, int]) -> Detections:
        """Return detections clipped to the image, without boxes that are empty then."""
        boxes = clip_boxes_to_image(boxes, size)
        full = (boxes[:, 2:] > boxes[:, :2]).all(1)
        return self._columns.detections(boxes[full], scores[full], columns[full])


class Detectron2RetinaNet(Detectron2Detector):
    """Adapter of a `detectron2.modeling.RetinaNet`."""

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return every anchor with its decoded box and its logits, by level. One stage: `extra_boxes` are ignored."""
        net = self.network
        _, by_name, scale = self._features(images)
        features = [by_name[name] for name in net.head_in_features]
        logits, codes = net._transpose_dense_predictions(list(net.head(features)), [net.num_classes, 4])
        anchors = torch.cat([level.tensor for level in net.anchor_generator(features)]).expand(len(images), -1, -1)
        boxes = net.box2box_transform.apply_deltas(torch.cat(codes, 1).flatten(0, 1), anchors.flatten(0, 1))
        return Candidates(
            boxes=boxes.view_as(anchors).to(images.dtype) * scale,
            logits=torch.cat(logits, 1),
            anchors=anchors.to(images.dtype) * scale,
            state=([level.shape[1] for level in logits], (images.shape[-2], images.shape[-1])),
        )

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Post-process as the model does: threshold and top-k by level, NMS, clipping."""
        net, (sizes, image_size) = self.network, candidates.state
        found = []
        for boxes, logits in zip(candidates.boxes.detach(), candidates.logits.detach(), strict=True):
            kept_boxes, scores, columns = best_of_levels(
                boxes, logits.sigmoid(), sizes, score_threshold, net.test_topk_candidates
            )
            best = batched_nms(kept_boxes, scores, columns, net.test_nms_thresh)[: net.max_detections_per_image]
            found.append(self._reported(kept_boxes[best], scores[best], columns[best], image_size))
        return found


class Detectron2FasterRCNN(Detectron2Detector):
    """Adapter of a detectron2 Faster R-CNN with a feature pyramid. See `parts.proposals` for its candidates."""

    THRESHOLD = "roi_heads.box_predictor.test_score_thresh"

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return the head's logits and boxes by class for every proposal.

        extra_boxes: also for the regions nearest to these that are not proposed yet.
        """
        from detectron2.structures import Boxes

        heads = self.network.roi_heads
        batch, features, scale = self._features(images)
        regions = self._regions(batch, features, None if extra_boxes is None else extra_boxes / scale)
        proposals = [Boxes(one.boxes) for one in regions]
        pooled = heads.box_pooler([features[name] for name in heads.box_in_features], proposals)
        head, codes = heads.box_predictor(heads.box_head(pooled))
        flat = torch.cat([one.boxes for one in regions])
        boxes = heads.box_predictor.box2box_transform.apply_deltas(codes, flat)
        boxes = boxes.view(len(head), codes.shape[1] // 4, 4).to(images.dtype).expand(-1, heads.num_classes, -1)
        boxes = torch.cat((boxes, boxes[:, :1]), 1)  # the background column has no box; it is never looked at
        size = (images.shape[-2], images.shape[-1])
        return candidates_of(regions, self._columns, log_odds.of_softmax(head), boxes * scale, scale, size)

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Post-process the model's own proposals as it does: clipping, threshold, NMS by class."""
        size, predictor = candidates.state.image_size, self.network.roi_heads.box_predictor
        found = []
        for boxes, scores in proposed_only(candidates, self._columns):
            row, column = (scores > score_threshold).nonzero(as_tuple=True)
            kept, above = clip_boxes_to_image(boxes[row, column], size), scores[row, column]
            best = batched_nms(kept, above, column, predictor.test_nms_thresh)[: predictor.test_topk_per_image]
            found.append(self._reported(kept[best], above[best], column[best], size))
        return found

    def _regions(self, batch: Any, features: dict[str, Tensor], asked: Tensor | None) -> list[Regions]:
        """Return the proposals, and with `asked` boxes `[N,E,4]` (resized image) the regions nearest to those."""
        rpn = self.network.proposal_generator
        proposed, _ = rpn(batch, features, None)
        kept = [one.proposal_boxes.tensor for one in proposed]
        if asked is None:
            return [Regions(one, len(one), one[:0, 0]) for one in kept]
        maps = [features[name] for name in rpn.in_features]
        logits, codes = rpn.rpn_head(maps)
        objectness = [one.permute(0, 2, 3, 1).flatten(1) for one in logits]
        deltas = [one.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, -2).detach() for one in codes]
        boxes = torch.cat(rpn._decode_proposals(rpn.anchor_generator(maps), deltas), 1)
        rule = ProposalRule(rpn.nms_thresh, rpn.pre_nms_topk[False], rpn.post_nms_topk[False], -torch.inf)
        return [
            with_nearest(
                kept[i],
                proposed[i].objectness_logits.detach(),
                clip_boxes_to_image(boxes[i], batch.image_sizes[i]),
                torch.cat(objectness, 1)[i],
                asked[i],
                [one.shape[1] for one in objectness],
                rule,
            )
            for i in range(len(kept))
        ]


def load_detectron2(
    name: str, device: torch.device, weights: str | None, categories: Sequence[Category] | None
) -> Detectron2Detector:
    """Load the model of a config. Raises `InputError`.

    - name: A config of detectron2's model zoo, or a file.
    - device: Where the model is to live.
    - weights: A file; `none` for random ones; None for what the config names, or the model zoo's.
    - categories: Those of a model that was trained on a data set which detectron2 does not know.
    """
    what = f"model {PREFIX}{name}"
    try:
        from detectron2.modeling import build_model
    except ImportError as error:
        raise InputError(f"{what}: needs detectron2, which is built from source; see docs/detectors.md") from error
    config, in_zoo = _config(what, name)
    config.MODEL.DEVICE = str(device)
    architecture = _architecture(what, config)
    names = _categories(what, config) if categories is None else tuple(categories)
    is_retinanet = architecture is Detectron2RetinaNet
    count = config.MODEL.RETINANET.NUM_CLASSES if is_retinanet else config.MODEL.ROI_HEADS.NUM_CLASSES
    if len(names) != count:
        raise InputError(f"{what}: has {counted(count, 'class')}, {counted(len(names), 'is', 'are')} named")
    network = seeded(lambda: build_model(config)).eval()
    _load(what, network, config, name if in_zoo else None, weights)
    columns = Columns(names, device) if is_retinanet else Columns([*names, None], device, count)
    expected = ZOO_AP.get(name) if in_zoo and weights is None else None
    detector = architecture(PREFIX + name, network, config, columns, device, expected)
    if weights == NO_WEIGHTS:
        classes = network.head.cls_score if is_retinanet else network.roi_heads.box_predictor.cls_score
        calibrate(network, lambda: detector.detect(noise(1, 128).to(device), 0.5), [classes], HEADS)
    return detector


def _config(what: str, name: str) -> tuple[Any, bool]:
    """Return the config, and whether it is the model zoo's."""
    from detectron2.config import get_cfg

    from detectron2 import model_zoo

    for library in ("fvcore", "iopath", "detectron2"):  # what they warn of is said here, in one line
        logging.getLogger(library).setLevel(logging.CRITICAL)
    config, in_zoo = get_cfg(), not Path(name).is_file()
    try:
        path = model_zoo.get_config_file(name) if in_zoo else name
        _check_plain(Path(path), Path(model_zoo.__file__).parent)
        config.merge_from_file(path)
    except Exception as error:  # a config can be wrong in every way that YAML and Python know
        where = "neither a file nor in the model zoo" if in_zoo else "its config cannot be read"
        raise InputError(f"{what}: {where} ({reason(error)})") from error
    return config, in_zoo


def _check_plain(path: Path, zoo: Path) -> None:
    """Raise for a config that would run Python when it is read, which only the model zoo's own ones may."""
    while not path.resolve().is_relative_to(zoo.resolve()):
        content = yaml.safe_load(path.read_text())
        base = content.get("_BASE_")
        if base is None:
            return
        path = path.parent / Path(base).expanduser()


def _architecture(what: str, config: Any) -> type[Detectron2Detector]:
    meta, heads = config.MODEL.META_ARCHITECTURE, config.MODEL.ROI_HEADS.NAME
    if meta == "RetinaNet":
        return Detectron2RetinaNet
    if meta == "GeneralizedRCNN" and heads == "StandardROIHeads" and not config.MODEL.LOAD_PROPOSALS:
        return Detectron2FasterRCNN
    raise InputError(f"{what}: {meta} with {heads} is not known here; RetinaNet and Faster R-CNN with FPN or DC5 are")


def _categories(what: str, config: Any) -> tuple[Category, ...]:
    """Return names and ids of the data set that the config is tested on."""
    from detectron2.data import MetadataCatalog

    dataset = config.DATASETS.TEST[0] if config.DATASETS.TEST else ""
    metadata = MetadataCatalog.get(dataset) if dataset in MetadataCatalog.list() else None
    names = getattr(metadata, "thing_classes", None)
    if not names:
        raise InputError(f"{what}: the classes of its data set {dataset!r} are not known; pass --categories FILE")
    ids = getattr(metadata, "thing_dataset_id_to_contiguous_id", {i + 1: i for i in range(len(names))})
    id_of = {label: dataset_id for dataset_id, label in ids.items()}
    return tuple(Category(name, id_of[label]) for label, name in enumerate(names))


def _load(what: str, network: Any, config: Any, zoo_name: str | None, weights: str | None) -> None:
    if weights == NO_WEIGHTS:
        return None
    if weights is not None or Path(config.MODEL.WEIGHTS).is_file():
        path = weights if weights is not None else config.MODEL.WEIGHTS
        own, is_pickle = names_of(network), Path(path).suffix == ".pkl" and Path(path).is_file()
        tensors = choose_weights(_arrays(path), path, own) if is_pickle else read_weights(path, own)
        # Older checkpoints also hold what the config says.
        derived = ("pixel_mean", "pixel_std")
        kept = {k: v for k, v in tensors.items() if k not in derived and "anchor_generator." not in k}
        return fit_weights(network, kept, path)
    if zoo_name is None:
        raise InputError(f"{what}: its config names no file of weights; pass --weights FILE")
    from detectron2.checkpoint import DetectionCheckpointer

    from detectron2 import model_zoo

    try:
        DetectionCheckpointer(network).load(model_zoo.get_checkpoint_url(zoo_name))
    except Exception as error:  # the net, the cache on disk, or a config that the zoo has no weights for
        why = f"its weights cannot be downloaded ({reason(error)})"
        raise InputError(f"{what}: {why}; pass --weights FILE") from error


class _ArraysOnly(pickle.Unpickler):
    """Refuses everything but NumPy's arrays."""

    ALLOWED = {
        (module, name)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
        for name in ("_reconstruct", "ndarray", "dtype", "scalar")
    } | {("collections", "OrderedDict"), ("_codecs", "encode")}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is no array")
        return super().find_class(module, name)


def _arrays(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of one of detectron2's `.pkl` files by name. Anything but arrays is refused, never run."""
    try:
        with Path(path).open("rb") as file:
            content = _ArraysOnly(file, encoding="latin1").load()
        return {str(key): torch.as_tensor(value) for key, value in content.get("model", content).items()}
    except Exception as error:  # a damaged file can make the unpickler raise nearly anything
        raise InputError(f"weights {path}: not arrays by name ({reason(error)}); refused") from error
