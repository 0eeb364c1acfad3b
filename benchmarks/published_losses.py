"""Published losses, from their papers' equations: `--loss a-cls|a-loc|cwa|dag|tog-vanishing|...` of any attack.

    DETATTACK_PLUGINS=benchmarks/published_losses.py detattack evaluate --goal degrade:all --method pgd-linf \
        --budget linf:2 --loss dag

The papers attack one detector each, with its anchors, background class and objectness; here are candidates: boxes b_a
and logits z_ak of K classes, σ(z) the scores. What is translated:

- A candidate belongs to the object that its own box covers best, IoU ≥ .5; the papers match anchors, which stay.
- A cross-entropy with a background class becomes K binary ones; the background is where all are 0.
- TOG's objectness of a candidate becomes its scores, of all classes. `tog-mislabeling` leaves out that of the
  background, which would be nearly all of the loss.
- Losses that a paper maximizes are negated: an attack descends.

Objects o, of box b_o and class c(o), are the annotated ones or those that are detected untouched, as the goal has it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from detattack.tasks.detection.candidates import ImageCandidates, at_objects
from detattack.tasks.detection.goals import Target
from detattack.tasks.detection.losses import register_loss
from detattack.tasks.detection.matching import MATCH_IOU

HARDEST = 3
"""Candidates of the background for one at an object, those of the largest loss: SSD's, which A_cls was made for."""
LARGEST = 5.0
"""Where CWA's losses of an object are clipped, our choice."""
FOREGROUND = 0.1
"""Score from where on a candidate is no background to DAG."""


@register_loss("a-cls", help="Zhang and Wang 2019: the classification loss up", of_objects=True)
def a_cls(seen: ImageCandidates, target: Target) -> Tensor:
    """−L_cls(x, {c(o), b_o}); L_cls = Σ_{a at o} Σ_k BCE(σ(z_ak), [k = c(o)]) + Σ_{a hardest} Σ_k BCE(σ(z_ak), 0).

    The hardest of the rest are those of the largest loss, three for each candidate at an object, as in SSD. Zhang and
    Wang, Towards Adversarially Robust Object Detection, ICCV 2019.
    """
    rows, which = assigned(seen, target)
    background = F.softplus(seen.logits).sum(1).index_fill(0, rows, 0.0)
    hardest = background.topk(min(len(background), HARDEST * max(1, len(rows)))).values
    return -(_classification(seen, rows, _labels(seen, target)[which]).sum() + hardest.sum())


@register_loss("a-loc", help="Zhang and Wang 2019: the localization loss up", of_objects=True)
def a_loc(seen: ImageCandidates, target: Target) -> Tensor:
    """−L_loc(x, {c(o), b_o}); L_loc = Σ_{a at o} smooth L1 of the corners' distance, in sizes of the object.

    Zhang and Wang, Towards Adversarially Robust Object Detection, ICCV 2019.
    """
    return -_localization(seen, target, *assigned(seen, target)).sum()


@register_loss("cwa", help="Chen et al. 2021: both losses up, each class alike", of_objects=True)
def cwa(seen: ImageCandidates, target: Target) -> Tensor:
    """−Σ_k 1/N_k Σ_{o: c(o)=k} ( min(L_cls,o, l) + min(L_loc,o, l) ): N_k objects of class k, losses per object.

    L_cls,o and L_loc,o are means over the candidates at o. Chen, Kung and Chen, Class-Aware Robust Adversarial Training
    for Object Detection, CVPR 2021.
    """
    rows, which = assigned(seen, target)
    labels = _labels(seen, target)
    terms = _classification(seen, rows, labels[which]), _localization(seen, target, rows, which)
    share = 1 / torch.bincount(labels)[labels]
    return -sum((_means(term, which, len(labels)).clamp_max(LARGEST) * share).sum() for term in terms)


@register_loss("dag", help="Xie et al. 2017: each object's logit below that of a drawn class", of_objects=True)
def dag(seen: ImageCandidates, target: Target) -> Tensor:
    """Σ_{a active} (z_a,c(o) − z_a,l(o)): l(o) is drawn once, active are those whose best class is c(o) still.

    A candidate that no class gives a score of .1 is background, and so not active. Xie et al., Adversarial Examples for
    Semantic Segmentation and Object Detection, ICCV 2017.
    """
    rows, which = assigned(seen, target)
    own, wrong = _labels(seen, target)[which], _drawn(seen, target)[which]
    z = seen.logits[rows]
    active = (z.argmax(1) == own) & (z.amax(1).sigmoid() >= FOREGROUND)
    return (z.gather(1, own[:, None]) - z.gather(1, wrong[:, None]))[active].sum()


@register_loss("tog-vanishing", help="Chow et al. 2020: all scores to 0")
def tog_vanishing(seen: ImageCandidates, target: Target) -> Tensor:
    """L_obj(x, ∅) = Σ_ak BCE(σ(z_ak), 0).

    Chow et al., Adversarial Objectness Gradient Attacks in Real-time Object Detection Systems, TPS-ISA 2020.
    """
    return F.softplus(seen.logits).sum()


@register_loss("tog-fabrication", help="Chow et al. 2020: all scores to 1")
def tog_fabrication(seen: ImageCandidates, target: Target) -> Tensor:
    """Σ_ak BCE(σ(z_ak), 1): false objects everywhere. The same paper."""
    return F.softplus(-seen.logits).sum()


@register_loss("tog-mislabeling", help="Chow et al. 2020: each object as its likeliest other class", of_objects=True)
def tog_mislabeling(seen: ImageCandidates, target: Target) -> Tensor:
    """L_cls(x, {l, b_o}) + L_loc(x, {l, b_o}), both to fall: l = argmax_{k≠c(o)} z_ak at each candidate of an object.

    That is the paper's "most-likely class", but of the image as it is now, not untouched. The same paper.
    """
    rows, which = assigned(seen, target)
    own = _labels(seen, target)[which]
    wrong = seen.logits.detach()[rows].scatter(1, own[:, None], -torch.inf).argmax(1)
    return _classification(seen, rows, wrong).sum() + _localization(seen, target, rows, which).sum()


def assigned(seen: ImageCandidates, target: Target) -> tuple[Tensor, Tensor]:
    """Return the candidates `[n]` that cover an object, and which one `[n]` they cover best."""
    _, ious = at_objects(seen, target.objects, target.object_labels)
    best, which = F.pad(ious.detach(), (0, 1)).max(1)  # a last object that nothing covers: there may be no other
    rows = (best >= MATCH_IOU).nonzero()[:, 0]
    return rows, which[rows]


def _labels(seen: ImageCandidates, target: Target) -> Tensor:
    return torch.tensor(target.object_labels, dtype=torch.long, device=seen.logits.device)


def _drawn(seen: ImageCandidates, target: Target) -> Tensor:
    """Draw a wrong class for each object, always the same; its own where there is no other."""
    labels, classes = _labels(seen, target), seen.logits.shape[1]
    random = torch.Generator().manual_seed(len(labels))
    further = torch.randint(1, max(2, classes), labels.shape, generator=random)
    return (labels + further.to(labels)) % classes


def _classification(seen: ImageCandidates, rows: Tensor, labels: Tensor) -> Tensor:
    """Compute the binary cross-entropies of candidates with their classes, `[n]`."""
    logits = seen.logits[rows]
    truth = F.one_hot(labels, logits.shape[1]).to(logits)
    return F.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum(1)


def _localization(seen: ImageCandidates, target: Target, rows: Tensor, which: Tensor) -> Tensor:
    """Compute smooth L1 of the corners of candidates, `[n]`, in sizes of their objects."""
    boxes = seen.boxes[rows, 0 if seen.boxes.shape[1] == 1 else _labels(seen, target)[which]]
    objects = torch.tensor(target.objects).reshape(-1, 4).to(boxes)[which]
    size = (objects[:, 2:] - objects[:, :2]).clamp_min(1).repeat(1, 2)
    return F.smooth_l1_loss(boxes / size, objects / size, reduction="none").sum(1)


def _means(values: Tensor, which: Tensor, count: int) -> Tensor:
    """Average values `[n]` by object, `[count]`; 0 for one that has none."""
    sums = values.new_zeros(count).index_add(0, which, values)
    return sums / torch.bincount(which, minlength=count).clamp_min(1)
