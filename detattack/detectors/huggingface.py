"""Adapter of the set-prediction detectors of Hugging Face transformers (extra `[hf]`).

These are DETR and what came of it (`FAMILIES`), through `AutoModelForObjectDetection`. Each query is a candidate; there
is no NMS. The work of the image processor (resize, rescale, normalize, pad) is done by tensor operations, for the
gradient; `detect` runs the processor itself. Most processors round an 8-bit image after resizing it: such an image has
the values of the processor and the gradient of the operations.
"""

import inspect
import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from detattack.core.categories import categories_named
from detattack.core.errors import InputError, reason, unknown
from detattack.core.types import Candidates, Category, Detections
from detattack.detectors.parts import log_odds
from detattack.detectors.parts.attached import Attached
from detattack.detectors.parts.batchnorm_fix import straighten
from detattack.detectors.parts.head_columns import UNNAMED, Columns
from detattack.detectors.parts.random_weights import calibrate, noise, tell_apart
from detattack.detectors.parts.resize import as_pixels, resized_as_files
from detattack.detectors.weights import NO_WEIGHTS, load_weights, seeded

PREFIX = "hf/"
QUERIES = ("query_position_embeddings.weight", "detection_tokens")
"""What the families call what their queries start from."""
SLOTS = ("query_feat.weight", "reference_point_embed.weight")
"""What they call what a query has beside the place that it starts from."""
CLASS_HEAD = re.compile(r"class|enc_score_head")
"""What they call the layers of class logits."""
RESAMPLING = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of what torch can do with a gradient."""


@dataclass(frozen=True)
class Family:
    """What sets a family apart from the others.

    - title: What people call it.
    - softmax: Scores are a softmax over the classes and "no object"; else a sigmoid for each class.
    - antialias: Its image processor smooths where it reduces.
    """

    title: str
    softmax: bool = False
    antialias: bool = True


FAMILIES = {
    "detr": Family("DETR", softmax=True),
    "conditional_detr": Family("Conditional DETR"),
    "dab-detr": Family("DAB-DETR"),
    "deformable_detr": Family("Deformable DETR"),
    "table-transformer": Family("Table Transformer", softmax=True),
    "yolos": Family("YOLOS", softmax=True),
    "rt_detr": Family("RT-DETR"),
    "rt_detr_v2": Family("RT-DETRv2"),
    "d_fine": Family("D-FINE"),
    "deimv2": Family("DEIMv2"),
    "lw_detr": Family("LW-DETR"),
    "rf_detr": Family("RF-DETR", antialias=False),
}
"""By `config.model_type`."""


class HfDetr:
    """Adapter of a transformers model for object detection, with its image processor."""

    eval_threshold = 0.0
    expected_ap = None

    def __init__(self, name: str, network: Any, processor: Any, device: torch.device) -> None:
        """Freeze the network and make it differentiable.

        - name: What reports call the detector.
        - network: The model of transformers.
        - processor: Its image processor.
        - device: Where it is to live.
        """
        self.name = name
        self.network = network.eval().requires_grad_(False).to(device)
        self.device = device
        self._processor = processor
        straighten(network)
        self._masked = "pixel_mask" in inspect.signature(network.forward).parameters
        self._family = FAMILIES[network.config.model_type]
        head = _head(network.config.id2label)
        self._columns = Columns([*head, None], device, len(head)) if self._family.softmax else Columns(head, device)
        self.categories = self._columns.categories
        self._geometry = lru_cache(maxsize=64)(self._geometry_of)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self.categories)} classes, {self.device})"

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return every query with its box and its logits. Set prediction: `extra_boxes` are ignored."""
        height, width = images.shape[-2:]
        output = self._forward(*self._prepared(images))
        logits = log_odds.of_softmax(output.logits) if self._family.softmax else output.logits
        named, unnamed = self._columns.split(logits)
        first_stage = getattr(output, "enc_topk_bboxes", None)
        scale = images.new_tensor([width, height, width, height])
        return Candidates(
            boxes=_corners(output.pred_boxes) * scale,
            logits=named,
            anchors=None if first_stage is None else _corners(first_stage.detach()) * scale,
            state=unnamed,
        )

    @torch.no_grad()
    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Post-process as the processor does: with softmax the best class of each query, else the best pairs."""
        logits = self._columns.join(candidates.logits.detach(), candidates.state.detach())
        choose = self._best_classes if self._family.softmax else self._best_pairs
        found = []
        for boxes, scores in zip(candidates.boxes.detach(), logits.sigmoid(), strict=True):
            query, column = choose(scores)
            above = scores[query, column] > score_threshold
            query, column = query[above], column[above]
            found.append(self._columns.detections(boxes[query], scores[query, column], column))
        return found

    @torch.no_grad()
    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        """Run image processor, model and post-processing, one image at a time.

        An image that is not 8-bit has no official resize: it is prepared as in `candidates`.
        """
        found = []
        for image in images.to(self.device, torch.float32).split(1):
            pixels, of_file = as_pixels(image)
            output = self._forward(*(self._processed(pixels) if of_file else self._prepared(image)))
            size = tuple(image.shape[-2:])
            (one,) = self._processor.post_process_object_detection(output, score_threshold, [size])
            found.append(self._columns.detections(one["boxes"], one["scores"], one["labels"]))
        return found

    def _forward(self, values: Tensor, mask: Tensor | None) -> Any:
        masked = {"pixel_mask": mask.to(self.device)} if self._masked and mask is not None else {}
        with Attached():
            return self.network(pixel_values=values, **masked)

    def _process(self, images: Tensor) -> Any:
        return self._processor(images=list(images), return_tensors="pt", input_data_format="channels_first")

    def _processed(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        inputs = self._process(pixels)
        return inputs["pixel_values"].to(self.device), inputs.get("pixel_mask")

    def _prepared(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return `pixel_values`, and `pixel_mask` if there is one: the processor's work as tensor operations."""
        processor, given = self._processor, images
        (height, width), padded, mask = self._geometry(*images.shape[-2:])
        if (height, width) != tuple(images.shape[-2:]):
            mode = RESAMPLING[int(processor.resample)]
            antialias = self._family.antialias
            images = F.interpolate(images, (height, width), mode=mode, align_corners=False, antialias=antialias)
        images = images * self._gain()
        if processor.do_normalize:
            mean, std = (images.new_tensor(v).view(3, 1, 1) for v in (processor.image_mean, processor.image_std))
            images = (images - mean) / std
        prepared = F.pad(images, (0, padded[1] - width, 0, padded[0] - height))
        prepared = resized_as_files(given, prepared, lambda pixels: self._process(pixels)["pixel_values"])
        return prepared, None if mask is None else mask.expand(len(given), -1, -1)

    def _geometry_of(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int], Tensor | None]:
        """Return the new size of an image of that size, its padded size, and the mask `[1,H,W]`.

        A blank image is processed to find out, since each family, and each version, rounds in its own way.
        """
        blank = self._process(torch.zeros(1, 3, height, width, dtype=torch.uint8))
        padded = tuple(blank["pixel_values"].shape[-2:])
        mask = blank.get("pixel_mask")
        if mask is None:
            return padded, padded, None
        return (int(mask[0].any(1).sum()), int(mask[0].any(0).sum())), padded, mask

    def _gain(self) -> float:
        """Return the factor from [0,1] to the range that is normalized."""
        return 255 * self._processor.rescale_factor if self._processor.do_rescale else 255.0

    def _best_classes(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        return torch.arange(len(scores), device=scores.device), scores.argmax(-1)

    def _best_pairs(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        parameters = inspect.signature(self._processor.post_process_object_detection).parameters
        most = parameters["top_k"].default if "top_k" in parameters else None  # RF-DETR's is None: a pair a query
        index = scores.flatten().topk(min(most or len(scores), scores.numel())).indices
        return index // scores.shape[1], index % scores.shape[1]


def _corners(boxes: Tensor) -> Tensor:
    """Convert boxes `[...,4]` from center and size to xyxy."""
    center, size = boxes.split(2, -1)
    return torch.cat((center - size / 2, center + size / 2), -1)


def _head(names: dict[int, str]) -> list[Category | None]:
    """Return the category of each class column."""
    in_order = [names[i] for i in range(len(names))]
    of_name = {c.name: c for c in categories_named(name for name in in_order if name not in UNNAMED)}
    return [of_name.get(name) for name in in_order]


def load_hf(name: str, device: torch.device, weights: str | None) -> HfDetr:
    """Load a model. Raises `InputError`.

    - name: Its name on Hugging Face's hub, or a folder.
    - device: Where it is to live.
    - weights: A file that replaces the model's; `none` for random ones; None for the model's own.
    """
    what = f"model {PREFIX}{name}"
    try:
        from transformers import AutoConfig, AutoImageProcessor, AutoModelForObjectDetection
    except ImportError as error:
        raise InputError(f"{what}: needs transformers (pip install 'detattack[hf]')") from error
    if not Path(name).is_dir() and (name.count("/") > 1 or name.startswith((".", "/"))):
        raise InputError(f"{what}: no such folder")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of every retry
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)  # nor is anybody asked
        if config.model_type not in FAMILIES:
            raise unknown(f"family of {what}", config.model_type, FAMILIES)
        processor = AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
        if weights is None:
            load = AutoModelForObjectDetection.from_pretrained
            network, info = load(name, output_loading_info=True, trust_remote_code=False)
        else:
            info = {}
            network = seeded(lambda: AutoModelForObjectDetection.from_config(config))
    except (OSError, ValueError, ImportError, KeyError) as error:
        where = "" if Path(name).is_dir() else "; is it on the hub, and is the hub within reach?"
        raise InputError(f"{what}: cannot be loaded ({reason(error)}){where}") from error
    if info.get("missing_keys"):
        lacking = ", ".join(map(repr, sorted(info["missing_keys"])[:3]))
        raise InputError(f"{what}: its weights are not those of a detector of that family, they lack {lacking}")
    if weights not in (None, NO_WEIGHTS):
        load_weights(network, str(weights))
    if int(processor.resample) not in RESAMPLING:
        raise InputError(f"{what}: its image processor resamples in a way that has no gradient here")
    detector = HfDetr(PREFIX + name, network, processor, device)
    if weights == NO_WEIGHTS:
        _calibrate(detector)
    return detector


@torch.no_grad()
def _calibrate(detector: HfDetr) -> None:
    network = detector.network
    seeded(lambda: tell_apart(network, QUERIES, SLOTS))
    widths = [len(network.config.id2label) + spare for spare in (0, 1)]
    named = [module for name, module in network.named_modules() if CLASS_HEAD.search(name)]
    classes = [module for module in named if getattr(module, "out_features", None) in widths]
    calibrate(network, lambda: detector.candidates(noise(8, 128).to(detector.device)), classes)
    # Many a query would answer with a column that names nothing, which is no detection.
    unnamed = [i for i, name in network.config.id2label.items() if name in UNNAMED]
    for layer in classes:
        layer.bias[unnamed] = -20
