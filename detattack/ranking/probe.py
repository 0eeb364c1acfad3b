"""A look at a detector before it is attacked: whether its gradients are any use, and whether it answers twice alike.

A detector may look robust because its gradient leads nowhere (Athalye et al., Obfuscated Gradients Give a False Sense
of Security, ICML 2018). Here a step of whole gray levels against the gradient of the loss has to lower that loss.
"""

from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from detattack.core.errors import InputError
from detattack.core.faults import NoGradient
from detattack.core.precision import fixed_numerics
from detattack.core.types import Detections
from detattack.datasets.base import Picture, Sample
from detattack.ranking.failing import one_image
from detattack.ranking.protocol import Diagnoses
from detattack.tasks.detection.inference import detected
from detattack.tasks.detection.objective import DetectionObjective
from detattack.tasks.detection.record import DetectionRecord
from detattack.tasks.experiment import Experiment

REPEATED = 1e-3
"""By how much a score may differ when the same image is seen again, which arithmetic on GPUs may cause."""
SAME = 0.05
"""By how much the best candidate's score may differ from the best detection's."""
FIRST = torch.zeros(1, dtype=torch.long)
"""The index of the only image of a batch."""


@dataclass(frozen=True)
class Probe:
    """What was seen, in numbers of images.

    - images: that were looked at
    - unlike: answered differently the second time
    - apart: the best candidate does not have the score of the best detection
    - without: no gradient reaches the image
    - not_finite: the loss or its gradient is not
    - zero: the gradient is zero, and the loss is not
    - stepped, lowered: after how many steps were looked at, and after how many one lowered the loss
    """

    images: int = 0
    unlike: int = 0
    apart: int = 0
    without: int = 0
    not_finite: int = 0
    zero: int = 0
    stepped: int = 0
    lowered: int = 0

    def as_json(self) -> dict[str, int]:
        """Return the numbers by name."""
        return asdict(self)

    def plus(self, other: "Probe") -> Self:
        """Add what was seen of other images."""
        return type(self)(**{name: number + getattr(other, name) for name, number in vars(self).items()})

    @property
    def useless(self) -> int:
        """Count the images whose gradient leads nowhere."""
        return self.without + self.not_finite + self.zero

    def is_useless(self, limits: Diagnoses) -> bool:
        """Tell whether attacks by gradients would say nothing of this detector."""
        return self.images > 0 and self.useless > (1 - limits.agreeing) * self.images


def probe(experiment: Experiment[Any, Any, Any], limits: Diagnoses) -> Probe:
    """Look at the first images with objects that the detector finds. experiment: of the goal `degrade`."""
    seen = Probe()
    for sample in experiment.dataset.samples:
        if seen.images == limits.images:
            break
        seen = seen.plus(_look(experiment, limits, sample))
    return seen


def _look(one: Experiment[Any, Any, Any], limits: Diagnoses, sample: Sample) -> Probe:
    """Look at an image, if it can be read and the model does not fail on it; the runs say why."""
    try:
        picture = sample.load()
    except InputError:
        return Probe()
    with one_image(sample.source):
        return _seen(one, limits, DetectionRecord(sample.id, sample.stem, sample.source, ""), picture)
    return Probe()


@fixed_numerics()
def _seen(one: Experiment[Any, Any, Any], limits: Diagnoses, record: DetectionRecord, picture: Picture) -> Probe:
    """Look at an image, if there is anything to attack in it."""
    prepared = one.task.prepare(one.model, one.config, record, picture, one.truth)
    if prepared.record.status:
        return Probe()
    again = detected(one.model, one.config, prepared.image[0])
    objective: Any = one.task.objective(one.model, one.config, [prepared])
    found = Probe(1, int(_unlike(prepared.goal.clean, again)), int(_apart(objective, prepared.image, again)))
    return found.plus(_of_gradient(objective, prepared.image.detach(), limits))


def _of_gradient(objective: DetectionObjective, image: Tensor, limits: Diagnoses) -> Probe:
    image = image.clone().requires_grad_()
    try:
        loss = objective(image, FIRST).loss[0]
        (gradient,) = torch.autograd.grad(loss, image)
    except NoGradient:
        return Probe(without=1)
    if not (loss.isfinite() and gradient.isfinite().all()):
        return Probe(not_finite=1)
    if gradient.any():
        lowered = _lowers(objective, image.detach(), gradient, float(loss.detach()), limits)
        return Probe(stepped=1, lowered=int(lowered))
    return Probe(zero=int(loss > 0))


@torch.no_grad()
def _lowers(objective: DetectionObjective, image: Tensor, gradient: Tensor, loss: float, limits: Diagnoses) -> bool:
    """Tell whether a step of whole gray levels against the gradient lowers the loss."""
    steps = ((image - size / 255 * gradient.sign()).clamp(0, 1) for size in limits.steps)
    return any(float(objective(step, FIRST).loss) < loss for step in steps)


@torch.no_grad()
def _apart(objective: DetectionObjective, image: Tensor, found: Detections) -> bool:
    """Tell whether the best candidate has another score than the best detection."""
    candidates = objective.detector.candidates(image)
    logits = candidates.logits if candidates.valid is None else candidates.logits[candidates.valid]
    if not logits.numel() or not len(found):
        return False
    return bool((logits.max().sigmoid().cpu() - found.scores.max()).abs() > SAME)


def _unlike(first: Detections, second: Detections) -> bool:
    """Tell whether two answers to one image differ."""
    if len(first) != len(second):
        return True
    return bool(len(first)) and float((first.scores - second.scores).abs().max()) > REPEATED
