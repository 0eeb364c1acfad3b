"""DeepFool on classifiers that are linear: one step to the nearest boundary, and over it."""

import pytest
import torch

from detattack.core.types import Evaluation
from detattack.engine import Attack, run_deepfool
from detattack.engine.deepfool import NUDGE, nearest_boundary

ATTACK = Attack("deepfool", "deepfool", 0.02, levels=None, max_iterations=10)


class Linear:
    """Margins w·x − b of three classes; the goal holds where one is above 0."""

    def __init__(self, images, distances):
        generator = torch.Generator().manual_seed(0)
        normals = torch.randn(3, images[0].numel(), generator=generator, dtype=images.dtype)
        self.normals = normals * torch.tensor([[0.5], [1.0], [3.0]], dtype=images.dtype)
        self.bounds = images.flatten(1) @ self.normals.T + torch.tensor(distances) * self.normals.norm(dim=1)

    def margins(self, images, index):
        margins = images.flatten(1) @ self.normals.T - self.bounds[index]
        best = margins.amax(1)
        return margins, Evaluation(-best, best > 0, best)

    def confirm(self, image, index):
        return bool((image.flatten() @ self.normals.T > self.bounds[index]).any())


def test_one_step_crosses_the_nearest_boundary_by_the_overshoot():
    images = torch.full((2, 3, 5, 4), 0.5, dtype=torch.float64)
    problem = Linear(images, [0.6, 0.2, 0.9])
    result = run_deepfool(ATTACK, images, problem)
    assert (result.success.tolist(), result.first_iteration.tolist()) == ([True, True], [1, 1])
    length = (result.images - images).flatten(1).norm(dim=1)
    wanted = 1.02 * (0.2 + NUDGE)
    assert length.tolist() == pytest.approx([wanted] * 2, rel=1e-6)
    direction = ((result.images - images)[0].flatten() / length[0]) @ problem.normals[1] / problem.normals[1].norm()
    assert float(direction) == pytest.approx(1)
    assert (result.forwards.tolist(), result.backwards.tolist()) == ([3, 3], [3, 3])


def test_the_nearest_boundary_is_not_that_of_the_smallest_margin():
    margins = torch.tensor([[-1.0, -2.0]])
    gradients = torch.tensor([[[1.0, 0.0]], [[0.0, 10.0]]])
    torch.testing.assert_close(nearest_boundary(margins, gradients), torch.tensor([[0.0, 0.2 + NUDGE]]))
