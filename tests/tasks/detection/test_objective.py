"""Objectives on a made-up detector whose candidates are smooth functions of the image."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torchvision.ops import batched_nms, clip_boxes_to_image

from detattack.core.types import Candidates, Category, Detections
from detattack.tasks.detection.goals import CleanImage, parse_goal
from detattack.tasks.detection.losses import LOSSES
from detattack.tasks.detection.matching import MATCH_IOU
from detattack.tasks.detection.objective import DetectionObjective

CATEGORIES = (Category("car", 3), Category("truck", 8), Category("dog", 18))
CAR, TRUCK, DOG = 0, 1, 2
WIDTH, HEIGHT = 64, 48
PIXELS = (3, 4, 6)
"""The made-up detector looks at tiny images but reports boxes as if they were of WIDTH x HEIGHT."""
TAU = 0.5
HERE, THERE = (8.0, 8.0, 28.0, 28.0), (40.0, 12.0, 60.0, 40.0)


@dataclass
class Fake:
    """Linear maps from the image to boxes and logits of a few candidates. `select`: all above the threshold.

    places: where the candidates are on a mid-gray image. starts: their logits there, `[A,K]`. by_class: a box
    per class. padding: how many candidates that are not valid stand between the others. sway: how far boxes
    move with the image, in pixels.
    """

    places: list[tuple]
    starts: list[list[float]]
    by_class: bool = False
    padding: int = 0
    anchors: bool = True
    sway: float = 0.5
    says: Detections | None = None

    name, categories, device, eval_threshold = "fake", CATEGORIES, torch.device("cpu"), 0.05

    def candidates(self, images, extra_boxes=None):
        self.extra_boxes = extra_boxes
        generator = torch.Generator().manual_seed(0)
        count, classes = len(self.places), len(CATEGORIES)
        flat = images.flatten(1) - 0.5

        def linear(size):
            weights = torch.randn(flat.shape[1], size, generator=generator, dtype=torch.float64).to(images.dtype)
            return flat @ weights

        logits = images.new_tensor(self.starts) + linear(count * classes).view(-1, count, classes)
        anchors = images.new_tensor(self.places).expand(len(images), -1, -1)
        boxes = anchors.unsqueeze(2) + self.sway * linear(count * classes * 4).view(-1, count, classes, 4)
        boxes = boxes if self.by_class else boxes[:, :, 0]
        valid = torch.tensor([i % (self.padding + 1) == 0 for i in range(count * (self.padding + 1))])
        if self.padding:
            boxes, logits, anchors = (self._padded(v, valid, images.sum() * 0) for v in (boxes, logits, anchors))
        return Candidates(
            boxes=boxes,
            logits=logits,
            valid=valid.expand(len(images), -1) if self.padding else None,
            anchors=anchors if self.anchors else None,
        )

    def _padded(self, values, valid, zero):
        """The most tempting padding: the first candidate again, ever surer."""
        padded = values[:, :1].repeat_interleave(len(valid), 1) * 3 + zero
        return padded.index_copy(1, valid.nonzero().flatten(), values)

    def select(self, candidates, score_threshold):
        if self.says is not None:
            return [self.says] * len(candidates.logits)
        return [self._select_one(candidates, i, score_threshold) for i in range(len(candidates.logits))]

    def _select_one(self, candidates, i, score_threshold):
        boxes, scores = candidates.boxes[i].detach(), candidates.logits[i].detach().sigmoid()
        valid = torch.ones(len(scores), dtype=torch.bool) if candidates.valid is None else candidates.valid[i]
        row, label = (valid[:, None] & (scores > score_threshold)).nonzero(as_tuple=True)
        chosen = boxes[row, label] if boxes.dim() == 3 else boxes[row]
        return Detections(chosen.float(), scores[row, label].float(), label)

    def detect(self, images, score_threshold):
        assert images.dtype == torch.float32
        return self.select(self.candidates(images), score_threshold)


def moved(box, dx, dy=0.0):
    return (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)


PLACES = [HERE, moved(HERE, 2), moved(HERE, 5, 3), THERE, moved(THERE, -3), (30.0, 2.0, 44.0, 14.0)]
STARTS = [[2.0, -3, -1], [1.5, -2, -3], [-0.5, 0.4, -4], [-2, 1.5, 0.5], [0.3, 1.0, -5], [-3, -4, 2.0]]
AT = ",".join(f"{v:g}" for v in HERE)
FREE = "2,30,22,46"
GOALS = [
    "suppress:all",
    "suppress:car",
    f"suppress:car@{AT}",
    f"suppress:all@{AT}",
    f"inject:dog@{AT}",
    f"inject:car@{FREE}",
    "mislabel:car->dog",
    f"mislabel:car@{AT}->dog",
]
OF_OBJECTS = ["degrade:all", "degrade:car", "flood:2"]
DETECTORS = {
    "a box each": Fake(PLACES, STARTS),
    "a box per class": Fake(PLACES, STARTS, by_class=True),
    "padded": Fake(PLACES, STARTS, padding=2),
    "no anchors": Fake(PLACES, STARTS, by_class=True, padding=1, anchors=False),
}


def images(count=2, seed=0, dtype=torch.float64, spread=0.02):
    generator = torch.Generator().manual_seed(seed)
    return (0.5 + spread * torch.randn(count, *PIXELS, generator=generator, dtype=torch.float64)).to(dtype)


def objective_of(fake, goal, batch, keep_others=False, threshold=TAU, **options):
    clean = fake.select(fake.candidates(batch), threshold)
    parsed = parse_goal(goal)
    scenes = [CleanImage(WIDTH, HEIGHT, one) for one in clean]
    targets = [parsed.resolve(CATEGORIES, scene, keep_others) for scene in scenes]
    return DetectionObjective(fake, targets, threshold, **options)


def proposed(evaluation):
    """Where a success is proposed, and the detector's own `select` agrees."""
    return [success and evaluation.agrees(i) for i, success in enumerate(evaluation.success.tolist())]


def loss_of(fake, goal, batch, **options):
    return objective_of(fake, goal, batch, **options)(batch, torch.arange(len(batch))).loss


@pytest.mark.parametrize("keep_others", [False, True])
@pytest.mark.parametrize("goal", GOALS + OF_OBJECTS)
@pytest.mark.parametrize("fake", DETECTORS.values(), ids=DETECTORS)
def test_gradients_by_finite_differences(fake, goal, keep_others):
    untouched = images()
    objective, index = objective_of(fake, goal, untouched, keep_others), torch.arange(2)
    batch = untouched + 1e-3 * images(seed=1)  # where a box is its object's own, its IoU has a corner
    seen = (batch.requires_grad_(),)
    assert torch.autograd.gradcheck(lambda x: objective(x, index).loss, seen, atol=1e-5, fast_mode=True)
    (gradient,) = torch.autograd.grad(objective(batch, index).loss.sum(), batch)
    assert (gradient.flatten(1).norm(dim=1) > 1e-3).all()


@pytest.mark.parametrize("goal", GOALS + OF_OBJECTS)
@pytest.mark.parametrize("fake", DETECTORS.values(), ids=DETECTORS)
def test_an_image_does_not_depend_on_its_neighbors(fake, goal):
    batch = images(3)
    objective = objective_of(fake, goal, batch)
    together = objective(batch, torch.arange(3))
    turned = objective(batch[[2, 0]], torch.tensor([2, 0]))
    for i in range(3):
        alone = objective(batch[i : i + 1], torch.tensor([i]))
        for ours, own in zip(together[:3], alone[:3], strict=True):
            torch.testing.assert_close(ours[i : i + 1], own, rtol=1e-9, atol=1e-12)
        assert [proposed(together)[i]] == proposed(alone)
    for ours, again in zip(together[:3], turned[:3], strict=True):
        torch.testing.assert_close(ours[[2, 0]], again, rtol=1e-9, atol=1e-12)
    assert [proposed(together)[i] for i in (2, 0)] == proposed(turned)


@pytest.mark.parametrize("goal", GOALS + OF_OBJECTS)
@pytest.mark.parametrize("by_class", [False, True])
def test_padding_never_matters(goal, by_class):
    batch, index = images(3), torch.arange(3)
    results = []
    for padding in (0, 1, 3):
        seen = batch.clone().requires_grad_()
        fake = Fake(PLACES, STARTS, by_class, padding)
        found = objective_of(fake, goal, batch)(seen, index)
        gradient = torch.autograd.grad(found.loss.sum(), seen)[0]
        results.append((found.loss.detach(), torch.tensor(proposed(found)), found.confidence, gradient))
    for result in results[1:]:
        for ours, bare in zip(result, results[0], strict=True):
            torch.testing.assert_close(ours, bare, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("goal", GOALS)
def test_an_image_without_any_candidate_is_no_error(goal):
    fake, batch = Fake(PLACES, STARTS, padding=1), images(1).requires_grad_()
    objective = objective_of(fake, goal, batch.detach())
    whole = fake.candidates
    fake.candidates = lambda *given: replace(whole(*given), valid=torch.zeros(1, 2 * len(PLACES), dtype=torch.bool))
    found = objective(batch, torch.arange(1))
    assert (found.loss.item(), found.confidence.item()) == (0, 0)
    assert proposed(found) == [goal.startswith("suppress")]
    assert float(torch.autograd.grad(found.loss.sum(), batch)[0].abs().sum()) == 0


def logit_gradients(fake, goal, threshold=TAU):
    """∂loss/∂logits, `[A,K]`, of one image."""
    batch, kept = images(1, spread=0), []
    objective = objective_of(fake, goal, batch, threshold=threshold)
    whole = fake.candidates

    def noting(*given):
        candidates = whole(*given)
        kept.append(candidates.logits.detach().requires_grad_())
        return replace(candidates, logits=kept[0])

    fake.candidates = noting
    loss = objective(batch, torch.arange(1)).loss
    return torch.autograd.grad(loss.sum(), kept[0])[0][0]


def test_suppress_counts_every_candidate_above_the_threshold():
    starts = [[2.0, -9, -9], [1.9, -9, -9], [0.2, -9, -9], [-9.0, -9, 3], [-9, 1, -9], [-9.0, -9, -9]]
    of_car = logit_gradients(Fake(PLACES, starts), "suppress:car")
    assert (of_car[:3, CAR] > 0.5).all()
    assert float(of_car[3:].abs().max()) < 1e-3
    assert float(of_car[:, 1:].abs().max()) == 0
    of_all = logit_gradients(Fake(PLACES, starts), "suppress:all")
    assert ((of_all > 0.5) == (torch.tensor(starts) > 0)).all()


def test_pressing_the_top_candidate_down_leaves_a_gradient_on_its_neighbor():
    starts = [[-9.0, -9, -9], [1.9, -9, -9], *[[-9.0] * 3] * 4]
    assert float(logit_gradients(Fake(PLACES, starts), f"suppress:car@{AT}")[1, CAR]) > 0.5
    assert float(logit_gradients(Fake(PLACES, starts), "suppress:car")[1, CAR]) > 0.5


def test_suppress_at_a_box_leaves_the_others_alone():
    gradient = logit_gradients(Fake(PLACES, [[2.0, 2, 2]] * 6), f"suppress:car@{AT}")
    assert (gradient[:3, CAR] > 0.5).all()
    assert float(gradient[3:].abs().max()) == float(gradient[:, 1:].abs().max()) == 0


def test_a_candidate_about_to_move_into_the_box_counts_as_well():
    x1, y1, x2, y2 = HERE
    places = [(x1, y1, x1 + share * (x2 - x1), y2) for share in (0.31, 0.25, 0.15)]  # the IoU is the share
    gradient = logit_gradients(Fake(places, [[2.0, -9, -9]] * 3), f"suppress:car@{AT}")
    assert (gradient[:, CAR] > 0.5).tolist() == [True, True, False]


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.8])
def test_losses_are_about_the_threshold(threshold):
    logit = float(torch.logit(torch.tensor(threshold)))
    starts = [[logit + 1.0] * 3, [logit - 1.0] * 3]
    gradient = logit_gradients(Fake([HERE, THERE], starts), "suppress:all", threshold)
    assert (gradient[0] > 0.9).all()
    assert (gradient[1] < 1e-3).all()


def test_inject_raises_the_class_where_it_is_asked_and_nowhere_else():
    gradient = logit_gradients(Fake(PLACES, [[-3.0] * 3] * 6), f"inject:dog@{AT}")
    assert float(gradient[0, DOG]) < -0.01
    assert gradient[:3, DOG].sum() < gradient[3:, DOG].sum()
    assert float(gradient[:, :DOG].abs().max()) == 0


@pytest.mark.parametrize(("covered", "pulls"), [(0.49, True), (0.53, False)])
def test_for_the_nearest_image_the_box_rests_where_the_predicate_holds(covered, pulls):
    """A box of the asked size, shifted such that its IoU with the place is `covered`."""
    shift = 20 * (1 - covered) / (1 + covered)
    asked = ",".join(map(str, moved(HERE, shift, 0)))
    fake, batch = Fake([HERE], [[-2.0, -9, -9]]), images(1).requires_grad_()
    changes = []
    for nearest in (False, True):
        objective = objective_of(fake, f"inject:car@{asked}", batch.detach())
        objective = DetectionObjective(fake, objective.targets, TAU, nearest)
        candidates = fake.candidates(batch)
        fake_boxes = candidates.boxes.detach().requires_grad_()
        fixed = replace(candidates, boxes=fake_boxes)
        fake.candidates = lambda *_, fixed=fixed: fixed
        changes.append(torch.autograd.grad(objective(batch, torch.arange(1)).loss.sum(), fake_boxes)[0])
        del fake.candidates
    assert bool(changes[0].any())
    assert bool(changes[1].any()) == pulls


def test_for_the_nearest_image_one_candidate_is_pulled_alone():
    """Of two at the place, half a logit apart, the better one has nearly all of the gradient."""
    fake, batch = Fake([HERE, HERE], [[-3.0, -9, -9], [-3.5, -9, -9]], sway=0), images(1, spread=0)
    targets = objective_of(fake, f"inject:car@{','.join(map(str, HERE))}", batch).targets
    shares = []
    for nearest in (False, True):
        logits = fake.candidates(batch).logits.detach().requires_grad_()
        fixed = replace(fake.candidates(batch), logits=logits)
        fake.candidates = lambda *_, fixed=fixed: fixed
        loss = DetectionObjective(fake, targets, TAU, nearest)(batch, torch.arange(1)).loss.sum()
        gradient = torch.autograd.grad(loss, logits)[0][0, :, 0]
        del fake.candidates
        shares.append(float(gradient[0] / gradient.sum()))
    assert shares[0] == pytest.approx(1 / (1 + math.exp(-0.5)), abs=0.01)
    assert shares[1] > 0.99


def descended(objective, batch, most):
    """An image after steps against the gradient, until success is proposed: as it has to be after `most`."""
    for _ in range(most):
        seen = batch.clone().requires_grad_()
        found = objective(seen, torch.arange(1))
        if proposed(found) == [True]:
            break
        gradient = torch.autograd.grad(found.loss.sum(), seen)[0]
        batch = batch - 0.02 * gradient / gradient.norm()
    assert proposed(found) == [True]
    return batch


def test_inject_pulls_a_box_that_does_not_cover_the_place():
    """Descent moves the candidate's box onto the asked one until the predicate holds."""
    asked = moved(HERE, 9, 4)
    fake = Fake([HERE], [[-2.0, -9, -9]], sway=3.0)
    batch = images(1)
    objective = objective_of(fake, f"inject:car@{','.join(map(str, asked))}", batch)
    assert proposed(objective(batch, torch.arange(1))) == [False]
    descended(objective, batch, 400)
    assert proposed(objective(images(1), torch.arange(1))) == [False]


def test_mislabel_lowers_the_old_class_and_raises_the_new_at_the_object():
    starts = [[2.0, -9, -3], *[[-9.0, -9, -9]] * 5]
    gradient = logit_gradients(Fake(PLACES, starts), "mislabel:car->dog")
    assert float(gradient[0, CAR]) > 0.5
    assert float(gradient[0, DOG]) < -0.01
    assert float(gradient[:, TRUCK].abs().max()) == 0
    assert float(gradient[3:, CAR].abs().max()) == 0


def test_keep_others_pulls_up_what_is_about_to_be_lost():
    batch = images(1, spread=0)
    fake = Fake(PLACES, [[2.0, -9, -9], *[[-9.0] * 3] * 2, [-9.0, 1.0, -9], *[[-9.0] * 3] * 2])
    kept, free = (objective_of(fake, "suppress:car", batch, keep) for keep in (True, False))
    assert [label for label, _ in kept.targets[0].kept] == [TRUCK]
    fake.starts[3][TRUCK] = -2.0  # now lost
    kept, free = (o(batch, torch.arange(1)) for o in (kept, free))
    assert float(kept.loss - free.loss) == pytest.approx(2.05, abs=0.01)


@pytest.mark.parametrize("goal", ["suppress:car", f"inject:car@{AT}", "mislabel:car->dog"])
def test_success_comes_from_select_whatever_the_loss(goal):
    fake, batch = Fake(PLACES, [[2.0, -9, 2.0]] * len(PLACES)), images()
    objective = objective_of(fake, goal, batch)
    met = {"suppress": [], "inject": [CAR], "mislabel": [DOG]}[goal.split(":")[0]]
    missed = {"suppress": [CAR], "inject": [], "mislabel": [CAR, DOG]}[goal.split(":")[0]]
    objects = objective.targets[0].objects or (HERE,)
    losses = []
    for labels, expected in ((met, True), (missed, False)):
        pairs = [(box, label) for box in objects for label in labels]
        boxes = torch.tensor([box for box, _ in pairs]).reshape(-1, 4)
        fake.says = Detections(boxes, torch.full((len(pairs),), 0.9), torch.tensor([n for _, n in pairs]).long())
        evaluation = objective(batch[:1], torch.arange(1))
        losses.append(evaluation.loss)
        assert proposed(evaluation) == [expected]
        assert objective.confirm(batch[0], 0) is expected
    assert torch.equal(*losses)


def test_confirm_is_strictly_above_the_threshold():
    fake, batch = Fake(PLACES, STARTS), images(1)
    objective = objective_of(fake, "suppress:car", batch)
    for score, expected in ((0.5, True), (0.501, False)):
        fake.says = Detections(torch.tensor([HERE]), torch.tensor([score]), torch.tensor([CAR]))
        assert objective.confirm(batch[0], 0) is expected


@pytest.mark.parametrize("goal", [goal for goal in GOALS if FREE not in goal])
def test_the_loss_is_lower_where_the_goal_is_nearer(goal):
    """The logits of what the goal is about, moved towards it, lower the loss; the score reported follows."""
    batch, step = images(1, spread=0), 0.05
    fake = Fake(PLACES, [list(row) for row in STARTS])
    objective, index = objective_of(fake, goal, batch), torch.arange(1)
    before = objective(batch, index)
    down = -1 if goal.startswith("suppress") else 0
    for row in fake.starts:
        for label in range(3):
            up = goal.startswith("inject") and label == (DOG if "dog" in goal else CAR)
            mislabel = goal.startswith("mislabel") * ((label == DOG) - (label == CAR))
            row[label] += step * (down + up + mislabel)
    after = objective(batch, index)
    assert float(after.loss) < float(before.loss)
    if goal.startswith("suppress"):
        assert float(after.confidence) < float(before.confidence)
    assert 0 <= float(after.confidence) <= 1


def test_confidence_is_the_score_the_goal_is_about():
    batch = images(1, spread=0)
    fake = Fake(PLACES, STARTS)
    for goal, logit in (("suppress:car", 2.0), ("suppress:all", 2.0), (f"inject:dog@{AT}", -1.0)):
        confidence = objective_of(fake, goal, batch)(batch, torch.arange(1)).confidence
        assert float(confidence) == pytest.approx(float(torch.sigmoid(torch.tensor(logit)))), goal
        assert not confidence.requires_grad


def test_two_stage_heads_are_told_the_asked_boxes():
    fake, batch = Fake(PLACES, STARTS), images(3)
    loss_of(fake, f"inject:dog@{AT}", batch)
    assert fake.extra_boxes.tolist() == [[list(HERE)]] * 3
    loss_of(fake, "suppress:car", batch)
    assert fake.extra_boxes is None


def test_a_box_per_class_is_the_one_that_counts():
    """The car's box is at the place, the dog's is not: only the car is injected there."""
    fake, batch = Fake([HERE], [[2.0, -9, 2.0]], by_class=True, sway=0), images(1, spread=0)
    whole = fake.candidates

    def apart(*given):
        candidates = whole(*given)
        boxes = candidates.boxes.clone()
        boxes[:, :, DOG] = boxes.new_tensor(THERE)
        return replace(candidates, boxes=boxes)

    fake.candidates = apart
    for name, at, expected in (("car", HERE, True), ("dog", HERE, False), ("dog", THERE, True)):
        goal = f"inject:{name}@{','.join(map(str, at))}"
        found = objective_of(fake, goal, batch)(batch, torch.arange(1))
        assert proposed(found) == [expected]
        assert (found.confidence.item() > TAU) is expected
    assert MATCH_IOU == 0.5


# What spares the detector work


@pytest.mark.parametrize("goal", GOALS + OF_OBJECTS)
def test_what_select_finds_reached_is_never_ruled_out_before(goal):
    """Also where boxes reach out of the image, which `select` clips."""
    reached, batch = [], torch.full((1, 3, HEIGHT, WIDTH), 0.5, dtype=torch.float64)
    for seed in range(400):
        fake, attacked = (Fixed(torch.Generator().manual_seed(1000 * i + seed)) for i in range(2))
        objective = objective_of(fake, goal, batch)
        if objective.targets[0].goal.kind == "mislabel" and not objective.targets[0].objects:
            continue
        objective.detector = attacked
        (found,) = attacked.select(attacked.candidates(batch), TAU)
        reached.append(objective.targets[0].holds(found))
        assert proposed(objective(batch, torch.arange(1))) == reached[-1:]
    assert any(reached)
    assert not all(reached)


class Fixed(Fake):
    """Sees the same in every image, nine boxes of which some reach out of it; clips them, then suppresses what
    overlaps a better one of its class."""

    def __init__(self, generator):
        super().__init__([], [])
        free = tuple(map(float, FREE.split(",")))
        self.boxes = torch.tensor([*PLACES, HERE, free, free]) + 6 * torch.randn(9, 4, generator=generator).double()
        self.logits_ = 2 * torch.randn(9, 3, generator=generator).double() - 2

    def candidates(self, images, extra_boxes=None):
        return Candidates(self.boxes[None], self.logits_[None] + images.sum() * 0, anchors=self.boxes[None])

    def _select_one(self, candidates, i, score_threshold):
        found = super()._select_one(candidates, i, score_threshold)
        boxes = clip_boxes_to_image(found.boxes, (HEIGHT, WIDTH))
        best = batched_nms(boxes, found.scores, found.labels, 0.5)
        return Detections(boxes[best], found.scores[best], found.labels[best])


@pytest.mark.parametrize(("goal", "asked"), [("suppress:all", False), ("suppress:car", False), (GOALS[4], True)])
def test_logits_alone_say_the_same_where_no_box_is_asked_for(goal, asked):
    fake, batch, index = Fake(PLACES, STARTS), images(3), torch.arange(3)
    whole = objective_of(fake, goal, batch)(batch, index)
    candidates, calls = fake.candidates, []
    fake.logits = lambda seen: candidates(seen).logits
    objective = objective_of(fake, goal, batch)
    fake.candidates = lambda *given: calls.append(given) or candidates(*given)
    short = objective(batch, index)
    assert bool(calls) is asked
    torch.testing.assert_close(short.loss, whole.loss, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(short.confidence, whole.confidence, rtol=1e-9, atol=1e-12)
    assert proposed(short) == proposed(whole)


# Several losses, and the harm


@pytest.mark.parametrize("worst", [False, True])
@pytest.mark.parametrize("name", [*(name for name, loss in LOSSES.items() if loss.of_objects), "vanish"])
@pytest.mark.parametrize("fake", DETECTORS.values(), ids=DETECTORS)
def test_gradients_of_each_loss_by_finite_differences(fake, name, worst):
    batch, index = images(seed=1), torch.arange(2)
    objective = objective_of(fake, "degrade:all", images(seed=2), worst=worst, losses=(name,))  # where boxes are apart
    seen = (batch.requires_grad_(),)
    if name == "mislocate":  # the scores are weights, and have no gradient of their own
        objective.detector = _frozen(fake, batch)
    assert torch.autograd.gradcheck(lambda x: objective(x, index).loss, seen, atol=1e-5, fast_mode=True)
    (gradient,) = torch.autograd.grad(objective(batch, index).loss.sum(), batch)
    assert (gradient.flatten(1).norm(dim=1) > 1e-3).all()


def _frozen(fake, batch):
    """The same detector, its logits those of `batch` whatever the images."""
    logits = fake.candidates(batch.detach()).logits
    frozen, whole = replace(fake), fake.candidates
    frozen.candidates = lambda seen, _=None: replace(whole(seen), logits=logits + 0 * seen.sum())
    return frozen


@pytest.mark.parametrize("goal", OF_OBJECTS)
def test_each_image_has_the_loss_that_it_is_asked_for(goal):
    fake, batch, index = DETECTORS["padded"], images(3), torch.arange(3)
    objective = objective_of(fake, goal, batch, worst=True)
    alone = [objective_of(fake, goal, batch, worst=True, losses=(name,)) for name in objective.members]
    last = len(alone) - 1
    mixed = objective(batch, index, [0, last, 0]).loss
    for row, member in enumerate((0, last, 0)):
        torch.testing.assert_close(mixed[row], alone[member](batch, index).loss[row], rtol=1e-9, atol=1e-12)


def test_losses_that_are_named_take_the_place_of_the_goal_s():
    fake, batch, index = DETECTORS["a box each"], images(2), torch.arange(2)
    named = objective_of(fake, "degrade:all", batch, losses=("unmatch", "fabricate"))
    apart = [objective_of(fake, "degrade:all", batch, losses=(name,))(batch, index).loss for name in named.members]
    assert (named.members, named.reserve) == (("unmatch", "fabricate"), ())
    own = objective_of(fake, "degrade:all", batch)
    assert own.members[-len(own.reserve) :] == own.reserve == ("outrank",)
    torch.testing.assert_close(named(batch, index).loss, sum(apart), rtol=1e-9, atol=1e-12)


def test_a_named_loss_is_not_passed_over_where_logits_alone_would_do():
    fake, batch, index = replace(DETECTORS["a box each"]), images(2), torch.arange(2)
    fake.logits = lambda seen: pytest.fail("the loss looks at boxes")
    objective_of(fake, "suppress:car", batch, losses=("vanish",))(batch, index)
    objective_of(fake, "suppress:car", batch, worst=True)(batch, index)


@pytest.mark.parametrize("goal", OF_OBJECTS)
def test_the_harm_is_the_goal_s_of_all_that_is_detected(goal):
    fake, batch, index = Fake(PLACES, STARTS), images(3), torch.arange(3)
    objective = objective_of(fake, goal, batch, worst=True)
    evaluation = objective(batch + 0.05, index)
    found = fake.select(fake.candidates(batch + 0.05), fake.eval_threshold)
    expected = [target.goal.harm(target, one) for target, one in zip(objective.targets, found, strict=True)]
    assert evaluation.worst_is().tolist() == expected
    assert any(len(one) > len(one.above(TAU)) for one in found)


def test_of_a_goal_without_a_harm_the_loss_tells():
    fake, batch, index = Fake(PLACES, STARTS), images(2), torch.arange(2)
    evaluation = objective_of(fake, "suppress:car", batch, worst=True)(batch, index)
    assert evaluation.worst_is().tolist() == (-evaluation.loss).tolist()


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize(
    ("goal", "starts", "reached"),
    [
        ("suppress:car", [-3.0, -3.0, 2.0], False),
        ("suppress:car", [-3.0, 2.0, -3.0], True),
        (f"suppress:car@{AT}", [-3.0, -3.0, 2.0], False),
        (f"inject:car@{AT}", [-3.0, -3.0, 2.0], True),
        (f"inject:car@{AT}", [-3.0, 2.0, -3.0], False),
        ("mislabel:truck->car", [-3.0, -3.0, 2.0], True),
        ("mislabel:car->truck", [-3.0, 2.0, 1.0], False),
        ("mislabel:car->truck", [-3.0, 2.0, -1.0], True),
    ],
)
def test_a_class_has_all_labels_of_its_name(goal, starts, reached, by_class):
    """Labels 0 and 2 are cars. Descent goes on until the predicate holds, whichever of them stands in the way."""
    twins = (Category("car", 3), Category("truck", 8), Category("car", 50))
    fake, batch = Fake([HERE], [starts], by_class), images(1, spread=0)
    parsed = parse_goal(goal)
    clean = Detections(torch.tensor([HERE]), torch.tensor([0.9]), torch.tensor([1 if "truck->" in goal else 2]))
    objective = DetectionObjective(fake, [parsed.resolve(twins, CleanImage(WIDTH, HEIGHT, clean))], TAU)
    evaluation = objective(batch, torch.arange(1))
    assert proposed(evaluation) == [reached]
    assert objective.confirm(batch[0], 0) is reached
    assert reached <= bool(evaluation.margin < 0)
    batch = descended(objective, batch, 200)
    assert objective.confirm(batch[0], 0)
