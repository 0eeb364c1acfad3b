"""Random search: answers alone, within the radius, the first success or the worst of all."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detattack.core.errors import InputError
from detattack.core.types import WHOLLY_WRONG
from detattack.engine import PRESETS, run_random_search

SQUARE = PRESETS["square"]


def brightness(image) -> float:
    """Of what the toy looks at."""
    return float(image[..., 6:18, 8:20].mean())


class Brighter:
    """The goal is a brightness of at least `needed`; the brighter, the worse. Counts what it is asked."""

    def __init__(self, needed: float):
        self.needed, self.asked = needed, 0

    def answer(self, image, index):
        self.asked += 1
        assert torch.equal((image * 255).round() / 255, image)
        return brightness(image), brightness(image) >= self.needed


def gray(value=100, count=1, shape=(3, 24, 32)):
    return torch.full((count, *shape), value / 255)


def test_finds_what_no_gradient_is_given_for_and_stops_there():
    objective = Brighter(103 / 255)
    found = run_random_search(SQUARE, gray(), objective, [3])
    assert found.success.tolist() == [True]
    assert brightness(found.images) >= 103 / 255
    assert int(found.forwards) == objective.asked < SQUARE.max_iterations
    assert 0 < int(found.first_iteration) < objective.asked
    assert int(found.backwards) == 0


def test_a_budget_is_spent_on_the_worst_image():
    objective = Brighter(2.0)
    few, many = (
        run_random_search(replace(SQUARE, stop="worst", max_iterations=n), gray(), objective, [3]) for n in (20, 200)
    )
    assert not many.success.any()
    assert brightness(few.images) < brightness(many.images)
    assert objective.asked == 220
    assert brightness(many.images) > 103 / 255


def test_k_is_of_a_success_and_of_a_budget_that_of_the_worst_image():
    missed = run_random_search(replace(SQUARE, max_iterations=30), gray(), Brighter(2.0), [3])
    assert (missed.success.tolist(), int(missed.first_iteration)) == ([False], -1)
    assert brightness(missed.images) > 100 / 255, "a worse image was found on the way"

    class Darker(Brighter):
        def answer(self, image, index):
            harm, holds = super().answer(image, index)
            return -abs(harm - 100 / 255), holds

    spent = run_random_search(replace(SQUARE, stop="worst", max_iterations=5), gray(), Darker(2.0), [3])
    assert (torch.equal(spent.images, gray()), int(spent.first_iteration)) == (True, 0), "the untouched image is worst"


def test_a_budget_is_spent_where_nothing_right_is_left_but_not_where_that_was_so_before():
    class Wrong(Brighter):
        def answer(self, image, index):
            harm, holds = super().answer(image, index)
            return harm + WHOLLY_WRONG * holds, holds

    spent, begun = Wrong(103 / 255), Wrong(99 / 255)
    run_random_search(replace(SQUARE, stop="worst", max_iterations=50), gray(), spent, [3])
    run_random_search(replace(SQUARE, stop="worst", max_iterations=50), gray(), begun, [3])
    assert (spent.asked, begun.asked) == (50, 1)


def test_begins_with_what_was_found_before():
    start = gray(107)
    found = run_random_search(SQUARE, gray(), Brighter(106.9 / 255), [0], start)
    assert (int(found.forwards), int(found.first_iteration)) == (1, 0)
    assert torch.equal(found.images, start)


@pytest.mark.parametrize("stop", ["first", "worst"])
def test_searches_on_from_its_own_signs_however_harmful_the_image_itself_is(stop):
    """An image that changes do less harm to at first, such as one where an object is to appear."""

    class Begun(Brighter):
        def __init__(self, untouched: float):
            super().__init__(needed=9.0)
            self.untouched, self.seen = untouched, []

        def answer(self, image, index):
            self.seen.append(image)
            harm, holds = super().answer(image, index)
            return (harm if len(self.seen) > 1 else self.untouched), holds

    harmless, harmful = Begun(0.0), Begun(0.45)
    results = [run_random_search(replace(SQUARE, stop=stop), gray(), one, [4]) for one in (harmless, harmful)]
    assert torch.equal(torch.stack(harmless.seen), torch.stack(harmful.seen))
    assert torch.equal(results[0].images, max(harmless.seen[1:], key=brightness)[None])
    assert torch.equal(results[1].images, gray())


def test_a_larger_radius_begins_with_the_signs_of_a_smaller_ones_result():
    class Seen(Brighter):
        def answer(self, image, index):
            self.last = image
            return super().answer(image, index)

    start = gray()
    start[..., 6:18, 8:20] += 2 / 255
    start[:, 1, :4] -= 1 / 255
    objective = Seen(9.0)
    run_random_search(replace(SQUARE, max_iterations=2), gray(), objective, [3], start)
    changed = start != gray()
    assert torch.equal(((objective.last - gray()[0]).sign() * changed[0]), (start - gray())[0].sign())
    assert torch.allclose((objective.last - gray()[0]).abs(), torch.tensor(8 / 255), atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**40), st.sampled_from([1, 2, 5, 8]), st.integers(0, 255))
def test_stays_within_the_radius_on_the_gray_levels(seed, size, value):
    attack = replace(SQUARE, radius=size / 255, max_iterations=12, stop="worst")
    images = gray(value, shape=(3, 7, 5))
    found = run_random_search(attack, images, Brighter(2.0), [seed])
    levels = found.images * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert float((levels - value).abs().max()) <= size + 1e-3
    assert 0 <= float(found.images.min()) <= float(found.images.max()) <= 1


def test_an_image_does_not_depend_on_its_neighbors():
    attack, images = replace(SQUARE, max_iterations=15, stop="worst"), torch.cat([gray(90), gray(120)])
    both = run_random_search(attack, images, Brighter(2.0), [4, 5]).images
    alone = [run_random_search(attack, images[i, None], Brighter(2.0), [4 + i]).images for i in range(2)]
    assert torch.equal(both, torch.cat(alone))


def test_needs_a_radius_and_answers():
    with pytest.raises(InputError, match="square: needs a radius"):
        run_random_search(replace(SQUARE, radius=None), gray(), Brighter(1), [0])
    with pytest.raises(InputError, match="square: goes with detectors"):
        run_random_search(SQUARE, gray(), object(), [0])
