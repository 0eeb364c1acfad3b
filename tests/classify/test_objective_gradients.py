"""Gradients of the objectives on classifiers in float64, against finite differences."""

import pytest
import torch
from torch import nn

from classify.models.network import NetworkClassifier, Preprocessing
from classify.objective import ClassificationObjective
from classify.types import ClassGoal

INDEX = torch.tensor([1, 0])
GOALS = (ClassGoal(0, 2), ClassGoal(3, 1))
TARGETED = (ClassGoal(0, 2, True), ClassGoal(3, 1, True))


@pytest.fixture
def classifier() -> NetworkClassifier:
    """Smooth, with everything that is done to an image before it."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 4))
    preprocessing = Preprocessing((0.4, 0.5, 0.6), (0.2, 0.3, 0.2), resize=7, crop=6)
    return NetworkClassifier("tiny", network, tuple("abcd"), torch.device("cpu"), preprocessing)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("loss", ["wrong", "true", "margin"])
@pytest.mark.parametrize("goals", [GOALS, TARGETED], ids=["any other", "targeted"])
def test_the_loss(classifier, images, loss, goals):
    objective = ClassificationObjective(classifier, goals, loss)
    assert torch.autograd.gradcheck(lambda x: objective(x, INDEX).loss, images, atol=1e-6)


@pytest.mark.parametrize(("goals", "classes"), [(GOALS, None), (GOALS, 2), (TARGETED, None)])
def test_the_margins_that_deepfool_follows(classifier, images, goals, classes):
    objective = ClassificationObjective(classifier, goals, classes=classes)
    assert torch.autograd.gradcheck(lambda x: objective.margins(x, INDEX)[0], images, atol=1e-6)


@pytest.mark.parametrize("loss", ["wrong", "true", "margin"])
def test_an_image_does_not_depend_on_its_neighbor(classifier, images, loss):
    objective = ClassificationObjective(classifier, GOALS, loss)
    together, alone = objective(images, INDEX).loss, objective(images[:1], INDEX[:1]).loss
    torch.testing.assert_close(together[:1], alone, rtol=0, atol=1e-14)


@pytest.mark.parametrize("targeted", [False, True])
def test_the_margin_is_log_odds_and_points_down(classifier, images, targeted):
    """log p/(1 − p) of the label, or −log p/(1 − p) of the target, also where p is 1 to the last bit."""
    goals = [ClassGoal(0, 2, targeted), ClassGoal(3, 1, targeted)]
    objective = ClassificationObjective(classifier, goals, "margin")
    loss = objective(images, INDEX[[1, 0]]).loss
    classes = torch.tensor([2, 1] if targeted else [0, 3])
    share = classifier.logits(images).softmax(1).gather(1, classes[:, None]).squeeze(1)
    torch.testing.assert_close(loss, (share.log() - (1 - share).log()) * (-1 if targeted else 1))
