"""A goal before several detectors: targets by class name, one objective of all, and the predicate."""

import pytest
import torch

from detattack.core.errors import InputError
from detattack.core.types import WHOLLY_WRONG, Category, Evaluation
from detattack.detectors.several import Several, judges_of
from detattack.tasks.detection.goals import Target, parse_goal
from detattack.tasks.detection.judges import JointObjective, check_classes, mean_harm, target_for
from tests.toy_detector import Toy

KNOWN = Toy.categories


class Other(Toy):
    name = "other"
    categories = (Category("person", 7), Category("automobile", 8), Category("car", 9))


def test_a_target_means_the_same_classes_by_name():
    box, far = (0.0, 0.0, 16.0, 16.0), (20.0, 20.0, 36.0, 36.0)
    goal = parse_goal("degrade:all")
    target = Target(goal, (), None, (box, far), (), (0, 1))  # a car and a dog
    own = target_for(target, KNOWN, Other("cpu"))
    assert (own.objects, own.object_labels) == ((box,), (2,)), "the other knows no dog"
    suppressed = Target(parse_goal("suppress:car"), (0,), kept=((1, box),))
    assert target_for(suppressed, KNOWN, Other("cpu")) == Target(parse_goal("suppress:car"), (2,))
    assert target_for(suppressed, KNOWN, Toy("cpu")) is suppressed


def test_a_model_that_lacks_a_class_is_named():
    several = Several([Toy("cpu"), Other("cpu")])
    check_classes(parse_goal("suppress:car"), several)
    with pytest.raises(InputError, match="model other: unknown class 'dog'"):
        check_classes(parse_goal("suppress:dog"), several)


def test_several_report_as_the_first_and_are_judged_by_all():
    first, second = Toy("cpu"), Other("cpu")
    several = Several([first, second])
    assert (several.name, several.categories) == ("toy,other", first.categories)
    assert judges_of(several) == (first, second)
    assert judges_of(first) == (first,)


class Part:
    """An objective with a quadratic loss."""

    members, reserve = ("one",), ()
    detector = None

    def __init__(self, scale, success, harm):
        self.scale, self.success, self.harm = scale, success, harm
        self.targets = [Target(parse_goal("suppress:all"))]

    def __call__(self, images, index, members=None):
        loss = self.scale * images.square().flatten(1).sum(1)
        count = len(images)
        success = torch.full((count,), self.success)
        harm = torch.full((count,), self.harm, dtype=torch.float64)
        return Evaluation(loss, success, loss.detach().sigmoid(), lambda i: self.success, lambda: harm)

    def confirm(self, image, index):
        return self.success

    def answer(self, image, index):
        return self.harm, self.success


def test_no_detector_drowns_the_others():
    parts = [Part(10.0, True, -1.0), Part(1000.0, True, -2.0)]
    image = torch.full((1, 3, 2, 2), 0.5, requires_grad=True)
    loss = JointObjective(parts)(image, torch.tensor([0])).loss
    assert loss.item() == pytest.approx(30.0), "both count as much as the first, 10 · 3, at the start"
    (found,) = torch.autograd.grad(loss, image)
    (alone,) = torch.autograd.grad(parts[0](image, None).loss, image)
    torch.testing.assert_close(found, alone)


@pytest.mark.parametrize("successes", [(True, True), (True, False), (False, True)])
def test_a_success_is_one_of_each(successes):
    joint = JointObjective([Part(1.0, one, -1.0) for one in successes])
    found = joint(torch.ones(1, 3, 2, 2), torch.tensor([0]))
    assert bool(found.success) == found.agrees(0) == joint.confirm(None, 0) == all(successes)
    assert joint.answer(None, 0) == (-1.0, all(successes))


def test_harm_is_a_mean_and_wholly_wrong_only_where_all_are():
    most = WHOLLY_WRONG
    harms = torch.tensor([[-1.0, most + 8, most + 1], [-3.0, -0.5, most + 2]])
    assert mean_harm(harms).tolist() == [-2.0, -0.25, most + 1.5]
