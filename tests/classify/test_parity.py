"""Where foolbox defines the same step, the same images come out, on the embedded VGG16 and real photos."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from classify.methods import METHODS, PRESETS
from classify.models.registry import load_classifier
from classify.objective import ClassificationObjective
from classify.types import ClassGoal
from detattack.engine import Attack, run, run_deepfool
from tests.classify.photos import cuttings

foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed")


class Never(ClassificationObjective):
    """Never satisfied: attacks go on to their last iteration, as the references do."""

    def __call__(self, images, index):
        evaluation = super().__call__(images, index)
        return evaluation._replace(success=torch.zeros_like(evaluation.success))


@pytest.fixture(scope="module")
def classifier():
    return load_classifier("vgg16_cifar10", "cpu")


@pytest.fixture(scope="module")
def model(classifier):
    """The network as foolbox takes it."""
    preprocessing = classifier.preprocessing
    values = {"mean": preprocessing.mean, "std": preprocessing.std, "axis": -3}
    return foolbox.PyTorchModel(classifier.network, bounds=(0, 1), device="cpu", preprocessing=values)


@pytest.fixture(scope="module")
def images():
    return cuttings(30)


@pytest.fixture(scope="module")
def labels(classifier, images):
    with torch.no_grad():
        return classifier.logits(images).argmax(1)


def objective(kind, classifier, labels, loss="true", **more):
    return kind(classifier, [ClassGoal(int(label), (int(label) + 1) % 10) for label in labels], loss, **more)


def floats(name, **changes):
    return replace(PRESETS[name], levels=None, refine=0, **changes)


def reference(attack, model, images, labels, epsilon):
    raw, _, _ = attack(model, images, labels, epsilons=epsilon)
    return raw


def test_the_network_sees_what_foolbox_shows_it(classifier, model, images):
    torch.testing.assert_close(model(images), classifier.logits(images), atol=1e-5, rtol=1e-5)


def test_one_step_of_fgsm(classifier, model, images, labels):
    ours = run(floats("fgsm", step_size=0.03, max_iterations=1), images, objective(Never, classifier, labels)).images
    theirs = reference(foolbox.attacks.LinfFastGradientAttack(random_start=False), model, images, labels, 0.03)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_ten_steps_of_pgd_in_linf(classifier, model, images, labels):
    attack = floats("pgd-linf", step_size=0.004, radius=0.02, max_iterations=10)
    ours = run(attack, images, objective(Never, classifier, labels)).images
    pgd = foolbox.attacks.LinfProjectedGradientDescentAttack(abs_stepsize=0.004, steps=10, random_start=False)
    torch.testing.assert_close(ours, reference(pgd, model, images, labels, 0.02), atol=1e-5, rtol=0)


def test_ten_steps_of_pgd_in_l2(classifier, model, images, labels):
    attack = floats("pgd-l2", step_size=0.1, radius=0.4, max_iterations=10)
    ours = run(attack, images, objective(Never, classifier, labels)).images
    pgd = foolbox.attacks.L2ProjectedGradientDescentAttack(abs_stepsize=0.1, steps=10, random_start=False)
    apart = (ours - reference(pgd, model, images, labels, 0.4)).flatten(1).abs().amax(1)
    # where a ReLU is at its corner the last bit decides which way the next nine steps go
    assert int((apart < 1e-5).sum()) >= 29


def test_a_step_of_fgv_is_the_gradient(classifier, images, labels):
    ours = run(floats("fgv", step_size=0.1, max_iterations=1), images, objective(Never, classifier, labels)).images
    seen = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(classifier.logits(seen), labels, reduction="sum"), seen)
    torch.testing.assert_close(ours, (images + 0.1 * gradient).clamp(0, 1), atol=1e-6, rtol=0)


def test_ddn_finds_perturbations_of_the_same_length(classifier, model, images, labels):
    steps = 40
    found = run(floats("ddn", max_iterations=steps - 1), images, objective(ClassificationObjective, classifier, labels))
    theirs = reference(foolbox.attacks.DDNAttack(steps=steps), model, images, labels, None)
    ours, others = ((x - images).flatten(1).norm(dim=1) for x in (found.images, theirs))
    assert bool(found.success.all())
    # a decision on the boundary may fall either way by the last bit, and then the norms are a step of 5% apart
    apart = (ours / others - 1).abs()
    assert float(apart.max()) < 0.06
    assert int((apart < 1e-4).sum()) >= 29


def test_fmn_finds_perturbations_of_the_same_length(classifier, model, images, labels):
    """The reference's loss is the margin to the likeliest other class alone, not to a soft maximum of all."""

    class HardMargin(ClassificationObjective):
        def __call__(self, images, index):
            logits = self.attacked.logits(images)
            own = self._labels[index][:, None]
            loss = logits.gather(1, own).squeeze(1) - logits.scatter(1, own, -torch.inf).amax(1)
            return super().__call__(images, index)._replace(loss=loss)

    class Projecting(foolbox.attacks.L2FMNAttack):
        """Foolbox 3.3.4 divides a norm by itself here, and so projects onto no ball at all."""

        def project(self, x, x0, epsilon):
            change = x - x0
            factor = (epsilon / change.flatten(1).norms.l2(axis=-1).maximum(1e-12)).minimum(1)
            return x0 + change * factor.reshape((-1, 1, 1, 1))

    steps = 40
    found = run(floats("fmn", max_iterations=steps - 1), images, objective(HardMargin, classifier, labels))
    theirs = reference(Projecting(steps=steps), model, images, labels, None)
    ours, others = ((x - images).flatten(1).norm(dim=1) for x in (found.images, theirs))
    # a step that ends on the boundary itself may fall either way by the last bit
    apart = (ours / others - 1).abs()
    assert int((apart < 1e-4).sum()) >= 27


@pytest.mark.parametrize("classes", [None, 3])
def test_deepfool_finds_perturbations_of_the_same_length(classifier, model, images, labels, classes):
    attack = floats("deepfool")
    found = run_deepfool(attack, images, objective(ClassificationObjective, classifier, labels, classes=classes))
    theirs = reference(
        foolbox.attacks.L2DeepFoolAttack(steps=50, candidates=classes, overshoot=0.02, loss="logits"),
        model,
        images,
        labels,
        None,
    )
    ours, others = ((x - images).flatten(1).norm(dim=1) for x in (found.images, theirs))
    assert bool(found.success.all())
    assert len(images) == 30
    torch.testing.assert_close(ours, others, rtol=0.05, atol=0)


def test_jnd_min_and_fmn_need_no_more_than_ddn(classifier, images, labels):
    """Judged on 8 bits, by the medians."""
    some = slice(0, 12)
    medians = {}
    for name in ("ddn", "jnd-min", "fmn"):
        kind = objective(ClassificationObjective, classifier, labels[some], METHODS[name].loss)
        found = run(replace(PRESETS[name], max_iterations=60), images[some], kind)
        assert bool(found.success.all()), name
        medians[name] = (found.images - images[some]).flatten(1).norm(dim=1).median()
    assert medians["jnd-min"] <= 1.01 * medians["ddn"]
    assert medians["fmn"] <= 1.01 * medians["ddn"]


def test_deepfool_of_a_linear_classifier_is_the_projection():
    """Closed form: the nearest boundary of a linear classifier, reached in one step, overshot by 2%."""

    class Linear:
        name, classes = "linear", tuple("abcdefg")

        def __init__(self):
            generator = torch.Generator().manual_seed(1)
            self.device = torch.device("cpu")
            self.weight = torch.randn(7, 3 * 4 * 5, generator=generator, dtype=torch.float64)

        def logits(self, images):
            return images.flatten(1) @ self.weight.T.to(images.dtype)

    linear = Linear()
    image = 0.5 + 0.01 * torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    logits = linear.logits(image)[0]
    label = int(logits.argmax())
    gaps = [(float(logits[label] - logits[k]), linear.weight[label] - linear.weight[k]) for k in range(7) if k != label]
    nearest = min(gap / float(w.norm()) for gap, w in gaps)
    attack = Attack("deepfool", "deepfool", 0.02, max_iterations=50, levels=None)
    found = run_deepfool(attack, image, ClassificationObjective(linear, [ClassGoal(label, (label + 1) % 7)], "true"))
    assert found.first_iteration.tolist() == [1]
    assert float((found.images - image).norm()) == pytest.approx(1.02 * nearest, rel=0.02)
    assert found.backwards.tolist() == [6]
