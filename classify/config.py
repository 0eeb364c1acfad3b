"""What a run against a classifier is asked to do, resolved and checked before anything loads."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from classify.methods import METHODS, Loss
from detattack.core.errors import InputError, first_error
from detattack.core.precision import Precision
from detattack.engine.config import LARGEST_SEED, CheckedAttack
from detattack.engine.presets import Attack


class ClassifyConfig(BaseModel):
    """Everything that decides a run's bytes, beside the data. Its JSON stands in `run.json`.

    target: the class that images should be taken for; None: any but their own. classes: those that DeepFool
    considers; None: all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "vgg16_cifar10"
    weights: str | None = None
    preprocess: str | None = None
    categories: str | None = None
    target: str | None = None
    attack: CheckedAttack
    loss: Loss = "wrong"
    classes: int | None = Field(None, ge=2)
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    device: str = "auto"
    batch: int = Field(1, ge=1)
    precision: Precision = "fp32"


def make_config(attack: Attack, **values: Any) -> ClassifyConfig:
    """A checked config; the way the loss looks is the method's, down to the target where there is one.

    Raises `InputError` naming the value that is wrong.
    """
    name = attack.name.partition("@")[0]
    loss = METHODS[name].loss if name in METHODS else "wrong"
    if loss == "true" and values.get("target"):
        loss = "wrong"
    return read_config({"attack": attack, "loss": loss, **values})


def read_config(values: dict[str, Any]) -> ClassifyConfig:
    """A checked config from its fields, those of a manifest for one. Raises `InputError` naming the wrong value."""
    try:
        return ClassifyConfig(**values)
    except ValidationError as error:
        raise InputError(first_error(error)) from error
