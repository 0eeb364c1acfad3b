"""What a run against a classifier is asked to do, resolved and checked before anything loads."""

from typing import ClassVar

from pydantic import Field

from classify.methods import Loss
from detattack.tasks.base import TaskConfig


class ClassifyConfig(TaskConfig):
    """Everything that decides a run's bytes, beside the data. Its JSON stands in `run.json`.

    - preprocess: instead of the model's own, see `Preprocessing.parse`
    - target: the class that images should be taken for; None: any but their own
    - loss: which way the loss of the method looks
    - classes: how many of the likeliest ones DeepFool considers; None: all
    """

    of_method: ClassVar[frozenset[str]] = frozenset({"attack", "loss"})

    model: str = "vgg16_cifar10"
    preprocess: str | None = None
    target: str | None = None
    loss: Loss = "wrong"
    classes: int | None = Field(None, ge=2)


def wanted(config: ClassifyConfig) -> float:
    """Tell the confidence in the wrong class that makes a success; 0 where being first is enough."""
    return config.attack.stop_confidence if config.attack.stop == "confidence" else 0.0
