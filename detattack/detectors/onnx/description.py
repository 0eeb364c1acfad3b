"""What an ONNX file does not say of itself: how images are prepared for it, and how its detections are chosen.

It stands in a YAML file beside it: `model.yaml` for `model.onnx`. What that leaves out follows from the kind of head.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, PositiveInt, TypeAdapter, ValidationError

from detattack.core.errors import InputError, first_error

Fit = Literal["stretch", "letterbox", "letterbox-topleft"]
Three = tuple[float, float, float]


@dataclass(frozen=True)
class Description:
    """How a file is used.

    - size: (height, width) of images, where the file takes any; None: that of its metadata, else an image's own
    - fit: how an image is brought to the size; None: as the kind of head has it
    - range: the highest value of a pixel, before mean and std
    - order: of the channels
    - mean, std: what is taken off each channel in that order, and what it is divided by
    - gray: of a letterbox, 0 to 255
    - nms_iou: IoU above which the lower of two detections of a class goes; None: that of the kind of head
    - score_threshold: the lowest score that counts for AP; None: that of the kind of head
    - most: detections of an image at most
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    size: tuple[PositiveInt, PositiveInt] | None = None
    fit: Fit | None = None
    range: Literal[1, 255] = 1
    order: Literal["rgb", "bgr"] = "rgb"
    mean: Three = (0.0, 0.0, 0.0)
    std: Three = (1.0, 1.0, 1.0)
    gray: int = 114
    nms_iou: float | None = None
    score_threshold: float | None = None
    most: int = 300

    def given(self, **defaults: Any) -> "Description":
        """Fill what is None."""
        return replace(self, **{key: value for key, value in defaults.items() if getattr(self, key) is None})


def read_description(file: Path) -> Description:
    """Read the description of an ONNX file, if there is one beside it. Raises `InputError`."""
    path = file.with_suffix(".yaml")
    if not path.is_file():
        return Description()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = TypeAdapter(Description).validate_python({} if content is None else content)
    except ValidationError as error:
        known = ", ".join(field.name for field in fields(Description))
        raise InputError(f"{path}: {first_error(error)}; known: {known}") from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())[:120]})") from error
    if 0 in found.std:
        raise InputError(f"{path}: std: nothing is divided by 0")
    return found
