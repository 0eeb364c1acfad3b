"""A group of images of which some are worked on at a time; and how often the host waits for the device."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from detattack.core.types import Evaluation
from detattack.engine import PRESETS, Attack, run
from detattack.engine.state import UNCONFIRMED

JND = replace(PRESETS["jnd"], levels=None, max_iterations=40)
COUNT = 9


class Hills:
    """Image i is a success when the mean of its channel 0 is below a bound of its own. Counts what it is asked."""

    def __init__(self, hopeless=(), sick=()):
        generator = torch.Generator().manual_seed(0)
        self.images = 0.4 + 0.2 * torch.rand(COUNT, 3, 6, 8, generator=generator)
        self.bounds = self.images[:, 0].mean((1, 2)) - 0.02 * torch.arange(COUNT).flip(0)
        self.bounds[list(hopeless)] = -1
        self.sick = set(sick)
        self.calls: list[list[int]] = []

    def __call__(self, images, index):
        self.calls.append(index.tolist())
        heights = images[:, 0].mean((1, 2)) - self.bounds.to(images)[index.to(images.device, non_blocking=True)]
        ill = torch.tensor([i in self.sick for i in index.tolist()]).to(images.device, non_blocking=True)
        loss = torch.where(ill, torch.nan, heights)
        return Evaluation(loss, heights < 0, torch.sigmoid(-heights).detach())

    def confirm(self, image, index):
        return bool(image[0].mean() < self.bounds[index])


def alone(attack, problem, row):
    class One:
        def __call__(self, images, index):
            return problem(images, torch.full_like(index, row))

        def confirm(self, image, index):
            return problem.confirm(image, row)

    return run(attack, problem.images[row : row + 1], One())


class Liar(Hills):
    """Claims success a little before the goal holds, by `ahead` of the mean. Notes what it is asked to confirm."""

    def __init__(self, ahead):
        super().__init__()
        self.ahead = ahead
        self.asked: list[tuple[int, float, bool]] = []
        self.claimed: Counter[int] = Counter()

    def __call__(self, images, index):
        evaluation = super().__call__(images, index)
        self.claimed.update(index[evaluation.loss.detach() < self.ahead].tolist())
        return Evaluation(evaluation.loss, evaluation.loss < self.ahead, evaluation.confidence)

    def confirm(self, image, index):
        holds = super().confirm(image, index)
        self.asked.append((index, float((image - self.images[index]).norm()), holds))
        return holds


DDN = replace(PRESETS["ddn"], levels=None, step_size=0.1, max_iterations=60)


def test_smaller_successes_are_confirmed_now_and_then_and_the_smallest_in_the_end():
    problem = Liar(0.0)
    result = run(DDN, problem.images, problem)
    for row in range(COUNT - 1):  # the last one's bound is its own mean: a step anywhere meets it
        asked = [distance for index, distance, _ in problem.asked if index == row]
        assert problem.claimed[row] > 20
        assert len(asked) <= 2 + problem.claimed[row] / (UNCONFIRMED + 1)
        assert all(holds for index, _, holds in problem.asked if index == row)
        assert float((result.images[row] - problem.images[row]).norm()) == pytest.approx(min(asked))


@pytest.mark.parametrize("ahead", [0.002, 0.01])
def test_what_claims_too_much_is_doubted_and_no_success_that_holds_is_lost(ahead):
    """The smallest of all that were asked for is kept, and the first refusal makes all that follow be asked for."""
    problem = Liar(ahead)
    result = run(DDN, problem.images, problem)
    honest = run(DDN, problem.images, Hills())
    for row in range(COUNT - 1):
        asked = [(distance, holds) for index, distance, holds in problem.asked if index == row]
        assert any(not holds for _, holds in asked)
        assert result.success[row]
        length = float((result.images[row] - problem.images[row]).norm())
        assert length == pytest.approx(min(distance for distance, holds in asked if holds))
        assert length <= 1.05 * float((honest.images[row] - problem.images[row]).norm())
        assert Hills().confirm(result.images[row], row)


@pytest.mark.parametrize("step", ["normalized", "adam", "ddn"])
@pytest.mark.parametrize("active", [1, 2, 4, COUNT, None])
def test_an_image_fares_in_a_group_as_it_does_alone(active, step):
    attack = replace(JND, step=step, step_size=0.1, stop="budget" if step == "ddn" else "first", max_iterations=25)
    problem = Hills(hopeless=[2], sick=[5])
    found = run(attack, problem.images, problem, active)
    assert found.success.tolist() == [row not in (2, 5) for row in range(COUNT)]
    for row in range(COUNT):
        own = alone(attack, problem, row)
        torch.testing.assert_close(found.images[row], own.images[0], rtol=0, atol=1e-6)
        for name in ("success", "finite", "first_iteration", "forwards", "backwards"):
            assert getattr(found, name)[row] == getattr(own, name)[0], name
        for name, values in vars(found.trace).items():
            length = len(own.trace.loss)
            torch.testing.assert_close(values[:length, row], vars(own.trace)[name][:, 0], equal_nan=True)
            assert values[length:, row].isnan().all()


@pytest.mark.parametrize("active", [1, 3, 4])
def test_places_are_filled_as_long_as_images_wait(active):
    problem = Hills(hopeless=[0, 7])
    run(replace(JND, refine=0), problem.images, problem, active)
    begun = [max(max(call) for call in problem.calls[: i + 1]) for i in range(len(problem.calls))]
    for call, last in zip(problem.calls, begun, strict=True):
        assert len(call) == active or (len(call) < active and last == COUNT - 1)
    assert sum(len(call) for call in problem.calls) < COUNT * 41
    assert {row for call in problem.calls for row in call} == set(range(COUNT))


# What the host asks of the device

WAITS = ("item", "tolist", "__bool__", "__int__", "__float__", "__index__", "nonzero", "is_nonzero", "cpu", "numpy")


class OnDevice(Tensor):
    """A tensor as if on an accelerator: each time that the host waits for a value of it is noted."""

    waits: list[str] = []

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        masks = name in ("__getitem__", "__setitem__") and _is_mask(args[1])
        if name in WAITS or masks:
            cls.waits.append("mask" if masks else name)
        found = super().__torch_function__(function, types, args, kwargs or {})
        return found.as_subclass(Tensor) if name == "cpu" else found


def _is_mask(key):
    keys = key if isinstance(key, tuple) else (key,)
    return any(isinstance(one, Tensor) and one.dtype == torch.bool for one in keys)


@pytest.mark.parametrize("step", ["normalized", "gd", "sign", "adam", "ddn", "fmn", "cw", "deepfool", "walk"])
def test_the_host_waits_for_the_device_once_an_iteration(step):
    problem = Hills(hopeless=range(COUNT))
    attack = Attack("t", step, 0.01, l2_weight=1, range_weight=1, tv_weight=1, radius=0.1, max_iterations=12)
    OnDevice.waits.clear()
    found = run(attack, problem.images.as_subclass(OnDevice), problem, active=4)
    assert isinstance(found.images, OnDevice)
    assert OnDevice.waits == ["cpu"] * len(problem.calls)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_device_is_waited_for_once_an_iteration(recwarn):
    problem = Hills(hopeless=range(COUNT))
    attack = Attack("t", "normalized", 0.01, l2_weight=1, range_weight=1, tv_weight=1, max_iterations=12)
    images = problem.images.cuda()
    problem.bounds = problem.bounds.cuda()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        run(attack, images, problem)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [str(w.message) for w in recwarn if "synchroniz" in str(w.message)]
    assert len(waits) <= len(problem.calls) + 3, waits
