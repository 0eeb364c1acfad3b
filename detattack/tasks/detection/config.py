"""The config of a detector's run, resolved and validated."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from detattack.core.types import DEFAULT_MAX_DETECTIONS, DEFAULT_SCORE_THRESHOLD
from detattack.tasks.base import TaskConfig, split_at_commas


class DetectionConfig(TaskConfig):
    """Everything that decides a run's bytes, beside the data. Its JSON stands in `run.json`.

    - prompt: what a model with an open vocabulary looks for, see `parts.prompt`
    - goal: as text, see `goals`
    - keep_others: whether all other detections have to stay
    - score_threshold: τ, in [0, 1)
    - max_detections: of one class that count for AP, an image
    - loss: names of registered losses; none: the goal's own
    - through_models: all models that are attacked at once, of which `model` is the first; none: `model` alone
    - reference: what the objects of `degrade` and `flood` are; None: annotations where there are, else detections
    """

    added: ClassVar[frozenset[str]] = TaskConfig.added | {
        "max_detections",
        "loss",
        "reference",
        "prompt",
        "through_models",
    }

    model: str = "demo"
    prompt: str | None = None
    goal: str
    keep_others: bool = False
    score_threshold: float = Field(DEFAULT_SCORE_THRESHOLD, ge=0, lt=1, allow_inf_nan=False)
    max_detections: int = Field(DEFAULT_MAX_DETECTIONS, ge=1)
    loss: Annotated[tuple[str, ...], BeforeValidator(split_at_commas)] = ()
    reference: Literal["annotations", "detections"] | None = None
    through_models: Annotated[tuple[str, ...], BeforeValidator(split_at_commas)] = ()
