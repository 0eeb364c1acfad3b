"""Scores as log-odds."""

import torch

from detattack.detectors.parts.log_odds import of_score


def test_scores_have_their_log_odds_and_a_gradient_until_they_underflow():
    scores = torch.tensor([0.5, 1e-3, 1e-8, 1e-12, 1e-25, 1 - 1e-7], requires_grad=True)
    found = of_score(scores)
    exact = torch.logit(scores.detach().double())
    torch.testing.assert_close(found.detach().double(), exact, rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(found.sum(), scores)
    torch.testing.assert_close(gradient.double(), 1 / (exact.sigmoid() * (1 - exact.sigmoid())), rtol=1e-4, atol=0)
    assert of_score(torch.tensor([0.0, 1.0])).isfinite().all()
