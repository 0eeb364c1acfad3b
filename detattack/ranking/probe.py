"""A look at a detector before it is attacked: whether its gradients are any use, and whether it answers twice alike.

A detector may look robust because its gradient leads nowhere (Athalye et al., Obfuscated Gradients Give a False Sense
of Security, ICML 2018). Here a step of whole gray levels against the gradient of the loss has to lower that loss.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from detattack.core.faults import NoGradient
from detattack.core.precision import fixed_numerics
from detattack.core.types import Detections
from detattack.datasets.base import Sample
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


@dataclass
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
        _look(seen, experiment, limits, sample)
    return seen


@fixed_numerics()
def _look(seen: Probe, one: Experiment[Any, Any, Any], limits: Diagnoses, sample: Sample) -> None:
    """Look at one image; those that cannot be read or judged are the runs' to report."""
    try:
        record = DetectionRecord(sample.id, sample.stem, sample.source, "")
        prepared = one.task.prepare(one.model, one.config, record, sample.load(), one.truth)
        again = detected(one.model, one.config, prepared.image[0])
    except (OSError, ValueError, RuntimeError):
        return
    if prepared.record.status:
        return
    seen.images += 1
    objective: Any = one.task.objective(one.model, one.config, [prepared])
    seen.unlike += _unlike(prepared.goal.clean, again)
    seen.apart += _apart(objective, prepared.image, again)
    _look_at_gradient(seen, objective, prepared.image.detach(), limits)


def _look_at_gradient(seen: Probe, objective: DetectionObjective, image: Tensor, limits: Diagnoses) -> None:
    image = image.clone().requires_grad_()
    try:
        loss = objective(image, FIRST).loss[0]
        (gradient,) = torch.autograd.grad(loss, image)
    except NoGradient:
        seen.without += 1
        return
    if not (loss.isfinite() and gradient.isfinite().all()):
        seen.not_finite += 1
    elif loss > 0 and not gradient.any():
        seen.zero += 1
    elif gradient.any():
        seen.stepped += 1
        seen.lowered += _lowers(objective, image.detach(), gradient, float(loss.detach()), limits)


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
