"""The objective of all variants of an image, on problems whose answers are known."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detattack.core.types import Evaluation
from detattack.datasets.corruptions import UNCORRUPTED, parse_corruption, parse_corruptions
from detattack.datasets.corruptions.differentiable import corrupted
from detattack.engine import PRESETS, run
from detattack.engine.state import verdict
from detattack.tasks.robust import JUDGED, RobustMargins, RobustObjective, _judged, _pool

SIZE = (3, 12, 16)


class Planes:
    """Each row has a plane of its own: the goal holds where the product with a normal is below a bound."""

    members, reserve = ("one", "other"), ("other",)

    def __init__(self, rows: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.normals = torch.rand(rows, *SIZE, generator=generator) + 0.5
        self.bounds = torch.zeros(rows)
        self.calls: list[tuple[torch.Tensor, list[int]]] = []

    def heights(self, images, rows):
        return (images * self.normals[rows]).flatten(1).mean(1) - self.bounds[rows]

    def __call__(self, images, index, members=None):
        self.calls.append((images.detach().clone(), index.tolist()))
        heights = self.heights(images, index)
        loss = heights if members is None else heights * torch.tensor([1.0 + one for one in members])
        return Evaluation(loss, heights < 0, torch.sigmoid(-heights).detach(), agrees=lambda i: bool(heights[i] < 0))

    def confirm(self, image, index):
        return bool(self.heights(image[None], torch.tensor([index])) < 0)

    def answer(self, image, index):
        height = float(self.heights(image[None], torch.tensor([index])))
        return -height, height < 0

    def margins(self, images, index):
        evaluation = self(images, index)
        return torch.stack((-evaluation.loss, -2 * evaluation.loss), 1), evaluation


def images_of(count: int, seed: int = 0):
    return torch.randint(40, 200, (count, *SIZE), generator=torch.Generator().manual_seed(seed)) / 255


def objective(text: str, count: int = 2, base=None, kind=RobustObjective):
    corruptions = parse_corruptions(text, ranges=True)
    pools = [[(UNCORRUPTED,), *(_pool(one, seed, j) for j, one in enumerate(corruptions))] for seed in range(count)]
    rows = sum(map(len, pools[0])) * count
    return kind(base or Planes(rows), pools, range(count))


def test_all_variants_in_one_batch_each_with_its_own_target():
    robust = objective("blur:1,bits:4")
    images = images_of(2)
    found = robust(images, torch.tensor([1, 0]))
    seen, rows = robust.base.calls[0]
    assert rows == [3, 0, 4, 1, 5, 2]
    for variant, text in enumerate((None, "blur:1", "bits:4")):
        chain = UNCORRUPTED if text is None else parse_corruption(text)
        assert torch.equal(seen[2 * variant : 2 * variant + 2], corrupted(images, chain))
    heights = robust.base.heights(seen, torch.tensor(rows)).unflatten(0, (3, 2))
    assert torch.allclose(found.loss, heights.sum(0))
    assert torch.allclose(found.worst_is(), -heights.amax(0).double())
    assert torch.allclose(found.confidence, torch.sigmoid(-heights).amin(0))
    assert found.passes == 3
    assert robust.checks == 3
    assert (robust.members, robust.reserve) == (("one", "other"), ("other",))


def test_a_success_is_one_of_all():
    robust = objective("brightness:1.2", count=1)
    image, index = images_of(1), torch.tensor([0])
    heights = robust.base.heights(torch.cat((image, corrupted(image, parse_corruption("brightness:1.2")))), [0, 1])
    for bounds, holds in (((0.1, 0.1), True), ((0.1, -0.1), False), ((-0.1, 0.1), False)):
        robust.base.bounds = heights + torch.tensor(bounds)
        found = robust(image, index)
        assert (bool(found.success[0]), found.agrees(0), robust.confirm(image[0], 0)) == (holds,) * 3


def test_a_confirmation_counts_the_passes_that_it_makes():
    """Each variant is asked by all detectors of the base, until one denies."""

    class Counting(Planes):
        asked = 0

        def confirm(self, image, index):
            self.asked += 1
            return super().confirm(image, index)

    class Both:
        """Two detectors that see the same."""

        checks = 2

        def __init__(self, part):
            self.part = part

        def confirmations(self, image, index):
            return (self.part.confirm(image, index) for _ in range(2))

    for bound, passes in ((10.0, 6), (-10.0, 1)):
        part = Counting(3)
        robust = objective("blur:1,bits:4", count=1, base=Both(part))
        part.bounds += bound
        assert robust.checks == 6
        assert verdict(robust, images_of(1)[0], 0) == (bound > 0, passes)
        assert part.asked == passes


def test_the_margin_of_a_class_is_that_of_the_farthest_variant():
    robust = objective("brightness:1.2", kind=RobustMargins)
    images = images_of(2)
    margins, evaluation = robust.margins(images, torch.tensor([0, 1]))
    variants = torch.cat((images, corrupted(images, parse_corruption("brightness:1.2"))))
    heights = robust.base.heights(variants, torch.tensor([0, 2, 1, 3])).view(2, 2)
    assert torch.allclose(margins[:, 0], -heights.amax(0))
    assert torch.allclose(evaluation.loss, heights.sum(0))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(("jpeg:60..95,blur:1", "noise:4", "resize:0.5..0.9,bits:3..6")))
def test_an_image_draws_the_same_whoever_is_beside_it(seed, text):
    images = images_of(3, seed)
    together, alone = objective(text, 3), objective(text, 3)
    for _ in range(3):
        both = together(images, torch.tensor([0, 1, 2])).loss[1]
        assert torch.equal(both, alone(images[1:2], torch.tensor([1])).loss[0])


def test_iterations_draw_and_judges_draw_others():
    jpeg = parse_corruption("jpeg:1..100", ranges=True)
    noise = parse_corruption("noise:3")
    for corruption in (jpeg, noise):
        seen, judged = _pool(corruption, 5, 0), _judged(corruption, 5, 5)
        assert len(judged) == JUDGED
        assert not {step.seed for one in seen for step in one.steps} & {
            step.seed for one in judged for step in one.steps
        }
    assert [str(one) for one in _pool(jpeg, 0, 0)[:2]] == ["jpeg:1", "jpeg:100"]
    fixed = parse_corruption("jpeg:75")
    assert _pool(fixed, 0, 0) == _judged(fixed, 0, 0) == (fixed,)


def test_passes_are_counted_and_the_success_is_the_nearest_that_holds_for_all():
    robust = objective("brightness:1.5", count=1)
    image = images_of(1)
    robust.base.normals[:] = 1.0
    bright = corrupted(image, parse_corruption("brightness:1.5"))
    robust.base.bounds = torch.tensor([image.mean() + 1, bright.mean() - 0.01])
    result = run(PRESETS["jnd-min"], image, robust)
    assert result.success.all()
    found = result.images
    assert robust.confirm(found[0], 0)
    assert int(result.backwards[0]) % 2 == 0
    assert int(result.backwards[0]) <= 2 * (PRESETS["jnd-min"].max_iterations + 1)
    needed = 0.01 / 1.5 * np.prod(SIZE) ** 0.5  # all values alike, brightened by 1.5
    assert needed * 0.9 < float((found - image).norm()) < 1.4 * needed
