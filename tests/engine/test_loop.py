"""The loop on problems whose smallest perturbation is known: linear classifiers in the unit cube."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch

from detattack.core.errors import InputError
from detattack.core.types import Evaluation
from detattack.engine import PRESETS, Attack, run
from detattack.engine.cost import bounded_range, total_variation

CLASSES = 4
SHAPES = [(3, 8, 8), (3, 16, 24), (3, 32, 32)]
JND = replace(PRESETS["jnd"], l2_weight=0, range_weight=0, tv_weight=0, levels=None)


class Linear:
    """The margin of the true class of a linear classifier; a success below 0. Counts what it is asked."""

    def __init__(self, shape, count, seed=0, distance=1.5, dtype=torch.float32):
        generator = torch.Generator().manual_seed(seed)
        size = math.prod(shape)
        self.weights = torch.randn(CLASSES, size, generator=generator, dtype=torch.float64).to(dtype)
        # Near the corners of the cube, so that the bounds bind.
        corners = torch.randint(0, 2, (count, size), generator=generator).to(dtype)
        inset = torch.rand(count, size, generator=generator, dtype=torch.float64).to(dtype) * 0.01
        self.images = (corners - inset).abs().view(count, *shape)
        scores = self.images.flatten(1) @ self.weights.T
        self.true = torch.randint(0, CLASSES, (count,), generator=generator)
        # A bias for each image: the true class leads by what a step of `distance` to the nearest class costs.
        lead = distance * (self.weights[self.true][:, None] - self.weights[None]).norm(dim=2)
        self.bias = lead - (scores.gather(1, self.true[:, None]) - scores)
        self.bias = -self.bias.scatter(1, self.true[:, None], 0.0)
        self.calls: list[list[int]] = []
        self.confirmed: list[int] = []
        self.seen: list[torch.Tensor] = []
        self.judged: list[torch.Tensor] = []

    def margin(self, images, index):
        scores = images.flatten(1) @ self.weights.T + self.bias[index]
        true = self.true[index][:, None]
        return scores.gather(1, true)[:, 0] - scores.scatter(1, true, -torch.inf).max(1).values

    def __call__(self, images, index):
        self.calls.append(index.tolist())
        self.seen.append(images.detach().clone())
        margin = self.margin(images, index)
        return Evaluation(margin, margin < 0, torch.sigmoid(-margin).detach(), margin=margin.detach())

    def confirm(self, image, index):
        self.confirmed.append(index)
        self.judged.append(image.clone())
        return bool(self.margin(image[None], torch.tensor([index])) < 0)

    def smallest(self, row):
        """min ‖d‖ with w·d ≥ c and 0 ≤ x + d ≤ 1, over the wrong classes: d = clip(t·w), t by bisection."""
        x = self.images[row].flatten().double()
        best, true = math.inf, int(self.true[row])
        for other in set(range(CLASSES)) - {true}:
            w = (self.weights[other] - self.weights[true]).double()
            c = float(-(w @ x + self.bias[row, other] - self.bias[row, true]))
            low, high = 0.0, 1e3
            for _ in range(100):
                t = (low + high) / 2
                low, high = (low, t) if float(w @ ((x + t * w).clamp(0, 1) - x)) >= c else (t, high)
            change = (x + high * w).clamp(0, 1) - x
            if float(w @ change) >= c * (1 - 1e-6):
                best = min(best, float(change.norm()))
        return best

    def smallest_without_bounds(self, row):
        margins = [self.weights[self.true[row]] - self.weights[o] for o in range(CLASSES) if o != self.true[row]]
        scores = self.images[row].flatten() @ self.weights.T + self.bias[row]
        leads = [scores[self.true[row]] - scores[o] for o in range(CLASSES) if o != self.true[row]]
        return min(float(lead / w.norm()) for lead, w in zip(leads, margins, strict=True))


def distances(result, images):
    return (result.images - images).flatten(1).norm(dim=1)


def attacked(attack, problem, rows=slice(None)):
    images = problem.images[rows]
    objective = problem if rows == slice(None) else Some(problem, rows)
    return run(attack, images, objective)


class Some:
    """Some of a problem's images as a batch of their own."""

    def __init__(self, problem, rows):
        self.problem, self.rows = problem, torch.arange(len(problem.images))[rows]

    def __call__(self, images, index):
        return self.problem(images, self.rows[index])

    def confirm(self, image, index):
        return self.problem.confirm(image, int(self.rows[index]))


# The optimum


@pytest.mark.parametrize("count", [1, 4, 7])
@pytest.mark.parametrize("shape", SHAPES)
def test_jnd_is_near_the_smallest_perturbation(shape, count):
    problem = Linear(shape, count, seed=count)
    result = run(JND, problem.images, problem)
    assert result.success.all()
    for row, distance in enumerate(distances(result, problem.images).tolist()):
        smallest = problem.smallest(row)
        assert smallest * (1 - 1e-4) <= distance <= 1.5 * smallest
        assert smallest > 1.1 * problem.smallest_without_bounds(row)  # the bounds bind


@pytest.mark.parametrize("shape", SHAPES)
def test_one_image_gives_the_same_bytes_twice(shape):
    first, second = (run(JND, problem.images, problem) for problem in (Linear(shape, 1), Linear(shape, 1)))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.first_images, second.first_images)


@pytest.mark.parametrize("step", ["normalized", "gd", "sign", "adam"])
def test_an_image_fares_in_a_batch_as_it_does_alone(step):
    problem = Linear((3, 8, 8), 4)
    attack = replace(JND, step=step, step_size=0.1 if step == "normalized" else 0.005)
    together = run(attack, problem.images, problem)
    for row in range(4):
        alone = attacked(attack, problem, slice(row, row + 1))
        torch.testing.assert_close(alone.images, together.images[row : row + 1], rtol=0, atol=1e-5)
        for name in ("success", "first_iteration", "forwards", "backwards"):
            assert torch.equal(getattr(alone, name), getattr(together, name)[row : row + 1]), name


# Counting and stopping


@pytest.mark.parametrize("refine", [0, 4])
@pytest.mark.parametrize("stop", ["first", "confidence", "budget"])
def test_passes_are_counted_as_they_happen(stop, refine):
    problem = Linear((3, 8, 8), 5)
    problem.bias[1, int(problem.true[1])] = -1e3  # already wrong
    problem.bias[3, int(problem.true[3])] = 1e4  # never wrong
    attack = replace(JND, stop=stop, stop_confidence=0.7, refine=refine, max_iterations=40)
    result = run(attack, problem.images, problem)
    counted = Counter(row for call in problem.calls for row in call) + Counter(problem.confirmed)
    assert result.forwards.tolist() == [counted[row] for row in range(5)]
    updates = [40 if stop == "budget" or k < 0 else k for k in result.first_iteration.tolist()]
    assert result.backwards.tolist() == updates
    assert result.success.tolist() == [True, True, True, False, True]


def test_backwards_take_in_the_unsolved_images_only(monkeypatch):
    problem = Linear((3, 8, 8), 5)
    taken, grad = [], torch.autograd.grad

    def counting(cost, seen, *rest, **options):
        gradients = grad(cost, seen, *rest, **options)
        taken.append(int((gradients[0].flatten(1).abs().sum(1) > 0).sum()))
        return gradients

    monkeypatch.setattr(torch.autograd, "grad", counting)
    result = run(JND, problem.images, problem)
    assert len(set(result.first_iteration.tolist())) > 1
    assert sum(taken) == int(result.backwards.sum()) == int(result.first_iteration.sum())


def test_no_forward_after_success():
    problem = Linear((3, 8, 8), 5)
    result = run(replace(JND, refine=0), problem.images, problem)
    for row, k in enumerate(result.first_iteration.tolist()):
        assert [row in call for call in problem.calls] == [i <= k for i in range(len(problem.calls))]
        assert problem.confirmed.count(row) == 1


def test_an_image_that_meets_the_goal_untouched_is_returned_as_it_is():
    problem = Linear((3, 8, 8), 1)
    problem.bias[0, int(problem.true[0])] = -1e3
    result = run(JND, problem.images, problem)
    assert (result.first_iteration.item(), result.backwards.item()) == (0, 0)
    assert torch.equal(result.images, problem.images)


@pytest.mark.parametrize("stop", ["first", "budget"])
def test_the_last_iterate_is_judged(stop):
    problem = Linear((3, 8, 8), 1)
    k = run(replace(JND, refine=0), problem.images, problem).first_iteration.item()
    assert k > 2
    enough = run(replace(JND, refine=0, stop=stop, max_iterations=k), problem.images, problem)
    assert (enough.success.item(), enough.first_iteration.item()) == (True, k)
    short = run(replace(JND, refine=0, stop=stop, max_iterations=k - 1), problem.images, problem)
    assert (short.success.item(), short.first_iteration.item(), short.backwards.item()) == (False, -1, k - 1)
    assert not torch.equal(short.images, problem.images)


def test_no_success_unless_confirmed():
    problem = Linear((3, 8, 8), 3)
    problem.confirm = lambda image, index: index == 1  # proposals of 0 and 2 are lies
    result = run(replace(JND, max_iterations=60), problem.images, problem)
    assert result.success.tolist() == [False, True, False]
    assert (result.first_iteration >= 0).tolist() == [False, True, False]
    assert result.backwards[0] == 60
    assert result.finite.all()


@pytest.mark.parametrize("stop", ["first", "budget"])
def test_k_is_the_first_confirmed_not_the_first_proposed(stop):
    problem = Linear((3, 8, 8), 1)
    proposed = run(replace(JND, refine=0), problem.images, problem).first_iteration.item()
    problem, asked = Linear((3, 8, 8), 1), []

    def third_time(image, index):
        asked.append(image.clone())
        return len(asked) >= 3

    problem.confirm = third_time
    result = run(replace(JND, refine=0, stop=stop, max_iterations=proposed + 10), problem.images, problem)
    assert result.first_iteration.item() == proposed + 2
    assert torch.equal(result.first_images[0], asked[2])


def test_confidence_goes_on_until_it_is_reached():
    problem = Linear((3, 16, 24), 3)
    attack = replace(JND, stop="confidence", stop_confidence=0.95, refine=5)
    result = run(attack, problem.images, problem)
    assert result.success.all()
    assert (result.first_iteration > run(JND, problem.images, problem).first_iteration).all()
    for images in (result.images, result.first_images):
        assert (torch.sigmoid(-problem.margin(images, torch.arange(3))) >= 0.95).all()
    assert (distances(result, problem.images) < (result.first_images - problem.images).flatten(1).norm(dim=1)).any()


def test_budget_keeps_the_smallest_success():
    """Steps overshoot; then only the L2 term acts and pulls the image back, until the goal is lost again."""

    class Hinge(Linear):
        def margin(self, images, index):
            return super().margin(images, index).clamp_min(0) - 1e-6

    problem = Hinge((3, 8, 8), 2)
    attack = Attack("t", "gd", 0.05, l2_weight=1, max_iterations=80, levels=None, stop="budget")
    result = run(attack, problem.images, problem)
    assert result.success.all()
    assert result.backwards.tolist() == [80, 80]
    for row in range(2):
        images = torch.stack([batch[row] for batch in problem.seen])
        wins = images[problem.margin(images, torch.full((len(images),), row)) < 0]
        lengths = (wins - problem.images[row]).flatten(1).norm(dim=1)
        assert distances(result, problem.images)[row] == pytest.approx(float(lengths.min()), rel=1e-5)
        assert float(lengths.min()) < 0.99 * float(lengths[0])
        assert torch.equal(result.first_images[row], wins[0])


# What the model sees


@pytest.mark.parametrize("levels", [256, 16])
def test_the_model_sees_what_a_file_can_hold(levels):
    problem = Linear((3, 8, 8), 4)
    problem.images = problem.images.mul(levels - 1).round() / (levels - 1)
    result = run(replace(JND, levels=levels, refine=4), problem.images, problem)
    assert result.success.any()
    exact = torch.arange(levels, dtype=torch.float32) / (levels - 1)
    for images in [*problem.seen, *problem.judged, result.images, result.first_images]:
        assert torch.isin(images, exact).all()


def test_floats_are_not_rounded():
    problem = Linear((3, 8, 8), 2)
    result = run(JND, problem.images, problem)
    assert float((result.images * 255 - (result.images * 255).round()).abs().max()) > 0.1
    assert torch.equal(problem.seen[0], problem.images)


@pytest.mark.parametrize("levels", [None, 256])
@pytest.mark.parametrize("step", ["normalized", "gd", "sign", "adam"])
def test_values_never_leave_the_range(step, levels):
    problem = Linear((3, 8, 8), 3)
    result = run(Attack("t", step, 0.3, max_iterations=12, levels=levels, stop="budget"), problem.images, problem)
    for images in [*problem.seen, *problem.judged, result.images, result.first_images]:
        assert 0 <= float(images.min()) <= float(images.max()) <= 1


def test_originals_are_left_alone():
    problem = Linear((3, 8, 8), 2)
    before = problem.images.clone()
    run(JND, problem.images, problem)
    assert torch.equal(problem.images, before)


def test_the_gradient_goes_straight_through_the_rounding():
    """Steps of a quarter gray level each add up in the float image until they show."""
    problem = Linear((3, 8, 8), 1, distance=0.3)
    problem.images = problem.images.mul(255).round() / 255
    attack = Attack("t", "sign", 0.25 / 255)
    result = run(attack, problem.images, problem)
    assert torch.equal(problem.seen[1], problem.images)
    assert result.success.all()


# What is not finite


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_not_finite_stops_that_image_alone(where, bad):
    class Broken(Linear):
        def __call__(self, images, index):
            found = super().__call__(images, index)
            sick = (index == 1) & (len(self.calls) > 3)
            if where == "gradient":
                one_value = torch.zeros(images.shape, dtype=torch.bool)
                one_value[sick, 1, 2, 3] = True
                if images.requires_grad:
                    images.register_hook(lambda g: torch.where(one_value, bad, g))
                return found
            return found._replace(loss=torch.where(sick, bad, found.loss))

    problem, healthy = Broken((3, 8, 8), 3), Linear((3, 8, 8), 3)
    result = run(JND, problem.images, problem)
    assert result.finite.tolist() == [True, False, True]
    assert result.success.tolist() == [True, False, True]
    assert sum(1 in call for call in problem.calls) == (4 if where == "loss" else 5)  # a gradient is read one later
    assert result.images.isfinite().all()
    others = attacked(JND, healthy, torch.tensor([0, 2]))
    torch.testing.assert_close(result.images[[0, 2]], others.images, rtol=0, atol=1e-5)
    assert torch.equal(result.first_iteration[[0, 2]], others.first_iteration)


@pytest.mark.parametrize("step", ["normalized", "sign"])
def test_steps_do_not_outgrow_floats(step):
    """After so many iterations α would be no float32, and later no float; where the gradient is 0, NaN."""
    problem = Linear((3, 8, 8), 1)
    problem.weights[:, ::2] = 0  # pixels without a gradient
    problem.bias -= 1e6 * (1 - torch.nn.functional.one_hot(problem.true, CLASSES))  # out of reach
    attack = replace(JND, step=step, growth=10.0, max_iterations=400)
    found = run(attack, problem.images, problem)
    assert not found.success.any()
    assert torch.stack(problem.seen).isfinite().all()
    assert len(problem.seen) >= 400


def test_a_success_that_is_not_finite_is_none():
    class Broken(Linear):
        def __call__(self, images, index):
            loss, _, confidence = super().__call__(images, index)[:3]
            return Evaluation(loss * torch.nan, torch.ones(len(index), dtype=torch.bool), confidence)

        def confirm(self, image, index):
            return True

    problem = Broken((3, 8, 8), 2)
    result = run(JND, problem.images, problem)
    assert not result.success.any()
    assert not result.finite.any()


# Refining


@pytest.mark.parametrize("levels", [None, 256])
@pytest.mark.parametrize("stop", ["first", "budget"])
def test_refining_never_lengthens_and_never_loses_the_goal(stop, levels):
    problem = Linear((3, 16, 24), 6)
    problem.images = problem.images.mul(255).round() / 255
    attack = replace(JND, step_size=0.4, levels=levels, stop=stop, max_iterations=20)
    coarse = run(replace(attack, refine=0), problem.images, problem)
    fine = run(replace(attack, refine=8), problem.images, problem)
    assert torch.equal(coarse.success, fine.success)
    assert fine.success.all()
    assert (distances(fine, problem.images) <= distances(coarse, problem.images)).all()
    assert (distances(fine, problem.images) < 0.99 * distances(coarse, problem.images)).any()
    assert all(problem.confirm(image, row) for row, image in enumerate(fine.images))
    assert torch.equal(coarse.first_images, fine.first_images)
    assert torch.equal(coarse.first_iteration, fine.first_iteration)


# The trace


@pytest.mark.parametrize("levels", [None, 256])
def test_the_trace_is_what_was_seen(levels):
    problem = Linear((3, 8, 8), 3, dtype=torch.float64)
    attack = replace(PRESETS["jnd"], levels=levels, loss_weight=0.5, l2_weight=2, range_weight=3, tv_weight=4, refine=0)
    result = run(attack, problem.images, problem)
    trace, k = result.trace, result.first_iteration
    assert trace.loss.shape == (int(k.max()) + 1, 3)
    steps = torch.arange(len(trace.loss))[:, None]
    for values in vars(trace).values():
        assert torch.equal(values.isnan(), steps > k)
    first, index = problem.seen[0], torch.arange(3)
    cost = 0.5 * problem.margin(first, index) + 2 * (first - problem.images).square().flatten(1).sum(1)
    cost = cost + 3 * bounded_range(first) + 4 * total_variation(first)
    terms = trace.loss_cost + trace.l2_cost + trace.range_cost + trace.tv_cost
    torch.testing.assert_close(terms[0], cost)
    torch.testing.assert_close(trace.loss_cost, 0.5 * trace.loss, equal_nan=True)
    for row in range(3):
        last = result.first_images[row] - problem.images[row]
        assert float(trace.distance[k[row], row]) == pytest.approx(float(last.norm()), rel=1e-9)
        assert float(trace.l2_cost[k[row], row]) == pytest.approx(2 * float(last.square().sum()), rel=1e-9)
        margin = problem.margin(result.first_images[row : row + 1], index[row : row + 1])
        assert float(trace.confidence[k[row], row]) == pytest.approx(float(torch.sigmoid(-margin)), rel=1e-6)


@pytest.mark.parametrize("images", [torch.rand(3, 8, 8), torch.rand(1, 8, 8, 3), torch.zeros(1, 3, 8, 8).byte()])
def test_images_of_another_shape_or_type_are_refused(images):
    with pytest.raises(InputError, match=r"images: expected floats \[N,3,H,W\], got torch"):
        run(JND, images, Linear((3, 8, 8), 1))
