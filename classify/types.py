"""The nouns of classification. Images are as everywhere: float RGB `[N,3,H,W]` in [0,1] at native size."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Classifier(Protocol):
    """A classifier as the attacks see it. Parameters are frozen and never touched.

    classes: names, in the order of the logits. smallest: the shortest side of an image, in pixels, that it takes.
    """

    name: str
    classes: tuple[str, ...]
    device: torch.device
    smallest: int

    def logits(self, images: Tensor) -> Tensor:
        """`[N,3,H,W]` in [0,1] at native size to `[N,K]`, differentiable, in the dtype that it is given.

        Everything the model does to an image (resize, crop, normalize) happens in here.
        """


@dataclass(frozen=True)
class ClassGoal:
    """What is wanted of one image.

    - label: the class to leave
    - wrong: the class to go to; where not `targeted`, any other class is a success too
    """

    label: int
    wrong: int
    targeted: bool = False

    def confidence(self, probabilities: Tensor) -> float:
        """Of `[K]`, the one that the goal is about: of the target, or of the likeliest class that is not to be left."""
        if self.targeted:
            return float(probabilities[self.wrong])
        return float(torch.cat([probabilities[: self.label], probabilities[self.label + 1 :]]).max())

    def reached(self, probabilities: Tensor, least: float = 0.0) -> bool:
        """Tell whether `[K]` names a class that is wanted first, with a confidence of at least `least`.

        It is the one predicate of stop rule, success rate and `verify`.
        """
        predicted = int(probabilities.argmax())
        first = predicted == self.wrong if self.targeted else predicted != self.label
        return first and self.confidence(probabilities) >= least
