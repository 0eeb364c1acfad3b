"""`benchmarks/published_losses.py`: which way each loss leads; `benchmarks/budget.py`: its runs and its table."""

import json
from contextlib import closing
from pathlib import Path

import pytest
import torch

from detattack.core.boxes import iou
from detattack.core.plugins import VARIABLE, load_plugins
from detattack.core.types import Candidates, Detections
from detattack.detectors.registry import load_detector
from detattack.engine.budget import Budget
from detattack.runs.folder import RunFolder
from detattack.tasks.detection.candidates import WELL_PLACED, candidates_of
from detattack.tasks.detection.goals import Target, parse_goal
from detattack.tasks.detection.harm import harm
from detattack.tasks.detection.losses import LOSSES
from detattack.tasks.detection.record import DetectionRecord
from tests.coco_squares import write_data
from tests.scripts import benchmark_script

ROOT = Path(__file__).parents[1]
PUBLISHED = ("a-cls", "a-loc", "cwa", "dag", "tog-vanishing", "tog-fabrication", "tog-mislabeling")
A, B, EMPTY = (8.0, 8.0, 28.0, 28.0), (40.0, 12.0, 60.0, 40.0), (70.0, 70.0, 90.0, 90.0)
BOXES = torch.tensor([A, (9.0, 8.0, 29.0, 28.0), B, EMPTY, EMPTY])
LOGITS = torch.tensor([[2.0, -2, -3], [1.5, -3, -1], [-2, 1, -2], [-3, -3, -3], [-4, -3.5, -4]])
SHOWN = Target(parse_goal("degrade:all"), objects=(A, B), object_labels=(0, 1))


@pytest.fixture(autouse=True)
def published(monkeypatch):
    """The losses as a plugin, loaded once in a process."""
    monkeypatch.setenv(VARIABLE, str(ROOT / "benchmarks" / "published_losses.py"))
    load_plugins()


@pytest.fixture(scope="module")
def script():
    """`budget.py` as a module."""
    with benchmark_script("budget") as module:
        yield module


def gradients(name, boxes=BOXES, logits=LOGITS, target=SHOWN):
    """Of a loss, to boxes and logits; 0 where it does not look."""
    boxes, logits = boxes.clone().requires_grad_(), logits.clone().requires_grad_()
    seen = candidates_of(Candidates(boxes[None], logits[None]), 0, (100, 100), 0.5, WELL_PLACED)
    loss = LOSSES[name].function(seen, target)
    return [
        torch.zeros_like(one) if gradient is None else gradient
        for one, gradient in zip(
            (boxes, logits), torch.autograd.grad(loss, (boxes, logits), allow_unused=True), strict=True
        )
    ]


def descended(name, boxes=BOXES, logits=LOGITS, target=SHOWN, steps=60):
    """Boxes (slightly off at first, as any are) and logits after signed steps against the gradient of a loss."""
    boxes = boxes + torch.tensor([0.5, 0.25, -0.25, 0.5])
    for _ in range(steps):
        to_boxes, to_logits = gradients(name, boxes, logits, target)
        boxes, logits = boxes - 0.2 * to_boxes.sign(), logits - 0.1 * to_logits.sign()
    return boxes, logits


def harm_of(boxes, logits):
    scores, labels = logits.sigmoid().max(1)
    return harm(Detections(boxes, scores, labels), torch.tensor([A, B]), torch.tensor([0, 1]))


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "tog-fabrication"])
def test_each_makes_the_detections_worse(name):
    assert harm_of(*descended(name)) > harm_of(BOXES, LOGITS)


def test_a_cls_lets_own_scores_fall_and_the_hardest_of_the_background_rise():
    boxes, logits = descended("a-cls")
    assert (logits[:2, 0] < LOGITS[:2, 0] - 5).all()
    assert logits[2, 1] < LOGITS[2, 1] - 5
    assert (logits[3:] > LOGITS[3:] + 5).all()  # two of them, where nine would count
    assert torch.equal(gradients("a-cls")[0], torch.zeros_like(boxes))


def test_a_loc_moves_boxes_off_and_leaves_scores():
    boxes, logits = descended("a-loc")
    assert torch.equal(logits, LOGITS)
    assert (iou(boxes[[0, 2]], torch.tensor([A, B])) < 0.5).all()
    assert torch.allclose(boxes[3:], BOXES[3:], atol=0.51)  # at no object


def test_cwa_has_each_class_count_alike():
    boxes, logits = descended("cwa")
    assert (logits[[0, 1, 2], [0, 0, 1]] < LOGITS[[0, 1, 2], [0, 0, 1]]).all()
    assert (iou(boxes[[0, 2]], torch.tensor([A, B])) < 0.6).all()
    three = Target(SHOWN.goal, objects=(A, EMPTY, B), object_labels=(0, 0, 1))  # two of the first class
    even = torch.zeros(3, 3)
    _, gradient = gradients("cwa", torch.tensor([A, EMPTY, B]), even, three)
    assert gradient[0, 0] == gradient[1, 0] == gradient[2, 1] / 2 > 0


def test_dag_stops_where_the_class_is_another():
    boxes, logits = descended("dag")
    assert (logits[:3].argmax(1) != torch.tensor([0, 0, 1])).all()
    assert torch.equal(logits[3:], LOGITS[3:])
    assert not gradients("dag", boxes, logits)[1].any()
    assert gradients("dag")[1][0].abs().sum() == 2  # own down, and one other up
    assert torch.equal(gradients("dag")[1], gradients("dag")[1])  # the same one
    assert not gradients("dag", logits=LOGITS - 5)[1].any()  # all of it background


def test_tog_lets_all_scores_go_to_0_or_to_1_or_to_another_class():
    assert (descended("tog-vanishing")[1] < LOGITS - 5).all()
    assert (descended("tog-fabrication")[1] > LOGITS + 5).all()
    boxes, logits = descended("tog-mislabeling")
    assert logits[:3].argmax(1).tolist() == [1, 2, 0]
    assert (iou(boxes[[0, 2]], torch.tensor([A, B])) > 0.95).all()


@pytest.mark.parametrize("name", PUBLISHED)
def test_none_stumbles_over_an_image_without_objects_or_a_box_for_each_class(name):
    nothing = Target(SHOWN.goal)
    for target in (nothing, SHOWN):
        for boxes in (BOXES, BOXES[:, None].expand(-1, 3, -1)):
            assert all(gradient.isfinite().all() for gradient in gradients(name, boxes, target=target))


MOVING = """
from dataclasses import replace
from tests.toy_detector import Toy

class Moving(Toy):
    \"\"\"Its boxes have a gradient, too, as those of real ones do.\"\"\"

    def candidates(self, images, extra_boxes=None):
        found = super().candidates(images)
        return replace(found, boxes=found.boxes + (found.logits - found.logits.detach()).sum(-1, keepdim=True))
"""


@pytest.fixture
def benchmark(script, tmp_path, capsys):
    """Runs the script on two images, and gives the rows of its table by method, and what it said."""
    data = write_data(tmp_path, 3)
    (tmp_path / "moving.py").write_text(MOVING)

    def call(*arguments, out="out"):
        asked = (
            "--model",
            f"{tmp_path / 'moving.py'}:Moving",
            *data,
            "--limit",
            2,
            "--budget",
            "linf:0.5,40",
            "--passes",
            5,
        )
        script.main([*map(str, asked), *map(str, arguments), "--out", str(tmp_path / out)])
        rows = json.loads((tmp_path / out / "table.json").read_text())["rows"]
        return {row["method"]: row for row in rows}, capsys.readouterr().out

    return call


def test_a_row_for_each_method_and_a_column_for_each_budget(benchmark, tmp_path):
    rows, said = benchmark("--methods", "ensemble,vanish,tog-vanishing,art-pgd-5")
    assert "ART's PGD is left out" in said
    assert list(rows) == ["ensemble", "vanish", "tog-vanishing"]
    for method, row in rows.items():
        assert list(row["ap"]) == ["linf:0.5", "linf:40"]
        assert row["clean"] == row["ap"]["linf:0.5"] == 1
        for verdict in (row["ap_verdict"], row["pooled_verdict"]):
            assert verdict.partition(":")[0] in (("-",) if method == "ensemble" else ("yes", "no"))
        assert row["pooled"].keys() == row["ap"].keys()
        assert 0 < row["pooled"]["linf:0.5"] <= 1
        assert (tmp_path / "out" / method / "linf-0.5" / "floats").is_dir()
        assert not (tmp_path / "out" / method / "linf-40" / "floats").exists()
        assert json.loads((tmp_path / "out" / method / "linf-40" / "run.json").read_text())["start"] == "linf-0.5"
    assert rows["vanish"]["ap"]["linf:40"] < 1
    table = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert table[0].startswith("| model | method | images | passes | clean | linf:0.5 | linf:40 | ensemble at most")
    assert len(table) == 5
    more, _ = benchmark("--methods", "a-cls")
    assert list(more) == [*rows, "a-cls"]
    assert {name: more[name] for name in rows} == rows


def test_budgets_on_their_own_and_several_tables_as_one(benchmark, script, tmp_path):
    benchmark("--methods", "vanish", "--fresh")
    assert json.loads((tmp_path / "out" / "vanish" / "linf-40" / "run.json").read_text()).get("start") is None
    script.main(["--out", str(tmp_path / "all"), "--join", str(tmp_path / "out"), str(tmp_path / "out")])
    assert len((tmp_path / "all" / "table.md").read_text().splitlines()) == 4


def test_the_verdict_is_on_every_budget_and_the_same_model(script):
    def row(model, method, *aps):
        return {"model": model, "method": method, "ap": dict(zip(("linf:1", "linf:2"), aps, strict=True))}

    rows = [row("m", "ensemble", 0.1, 0.05), row("n", "ensemble", 0, 0)]
    assert script.verdict(row("m", "miss", 0.2, 0.0485), rows, "ap") == "yes"
    assert script.verdict(row("m", "miss", 0.2, 0.04), rows, "ap") == "no: +0.010 at linf:2"
    assert script.verdict(row("n", "miss", 0, 0), rows, "ap") == "yes"
    assert script.verdict(row("o", "miss", 0, 0), rows, "ap") == script.verdict(rows[0], rows, "ap") == "-"


def test_in_one_ranking_a_false_detection_of_one_class_stands_above_an_object_of_another(script, tmp_path):
    """By class: 1 for the only class that has an object. In one ranking: precision ½ at every recall."""
    here = [10, 10, 40, 40]
    objects = [{"id": 1, "image_id": 1, "category_id": 7, "bbox": here, "area": 1600, "iscrowd": 0}]
    found = [
        {"image_id": 1, "category_id": category, "bbox": here, "score": score}
        for category, score in ((9, 0.9), (7, 0.6))
    ]
    names = [{"id": 7, "name": "car"}, {"id": 9, "name": "bus"}]
    truth = {"images": [{"id": 1}], "categories": names, "annotations": objects}
    (tmp_path / "annotations.json").write_text(json.dumps(truth))
    for detections, ap in ((found, 0.5), (found[1:], 1.0), (found[:1], 0.0), ([], 0.0)):
        (tmp_path / "adversarial.json").write_text(json.dumps(detections))
        assert script.pooled_ap(tmp_path) == pytest.approx(ap)


def test_the_training_loss_rises_within_the_budget(script):
    detector = load_detector("demo-fasterrcnn", "cpu")
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    shows = script.shown(detector, Detections(torch.tensor([A, B]), torch.ones(2), torch.tensor([0, 1])))
    assert shows["labels"].tolist() == [1, 2]  # after the background

    def loss(image):
        torch.manual_seed(0)
        return float(-script.TrainingLoss(detector, shows)(image, torch.tensor([0])).loss)

    found = script.own_pgd(detector, Budget("linf", 2), 3, image, image, shows)
    assert loss(found) > loss(image)
    assert 0 < float((found - image).abs().max()) <= 2 / 255 + 1e-6
    assert not detector.network.training


def test_the_same_pgd_through_art_and_through_us(script, tmp_path):
    pytest.importorskip("art")
    script.main(["--out", str(tmp_path), "--check-art", "--scenes", "1", "--passes", "2", "--budget", "linf:2"])
    (aps,) = json.loads((tmp_path / "check-art.json").read_text()).values()
    assert aps["art"] == pytest.approx(aps["detattack"], abs=script.SAME)
    for name in ("art", "detattack"):
        with closing(RunFolder.open(tmp_path / name / "linf-2", DetectionRecord)) as folder:  # to verify it, say
            assert folder.manifest["start"] == "linf-2"
