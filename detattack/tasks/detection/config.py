"""The config of a detector's run, resolved and validated."""

from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from detattack.core.errors import InputError, first_error
from detattack.core.precision import Precision
from detattack.core.types import DEFAULT_MAX_DETECTIONS, DEFAULT_SCORE_THRESHOLD
from detattack.engine.config import LARGEST_SEED, CheckedAttack


class RunConfig(BaseModel):
    """Everything that decides a run's bytes, beside the data. Its JSON stands in `run.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "demo"
    weights: str | None = None
    categories: str | None = None
    goal: str
    keep_others: bool = False
    attack: CheckedAttack
    score_threshold: float = Field(DEFAULT_SCORE_THRESHOLD, ge=0, lt=1, allow_inf_nan=False)
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    device: str = "auto"
    batch: int = Field(1, ge=1)
    precision: Precision = "fp32"
    max_detections: int = Field(DEFAULT_MAX_DETECTIONS, ge=1)

    @model_serializer(mode="wrap")
    def _as_ever(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `max_detections` where it is COCO's: runs from before there was a choice are resumed and merged."""
        values: dict[str, Any] = handler(self)
        if self.max_detections == DEFAULT_MAX_DETECTIONS:
            del values["max_detections"]
        return values


def make_config(**values: Any) -> RunConfig:
    """A checked `RunConfig`. Raises `InputError` naming the value that is wrong."""
    try:
        return RunConfig(**values)
    except ValidationError as error:
        raise InputError(first_error(error)) from error
