"""From a wrong class to a loss and a predicate."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from classify.methods import Loss
from classify.types import ClassGoal, Classifier
from detattack.core.errors import InputError
from detattack.core.faults import check_gradient
from detattack.core.precision import fixed_numerics
from detattack.core.types import Evaluation
from detattack.core.wording import counted


class ClassificationObjective:
    """What the engine minimizes for a batch; `goals[i]` is of image i.

    classes: how many of the likeliest classes, the label's own included, DeepFool considers; None: all. least: the
    confidence in the wrong class that makes a success. attacked: what gives the gradients instead of the classifier,
    which decides.
    """

    def __init__(
        self,
        classifier: Classifier,
        goals: Sequence[ClassGoal],
        loss: Loss = "wrong",
        classes: int | None = None,
        least: float = 0.0,
        attacked: Classifier | None = None,
    ) -> None:
        self.attacked = attacked or classifier
        self.classifier, self.goals, self.loss = classifier, list(goals), loss
        self.classes, self.least = classes, least
        self._labels = torch.tensor([goal.label for goal in goals], device=classifier.device)
        self._wrong = torch.tensor([goal.wrong for goal in goals], device=classifier.device)
        self._targeted = torch.tensor([goal.targeted for goal in goals], device=classifier.device)
        self._others: Tensor | None = None

    def __call__(self, images: Tensor, index: Tensor) -> Evaluation:
        """Evaluate images `[n,3,H,W]`, row i with the goal `index[i]`."""
        return self._evaluation(self._attacked_logits(images), self._on_device(index))

    def confirm(self, image: Tensor, index: int) -> bool:
        """By the classifier on the one image, in float32."""
        return self.goals[index].reached(shares(self.classifier, image), self.least)

    def margins(self, images: Tensor, index: Tensor) -> tuple[Tensor, Evaluation]:
        """Compute `[n,C]`: by how much the logits of the classes to go to exceed that of the class to leave.

        A targeted goal has one such class, and leaves whichever other is the likeliest.
        """
        index = self._on_device(index)
        logits = self._attacked_logits(images)
        evaluation = self._evaluation(logits, index)
        if self._targeted.any():
            wrong = self._wrong[index][:, None]
            best_other = logits.scatter(1, wrong, -torch.inf).amax(1, keepdim=True)
            return logits.gather(1, wrong) - best_other, evaluation
        others = self._likeliest_others(logits, index)
        return logits.gather(1, others) - logits.gather(1, self._labels[index][:, None]), evaluation

    def _attacked_logits(self, images: Tensor) -> Tensor:
        logits = self.attacked.logits(images)
        check_gradient(self.classifier.name, images, logits)
        return logits

    def _on_device(self, index: Tensor) -> Tensor:
        return index.to(self.classifier.device)

    def _likeliest_others(self, logits: Tensor, index: Tensor) -> Tensor:
        """`[n,C]`: the classes that DeepFool considers, chosen at the first image it sees, as the shortcut has it."""
        count = min(self.classes or logits.shape[1], logits.shape[1]) - 1
        if self._others is None:
            self._others = torch.full((len(self.goals), count), -1, device=logits.device)
        likeliest = logits.detach().scatter(1, self._labels[index][:, None], -torch.inf).topk(count).indices
        chosen = self._others[index]
        self._others[index] = chosen = torch.where(chosen < 0, likeliest, chosen)
        return chosen

    def _evaluation(self, logits: Tensor, index: Tensor) -> Evaluation:
        labels, wrong, targeted = self._labels[index], self._wrong[index], self._targeted[index]
        if self.loss == "margin":
            loss = _margin(logits, torch.where(targeted, wrong, labels)) * torch.where(targeted, -1, 1)
        elif self.loss == "wrong":
            loss = F.cross_entropy(logits, wrong, reduction="none")
        else:
            loss = -F.cross_entropy(logits, labels, reduction="none")
        predicted = logits.detach().argmax(1)
        shares = logits.detach().softmax(1)
        likeliest_other = shares.scatter(1, labels[:, None], -1.0).amax(1)
        confidence = torch.where(targeted, shares.gather(1, wrong[:, None]).squeeze(1), likeliest_other)
        success = torch.where(targeted, predicted == wrong, predicted != labels)
        return Evaluation(loss, success, confidence, margin=_missing(logits.detach(), labels, wrong, targeted))


def _missing(logits: Tensor, labels: Tensor, wrong: Tensor, targeted: Tensor) -> Tensor:
    """By how much the logit to pass exceeds the one that has to: `[n]`, below 0 where the goal is reached."""
    one = torch.where(targeted, wrong, labels)[:, None]
    lead = (logits.gather(1, one) - logits.scatter(1, one, -torch.inf).amax(1, keepdim=True)).squeeze(1)
    return torch.where(targeted, -lead, lead)


def _margin(logits: Tensor, classes: Tensor) -> Tensor:
    """By how much the logit of one class `[n]` exceeds the soft maximum of all others: `[n]`."""
    one = classes[:, None]
    return logits.gather(1, one).squeeze(1) - logits.scatter(1, one, -torch.inf).logsumexp(1)


@fixed_numerics(gradient=False)
def shares(classifier: Classifier, image: Tensor) -> Tensor:
    """Compute the probabilities `[K]` of one image `[3,H,W]`, float32, on the CPU: the official inference.

    Raises ValueError where they are not finite, `InputError` where they are not one a class.
    """
    logits = classifier.logits(image[None].to(classifier.device, torch.float32))[0].cpu()
    if logits.shape != (len(classifier.classes),):
        classes = counted(len(classifier.classes), "class")
        raise InputError(f"model {classifier.name}: gives {list(logits.shape)} logits of an image, and names {classes}")
    if not logits.isfinite().all():
        raise ValueError("the model's logits are not finite")
    return logits.softmax(0)
