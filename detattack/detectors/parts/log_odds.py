"""Scores of any kind as log-odds: `sigmoid(log_odds) = score`, exact also where a score is nearly 0 or 1."""

import torch
from torch import Tensor

SLACK = 1e-3
"""By how much a score may lie outside of [0,1], as sums of floats do."""


def are_scores(values: Tensor) -> bool:
    """Return whether all values lie in [0,1], as scores do and logits do not."""
    return bool(((values >= -SLACK) & (values <= 1 + SLACK)).all())


def of_log_score(log_score: Tensor) -> Tensor:
    """Return the log-odds of scores that are given by their logarithm (at most 0)."""
    below = log_score.clamp(max=-torch.finfo(log_score.dtype).tiny)
    return below - torch.log(-torch.expm1(below))


def of_score(score: Tensor) -> Tensor:
    """Return the log-odds of scores in [0,1], with a gradient down to scores that nearly underflow (1e-29)."""
    kind = torch.finfo(score.dtype)
    return torch.logit(score.clamp(kind.tiny**0.75, 1 - kind.eps / 2))


def of_softmax(logits: Tensor) -> Tensor:
    """Return the log-odds of `softmax(logits, -1)`: each column against all others together."""
    top = logits.argmax(-1, keepdim=True)
    others = logits.scatter(-1, top, -torch.inf).logsumexp(-1, keepdim=True)
    # Next to the top column all others are at most 1/2, where log(1 − p) loses nothing.
    log_p = logits.log_softmax(-1)
    rest = log_p - torch.log1p(-log_p.exp().clamp(max=0.5))
    return rest.scatter(-1, top, logits.gather(-1, top) - others)
