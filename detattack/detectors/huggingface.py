"""Adapter of the set-prediction detectors of Hugging Face transformers (extra `[hf]`).

These are DETR and what came of it (`FAMILIES`), through `AutoModelForObjectDetection`. Each query is a candidate; there
is no NMS. The work of the image processor (resize, rescale, normalize, pad) is done by tensor operations, for the
gradient; `detect` runs the processor itself. Most processors round an 8-bit image after resizing it: such an image has
the values of the processor and the gradient of the operations.
"""

import inspect
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from detattack.core.categories import categories_named
from detattack.core.errors import InputError, reason, unknown
from detattack.core.types import Candidates, Category, Detections
from detattack.core.wording import counted
from detattack.detectors.parts import log_odds
from detattack.detectors.parts.attached import Attached
from detattack.detectors.parts.batchnorm_fix import straighten
from detattack.detectors.parts.head_columns import UNNAMED, Columns
from detattack.detectors.parts.prompt import phrases_of
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


@dataclass(frozen=True)
class Family:
    """What sets a family apart from the others.

    - title: What people call it.
    - softmax: Scores are a softmax over the classes and "no object"; else a sigmoid for each class.
    - prompt: Of an open vocabulary, how the model reads its phrases: each on its own, or joined into one text, each
      token of which has a score.
    - square: Boxes are shares of the longer side, to which images are padded.
    """

    title: str
    softmax: bool = False
    prompt: Literal["each", "joined"] | None = None
    square: bool = False

    @property
    def one_class(self) -> bool:
        """Tell whether a query is a detection of its best class alone."""
        return self.softmax or self.prompt is not None


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
    "rf_detr": Family("RF-DETR"),
    "owlvit": Family("OWL-ViT", prompt="each"),
    "owlv2": Family("OWLv2", prompt="each", square=True),
    "grounding-dino": Family("Grounding DINO", prompt="joined"),
    "mm-grounding-dino": Family("MM-Grounding-DINO", prompt="joined"),
}
"""By `config.model_type`."""


class HfDetr:
    """Adapter of a transformers model for object detection, with its image processor."""

    eval_threshold = 0.0
    expected_ap = None

    def __init__(
        self, name: str, network: Any, processor: Any, head: Sequence[Category | None], device: torch.device
    ) -> None:
        """Freeze the network and make it differentiable.

        - name: What reports call the detector.
        - network: The model of transformers.
        - processor: Its image processor.
        - head: The category of each class column, None for one that names nothing.
        - device: Where it is to live.
        """
        self.name = name
        self.network = network.eval().requires_grad_(False).to(device)
        self.device = device
        self._processor = processor
        straighten(network)
        self._masked = "pixel_mask" in inspect.signature(network.forward).parameters
        self._family = FAMILIES[network.config.model_type]
        self._columns = Columns([*head, None], device, len(head)) if self._family.softmax else Columns(head, device)
        self.categories = self._columns.categories

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {counted(len(self.categories), 'class')}, {self.device})"

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return every query with its box and its logits. Set prediction: `extra_boxes` are ignored."""
        height, width = images.shape[-2:]
        output = self._forward(*self._prepared(images))
        logits = log_odds.of_softmax(output.logits) if self._family.softmax else output.logits
        named, unnamed = self._columns.split(logits)
        first_stage = getattr(output, "enc_topk_bboxes", None)
        longer = max(height, width)
        scale = images.new_tensor([longer] * 4 if self._family.square else [width, height] * 2)
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
        choose = self._best_classes if self._family.one_class else self._best_pairs
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
            output = self._forward(*(self._process(pixels) if of_file else self._prepared(image)))
            size = tuple(image.shape[-2:])
            (one,) = self._processor.post_process_object_detection(output, score_threshold, [size])
            found.append(self._columns.detections(one["boxes"], one["scores"], one["labels"]))
        return found

    def _forward(self, values: Tensor, mask: Tensor | None, **inputs: Any) -> Any:
        masked = {"pixel_mask": mask.to(self.device)} if self._masked and mask is not None else {}
        with Attached():
            return self.network(pixel_values=values, **masked, **inputs)

    def _process(self, images: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
        """Return `pixel_values`, and `pixel_mask` if there is one, of images `[N,3,H,W]`."""
        options |= {"return_tensors": "pt", "input_data_format": "channels_first"}
        inputs = self._processor(images=list(images), **options)
        return inputs["pixel_values"].to(self.device), inputs.get("pixel_mask")

    def _prepared(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what the processor makes of images, with its gradient: it is made of tensor operations.

        It normalizes in float32 alone, so that this is done here.
        """
        smooth, mask = self._process(images * self._gain(), do_rescale=False, do_normalize=False)
        if self._processor.do_normalize:
            mean, std = (smooth.new_tensor(v) for v in (self._processor.image_mean, self._processor.image_std))
            smooth = (smooth - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        smooth = smooth if mask is None else smooth * mask[:, None].to(smooth)
        return resized_as_files(images, smooth, lambda pixels: self._process(pixels)[0]), mask

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


class HfPrompted(HfDetr):
    """The same with an open vocabulary: the phrases of a prompt are its classes."""

    def __init__(
        self,
        name: str,
        network: Any,
        processor: Any,
        phrases: Sequence[str],
        device: torch.device,
    ) -> None:
        """Freeze the network, and read the phrases. Raises `InputError`.

        - name: What reports call the detector.
        - network: The model of transformers.
        - processor: Its processor, of images and texts.
        - phrases: Its classes.
        - device: Where it is to live.
        """
        super().__init__(name, network, processor.image_processor, categories_named(phrases), device)
        joined = self._family.prompt == "joined"
        text = processor(text=". ".join(phrases).lower() + "." if joined else [list(phrases)], return_tensors="pt")
        self._text = {key: value.to(device) for key, value in text.items()}
        _check_length(network.config, self._text["input_ids"].shape[1])
        ends = (self._text["input_ids"][0] == processor.tokenizer.convert_tokens_to_ids(".")).nonzero().flatten()
        starts = [1, *(end + 1 for end in ends.tolist())]
        self._tokens = [slice(*span) for span in zip(starts, ends.tolist(), strict=False)] if joined else []

    def _forward(self, values: Tensor, mask: Tensor | None, **inputs: Any) -> Any:
        """Run the network; the score of a phrase is the highest of its tokens, as in the official post-processing."""
        text = {key: value.repeat(len(values), 1) for key, value in self._text.items()}
        output = super()._forward(values, mask, **text)
        if self._tokens:
            output.logits = torch.stack([output.logits[..., span].amax(-1) for span in self._tokens], -1)
        return output


def _check_length(config: Any, tokens: int) -> None:
    """Raise `InputError` for a text of more tokens than the model reads."""
    most = getattr(config, "max_text_len", None) or config.text_config.max_position_embeddings
    if tokens > most:
        raise InputError(f"prompt: a text of it has {tokens} tokens, the model reads {most}")


def _corners(boxes: Tensor) -> Tensor:
    """Convert boxes `[...,4]` from center and size to xyxy."""
    center, size = boxes.split(2, -1)
    return torch.cat((center - size / 2, center + size / 2), -1)


def head_columns(names: dict[int, str], what: str) -> list[Category | None]:
    """Return the category of each class column. Raises `InputError`, which names `what`, for gaps in the numbers."""
    if sorted(names) != list(range(len(names))):
        said = f"{counted(len(names), 'class')} from {min(names)} to {max(names)}, not all from 0 on"
        raise InputError(f"{what}: its id2label numbers {said}")
    in_order = [names[i] for i in range(len(names))]
    of_name = {c.name: c for c in categories_named(name for name in in_order if name not in UNNAMED)}
    return [of_name.get(name) for name in in_order]


def load_hf(name: str, device: torch.device, weights: str | None, prompt: str | None = None) -> HfDetr:
    """Load a model. Raises `InputError`.

    - name: Its name on Hugging Face's hub, or a folder.
    - device: Where it is to live.
    - weights: A file that replaces the model's; `none` for random ones; None for the model's own.
    - prompt: The phrases to look for, of a model with an open vocabulary.
    """
    what = f"model {PREFIX}{name}"
    try:
        import transformers
    except ImportError as error:
        raise InputError(f"{what}: needs transformers (pip install '.[hf]')") from error
    if not Path(name).is_dir() and (name.count("/") > 1 or name.startswith((".", "/"))):
        raise InputError(f"{what}: no such folder")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of every retry
    try:
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)  # nor is anybody asked
        phrases = _phrases(what, config.model_type, prompt)
        make: Any = (
            transformers.AutoModelForZeroShotObjectDetection if phrases else transformers.AutoModelForObjectDetection
        )
        processors: Any = transformers.AutoProcessor if phrases else transformers.AutoImageProcessor
        processor = processors.from_pretrained(name, trust_remote_code=False)
        network = _built(what, make, name, config) if weights is None else seeded(lambda: make.from_config(config))
    except (OSError, ValueError, ImportError, KeyError) as error:
        where = "" if Path(name).is_dir() else "; is it on the hub, and is the hub within reach?"
        raise InputError(f"{what}: cannot be loaded ({reason(error)}){where}") from error
    network = network.float()  # a folder may hold, or ask for, half precision
    if weights not in (None, NO_WEIGHTS):
        load_weights(network, str(weights))
    if phrases:
        detector: HfDetr = HfPrompted(PREFIX + name, network, processor, phrases, device)
    else:
        detector = HfDetr(PREFIX + name, network, processor, head_columns(config.id2label, what), device)
    if weights == NO_WEIGHTS:
        _calibrate(detector)
    return detector


def _phrases(what: str, model_type: str, prompt: str | None) -> tuple[str, ...]:
    """Return the phrases of a model with an open vocabulary, none of another one. Raises `InputError`."""
    if model_type not in FAMILIES:
        raise unknown(f"family of {what}", model_type, FAMILIES)
    family = FAMILIES[model_type]
    if family.prompt and prompt is None:
        raise InputError(f"{what}: {family.title} looks for what it is asked for; pass --prompt 'car . person'")
    if prompt is None:
        return ()
    if not family.prompt:
        raise InputError(f"{what}: {family.title} names its own classes; --prompt does not apply")
    return phrases_of(prompt)


def _built(what: str, make: Any, name: str, config: Any) -> Any:
    """Build a network with its own weights. Raises `InputError` where they lack some."""
    network, info = make.from_pretrained(name, config=config, output_loading_info=True, trust_remote_code=False)
    if info["missing_keys"]:
        lacking = ", ".join(map(repr, sorted(info["missing_keys"])[:3]))
        raise InputError(f"{what}: its weights are not those of a detector of that family, they lack {lacking}")
    return network


@torch.no_grad()
def _calibrate(detector: HfDetr) -> None:
    network = detector.network
    places = FAMILIES[network.config.model_type].prompt == "joined"  # whose queries start at places
    queries, slots = ((), (*QUERIES, *SLOTS)) if places else (QUERIES, SLOTS)
    seeded(lambda: tell_apart(network, queries, slots))
    widths = [len(network.config.id2label) + spare for spare in (0, 1)]
    named = [module for name, module in network.named_modules() if CLASS_HEAD.search(name)]
    classes = [module for module in named if getattr(module, "out_features", None) in widths]
    calibrate(network, lambda: detector.candidates(noise(8, 128).to(detector.device)), classes)
    # Many a query would answer with a column that names nothing, which is no detection.
    unnamed = [i for i, name in network.config.id2label.items() if name in UNNAMED]
    for layer in classes:
        layer.bias[unnamed] = -20
