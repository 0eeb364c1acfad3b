"""`models check` on right and wrong adapters: each fault is called by its name. The right one is the page's."""

import re
from pathlib import Path

import pytest
import torch

from detattack.core.types import Category, Detections
from detattack.detectors.check import check_detector, check_pictures
from detattack.detectors.check.contract import check_category_ids
from detattack.detectors.check.findings import Failed
from detattack.detectors.check.gradient import check_gradient
from detattack.detectors.check.subject import Subject
from detattack.detectors.registry import load_detector
from tests.detectors.home_made import RIGHT, BackgroundColumn, EightBit, LetterboxKept, Softmax, TwoStages

PAGE = (Path(__file__).parents[3] / "docs" / "adapters.md").read_text()
(CODE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COUNT = 3

FORWARD = "def candidates(self"
SELECTED = "found.append(Detections("
NO_GRADIENT = "(resized - 0.45) / 0.25)"
OFFICIAL = "return self.select(self.candidates(images.float()), score_threshold)"


@pytest.fixture
def spec(tmp_path):
    """The page's adapter, with parts replaced, as `--model` takes it. Its random weights are the same every time."""

    def write(*replacements: tuple[str, str]) -> str:
        code = CODE
        for old, new in replacements:
            assert code.count(old) == 1, old
            code = code.replace(old, new)
        (tmp_path / "my_detector.py").write_text(code)
        return f"{tmp_path}/my_detector.py:factory"

    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield write


def verdicts(spec: str, **options) -> dict[str, str]:
    return {f.name: f.verdict for f in check_detector(load_detector(spec, "cpu"), COUNT, **options)}


def failures(spec: str) -> dict[str, str]:
    return {f.name: f.detail for f in check_detector(load_detector(spec, "cpu"), COUNT) if not f.passed}


def failure(spec: str, name: str) -> str:
    """What is wrong with one property; those after it are not checked, which saves most of the time."""
    found = next(f for f in check_detector(load_detector(spec, "cpu"), COUNT) if f.name == name)
    assert found.verdict == "failed"
    return found.detail


def gradient_failure(spec: str) -> str:
    with pytest.raises(Failed) as failed:
        check_gradient(load_detector(spec, "cpu"), *check_pictures(2, torch.device("cpu")))
    return str(failed.value)


def test_the_pages_adapter_is_short_and_passes(spec):
    assert len(CODE.splitlines()) <= 70
    assert sum(bool(line.strip()) for line in CODE.splitlines()) <= 60
    found = verdicts(spec())
    assert set(found.values()) == {"passed"}
    assert list(found) == [
        *("contract", "sizes", "parity", "scores", "columns", "boxes", "gradient"),
        *("id mapping", "determinism", "batch", "left untouched"),
    ]


def test_labels_shifted_by_one(spec):
    """In `select` alone, as where a head with a background is cut off at the wrong end."""
    detect = (
        "return [Detections(d.boxes, d.scores, (d.labels + 1) % 2) for d in" + OFFICIAL.removeprefix("return") + "]"
    )
    found = failures(spec((OFFICIAL, detect)))
    assert set(found) == {"parity", "id mapping"}
    assert re.search(
        "the same detection is '(person' for select and 'car|car' for select and 'person)'", found["id mapping"]
    )


def test_boxes_as_xywh(spec):
    boxes = ("x + right, y + bottom), -1)", "right + left, bottom + top), -1)")
    assert "x2 < x1 or y2 < y1" in failure(spec(boxes), "contract")


def test_boxes_as_xywh_in_candidates_alone(spec):
    code = "d = self.candidates(images.float()); wh = d.boxes[..., 2:] - d.boxes[..., :2]"
    code += "; return self.select(Candidates(torch.cat((d.boxes[..., :2], wh.abs() + d.boxes[..., :2] + 3), -1), "
    code += "d.logits, state=d.state), score_threshold)"
    assert "px away" in failure(spec((OFFICIAL, code)), "parity")


def test_no_gradient(spec):
    found = failures(spec((FORWARD, "@torch.no_grad()\n    " + FORWARD)))
    assert set(found) == {"gradient"}
    assert found["gradient"].startswith("none")
    assert gradient_failure(spec((NO_GRADIENT, "(resized.detach() - 0.45) / 0.25)"))).startswith("none")


def test_a_gradient_that_is_wrong(spec):
    half = "(resized - 0.45 - 0.75 * (resized - resized.detach())) / 0.25)"
    assert "off by a factor" in gradient_failure(spec((NO_GRADIENT, half)))
    vanishing = "(resized.detach() + 0 * resized - 0.45) / 0.25)"
    assert gradient_failure(spec((NO_GRADIENT, vanishing))) == "zero everywhere"


def test_a_model_that_only_works_at_one_size(spec):
    found = failures(
        spec(("height, width = images.shape[-2:]", "height, width = images.view(1, 3, 256, 256).shape[-2:]"))
    )
    assert "fails at 317×213" in found["sizes"]
    assert "raises RuntimeError" in found["parity"]


def test_randomness(spec):
    noisy = "((resized + 0.01 * torch.rand_like(resized)) - 0.45) / 0.25)"
    assert "when the same image comes again" in failures(spec((NO_GRADIENT, noisy)))["determinism"]


@pytest.mark.parametrize(
    "fault",
    [
        (NO_GRADIENT, "(resized - resized.mean()) / 0.25)"),
        ("(resized - 0.45)", "(resized[:1].expand_as(resized) - 0.45)"),
        ("scores > score_threshold", "scores > candidates.logits.sigmoid().quantile(0.95).clamp(score_threshold)"),
    ],
)
def test_images_that_depend_on_their_neighbors(spec, fault):
    found = failures(spec(fault))
    assert set(found) == {"batch"}
    assert "depends on its neighbors" in found["batch"]


def test_images_that_are_another_in_any_batch(spec):
    found = failures(spec((NO_GRADIENT, "(resized - 0.45) / (0.25 * len(images)))")))
    assert set(found) == {"batch"}
    assert "not what it is alone" in found["batch"]


def test_a_model_that_is_changed(spec):
    found = failures(
        spec((FORWARD, "def candidates(self, *a): self.network.train(); return self.c(*a)\n\n    def c(self"))
    )
    assert found == {"left untouched": "training flags changed"}
    grown = ("self.network = MyNetwork().eval().requires_grad_(False)", "self.network = MyNetwork().eval()")
    assert "have gradients" in failures(spec(grown))["left untouched"]


def test_two_categories_of_one_name_or_id(spec):
    for categories, words in ((("person", 3), "'3' stands for two"), (("car", 1), "'car' stands for two")):
        detector = load_detector(spec(('"person", 1', f'"{categories[0]}", {categories[1]}')), "cpu")
        with pytest.raises(Failed, match=words):
            check_category_ids(Subject(detector, []))


def test_too_few_detections_are_not_compared(spec):
    findings = check_detector(load_detector(spec(("[:100]", "[:5]")), "cpu"), COUNT)
    assert next(f.verdict for f in findings if f.name == "parity") == "not compared"


def test_wrong_shapes(spec):
    flat = ("logits.flatten(2).transpose(1, 2)", "logits.flatten(2)")
    assert "expected [N,A,K]" in failure(spec(flat), "contract")
    floats = (SELECTED + "boxes[best].float(), scores[best].float(), labels[best]", "labels[best].float()")
    found = failure(spec((floats[0], floats[0].replace("labels[best]", floats[1]))), "contract")
    assert "boxes, scores and labels are not float [M,4], float [M] and int64 [M]" in found
    doubles = floats[0].replace("scores[best].float()", "scores[best].double()")
    assert "scores f32 [M]" in failure(spec((floats[0], doubles)), "contract")


def test_photos_to_compare_on(spec):
    photos = [picture[0] for picture in check_pictures(3, torch.device("cpu"))]
    found = {f.name: f for f in check_detector(load_detector(spec(), "cpu"), COUNT, [photos[2], photos[1]])}
    assert "on 2 images and one that is not 8-bit" in found["parity"].detail
    assert {f.verdict for f in found.values()} == {"passed"}


def test_every_photo_needs_detections_enough_to_count(spec):
    photos = [check_pictures(1, torch.device("cpu"))[0][0], torch.zeros(3, 64, 64)]
    blind = ("keep = scores > score_threshold", "keep = (scores > score_threshold) & (candidates.state != (64, 64))")
    found = {f.name: f for f in check_detector(load_detector(spec(blind), "cpu"), COUNT, photos)}
    assert found["parity"].verdict == "not compared"
    assert "an image has 0 detections" in found["parity"].detail


def test_classes_called_by_wrong_names_need_annotated_images(spec):
    detector = load_detector(spec(), "cpu")
    image = check_pictures(1, detector.device)[0]
    seen = detector.detect(image, 0.3)[0]
    assert len(seen) >= 20
    wrong = Detections(seen.boxes, seen.scores, (seen.labels + 1) % 2)
    for truth, verdict in ((seen, "passed"), (wrong, "failed"), (seen.above(1.0), "not compared")):
        found = {f.name: f for f in check_detector(detector, COUNT, [image[0]], [truth])}
        assert found["names"].verdict == verdict


def test_all_of_cocos_names_need_cocos_ids(spec):
    from detattack.core.categories import COCO_NAMES

    class Shifted:
        categories = tuple(Category(name, i) for i, name in enumerate(COCO_NAMES, 1))

    with pytest.raises(Failed, match="'stop sign' has id 12, COCO's is 13"):
        check_category_ids(Subject(Shifted(), []))


# What third parties write


@pytest.mark.parametrize("adapter", RIGHT, ids=lambda adapter: adapter.__name__)
def test_right_adapters_pass(adapter):
    found = list(check_detector(adapter("cpu"), COUNT))
    assert [f"{f.name}: {f.verdict}: {f.detail}" for f in found if not f.passed] == []


SCALED = """

class Bent(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        g = g.clone()
        BEND
        return g


class Bending(MyDetector):
    def candidates(self, images, extra_boxes=None):
        return super().candidates(Bent.apply(images), extra_boxes)


factory = Bending
"""
BENDS = {
    "five times": "g *= 5",
    "a fifth": "g *= 0.2",
    "reversed": "g *= -1",
    "one channel reversed": "g[:, 1] *= -1",
    "one channel missing": "g[:, 2] = 0",
    "BGR": "g = g.flip(1)",
    "half of the image missing": "g[..., : g.shape[-1] // 2] = 0",
    "a constant besides": "g += g.norm() / g.numel() ** 0.5",
    "mirrored": "g = g.flip(-1)",
}


@pytest.mark.parametrize("bend", BENDS)
def test_a_bent_gradient_fails_alone(spec, bend):
    assert set(failures(spec(("factory = MyDetector", SCALED.replace("BEND", BENDS[bend]))))) == {"gradient"}


@pytest.mark.parametrize("adapter", [EightBit, Softmax, TwoStages], ids=lambda adapter: adapter.__name__)
@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_a_scaled_gradient_fails_behind_any_network(adapter, factor):
    class Scaled(adapter):
        def candidates(self, images, extra_boxes=None):
            return super().candidates(images.detach() + factor * (images - images.detach()), extra_boxes)

    assert [f.name for f in check_detector(Scaled("cpu"), COUNT) if not f.passed] == ["gradient"]


def test_a_verdict_on_the_gradient_does_not_hang_on_the_steps():
    pictures = check_pictures(2, torch.device("cpu"))
    for seed in range(20):
        check_gradient(EightBit("cpu"), *pictures, seed)


def test_probabilities_are_no_logits(spec):
    logits, scores = "logits.flatten(2).transpose(1, 2)", "logits.sigmoid().max(-1)"
    found = {
        f.name: f
        for f in check_detector(
            load_detector(spec((logits, logits + ".sigmoid()"), (scores, "logits.max(-1)")), "cpu"), COUNT
        )
    }
    assert found["scores"].verdict == "failed"
    assert "the nearest sigmoid of a logit is" in found["scores"].detail
    assert found["columns"].verdict == "not compared"


def test_a_background_is_no_category():
    found = {f.name: f.detail for f in check_detector(BackgroundColumn("cpu"), COUNT) if not f.passed}
    assert set(found) == {"columns"}
    assert "'background'" in found["columns"]


LOW_COLUMN = """def low(self, x):
        logits, sides = self.network(x)
        return logits - logits.new_tensor([0, 0, 9])[:, None, None], sides

    """


def test_a_column_that_is_never_reported_need_not_be_high(spec):
    names = ('Category("car", 3))', 'Category("car", 3), Category("none", 99))')
    third = ("nn.Conv2d(32, 2, 3, padding=1)", "nn.Conv2d(32, 3, 3, padding=1)")
    low = ("logits, sides = self.network(", "logits, sides = self.low(")
    select = ("logits.sigmoid().max(-1)", "logits[:, :2].sigmoid().max(-1)")
    found = failures(spec(names, third, low, (FORWARD, LOW_COLUMN + FORWARD), select))
    assert found == {"columns": "'none' is never reported where its logit is the only one that is high"}


def test_labels_that_are_another_column(spec):
    found = failures(spec(("labels[best]))", "(labels[best] + 1) % 2))")))
    assert found == {"columns": "'person' is reported as 'car' where its logit is the only one that is high"}


SCALE = "boxes * boxes.new_tensor([width, height, width, height]) / SIDE"


@pytest.mark.parametrize(
    ("instead", "words"),
    [("boxes", "stay where they are"), (SCALE.replace("width, height", "height, width"), "swap x and y")],
)
def test_boxes_in_pixels_of_another_image(spec, instead, words):
    found = failures(spec((SCALE, instead)))
    assert set(found) == {"boxes"}
    assert words in found["boxes"]


def test_boxes_in_pixels_of_the_letterbox():
    found = {f.name: f.detail for f in check_detector(LetterboxKept("cpu"), COUNT) if not f.passed}
    assert set(found) == {"boxes"}
    assert "margins of a letterbox" in found["boxes"]


def test_boxes_that_are_not_where_objects_are(spec):
    detector = load_detector(spec(), "cpu")
    image = check_pictures(1, detector.device)[0]
    seen = detector.detect(image, 0.3)[0]
    for moved, verdict in ((0, "passed"), (200, "failed")):
        truth = Detections(seen.boxes + moved, seen.scores, seen.labels)
        found = {f.name: f for f in check_detector(detector, COUNT, [image[0]], [truth])}
        assert found["boxes"].verdict == verdict


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("self.candidates(images).logits", ""),
        ("self.candidates(images).logits + 0.1", "they differ"),
        ("2 * self.candidates(images).logits - self.candidates(images).logits.detach()", "their gradients differ"),
        ("self.candidates(images).logits[:, :5]", "logits() gives"),
    ],
)
def test_logits_alone_are_those_of_the_candidates(spec, code, words):
    method = f"def logits(self, images):\n        return {code}\n\n    {FORWARD}"
    found = {f.name: f for f in check_detector(load_detector(spec((FORWARD, method)), "cpu"), COUNT)}
    assert found["logits"].verdict == ("failed" if words else "passed")
    assert words in found["logits"].detail


@pytest.mark.parametrize("slots", ['__slots__ = ("device", "network")\n    ', ""])
def test_what_an_adapter_holds_in_slots_or_attributes_is_watched(spec, slots):
    changed = "def candidates(self, *a): self.network.train(); return self.c(*a)\n\n    def c(self"
    found = failures(spec(('name = "my_detector"', slots + 'name = "my_detector"'), (FORWARD, changed)))
    assert found == {"left untouched": "training flags changed"}
