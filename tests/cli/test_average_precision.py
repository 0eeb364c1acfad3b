"""What AP counts, and what is said of what it does not: `--max-detections`, names of classes, pages, transfer."""

import contextlib
import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.toy_pictures import squares

CARS = ["car@8,8", "car@40,8", "car@8,40", "car@40,40", "car@72,24"]
NAMES = {5: "Car", 6: "DOG", 9: "kite"}


def write_data(root: Path, names=NAMES, count: int = 2, annotated=(5, 6, 9)) -> list[str]:
    """Writes images with five cars and a dog each, and a kite that nothing shows; returns the options that name them.
    annotated: ids of the categories that have annotations."""
    images, annotations = [], []
    for number in range(1, count + 1):
        path = root / "data" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(squares(*CARS, "dog@72,48", width=96, height=64, seed=number)).save(path)
        images.append({"id": number, "file_name": path.name, "width": 96, "height": 64})
        for place, category in [*((place, 5) for place in CARS), ("@72,48", 6), ("@0,0", 9)]:
            x, y = (int(v) for v in place.partition("@")[2].split(","))
            box = {"bbox": [x, y, 16, 16], "area": 256, "iscrowd": 0}
            if category in annotated:
                one = {"id": len(annotations) + 1, "image_id": number, "category_id": category, **box}
                annotations.append(one)
    categories = [{"id": i, "name": name} for i, name in names.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "instances.json").write_text(json.dumps(content))
    return ["--images", str(root / "data"), "--annotations", str(root / "instances.json")]


@pytest.fixture
def evaluate(cli, toy):
    """An evaluation with the toy detector as `run/`."""

    def call(*arguments, out="run"):
        common = ("--model", f"{toy}:factory", "--quality", "quick", "--device", "cpu", "--batch", 1)
        return cli("evaluate", *arguments, *common, "--max-iterations", 2, "--method", "fgsm", "--out", out)

    return call


def read(path):
    return json.loads(Path(path).read_text())


def directly(which: str, most: int, categories=(5, 6)) -> float:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO("run/annotations.json")
        evaluation = COCOeval(truth, truth.loadRes(f"run/{which}.json"), "bbox")
        evaluation.params.catIds, evaluation.params.maxDets = list(categories), [1, 1, most]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, -1]
    return precision[precision > -1].mean()


def page_map(text: str) -> str:
    """The mAP on a page's card."""
    return re.search(r"(\d\.\d{3}) → (\d\.\d{3})", text)[1]


@pytest.mark.parametrize("most", [1, 4, 100])
def test_as_many_detections_of_a_class_count_as_are_asked_for(evaluate, cli, tmp_path, most):
    options = () if most == 100 else ("--max-detections", most)
    said = evaluate(*write_data(tmp_path), *options)
    ap, lost = (read("run/summary.json")[key] for key in ("ap", "lost_ap"))
    for which in ("clean", "adversarial"):
        assert lost[which]["ap50"] == pytest.approx(ap[which]["ap50"], abs=1e-12)
        assert sum(lost[which]["objects"].values()) == 12  # the kites are not counted
    assert ("AP50 lost, attacked" in said.out) == any(value > 0.005 for value in lost["adversarial"]["lost"].values())
    assert len(read("run/clean.json")) == 12  # all that the detector reports, whatever counts
    assert ap["clean"]["ap"] == pytest.approx(directly("clean", most), abs=1e-9)
    assert ap["adversarial"]["ap"] == pytest.approx(directly("adversarial", most), abs=1e-9)
    assert (ap["clean"]["ap"] > 0.95) == (most == 100)
    assert cli("report", "run").status == 0
    page = Path("run/report.html").read_text()
    assert page_map(page) == f"{ap['clean']['ap']:.3f}"
    told = f"more than {most} of one class are on 2 images clean"
    assert (told in " ".join(said.out.split())) == (told in page) == (most < 100)
    assert f">AR{most}</th>" in page


def test_the_number_is_in_the_manifest_where_it_is_not_coco_s(evaluate, cli, tmp_path):
    data = write_data(tmp_path)
    evaluate(*data)
    assert "max_detections" not in read("run/run.json")["config"]
    assert "max_detections" not in read("run/summary.json")["ap"]
    other = evaluate(*data, "--max-detections", 3, "--resume")
    assert (other.status, "config.max_detections was None, now 3" in other.err) == (2, True)
    evaluate(*data, "--max-detections", 3, out="three")
    assert read("three/run.json")["config"]["max_detections"] == read("three/summary.json")["ap"]["max_detections"] == 3
    for shard in ("0/2", "1/2"):
        evaluate(*data, "--max-detections", 3, "--shard", shard, out=shard[0])
    assert cli("merge", "both", "0", "1", "--quiet").status == 0
    assert read("both/summary.json")["ap"] == read("three/summary.json")["ap"]
    assert cli("rerun", "three", "--trust", "--out", "again").status == 0


def test_a_comparison_counts_as_many(cli, toy, tmp_path):
    common = ("--model", f"{toy}:factory", "--device", "cpu", "--batch", 1, "--max-iterations", 2, "--out", "cmp")
    said = cli("compare", *write_data(tmp_path), *common, "--methods", "fgsm,fgv", "--max-detections", 1)
    assert said.status == 0
    clean = read("cmp/fgsm/summary.json")["ap"]["clean"]["ap"]
    assert clean < 0.9
    assert [curve["ap"][0] for curve in read("cmp/comparison.json")["curves"].values()] == pytest.approx([clean] * 2)
    assert said.err.count("detections not counted: more than 1 of one class are on 2 images clean") == 1
    assert said.err.count("classes not counted: kite") == 1


def test_the_page_has_the_summary_s_ap_whatever_classes_are_called(evaluate, cli, tmp_path):
    evaluate(*write_data(tmp_path))
    ap = read("run/summary.json")["ap"]
    assert set(ap["per_category"]) == {"Car", "DOG"}
    assert cli("report", "run").status == 0
    page = Path("run/report.html").read_text()
    assert page_map(page) == f"{ap['clean']['ap']:.3f}"
    table = page.partition("<h3>By class</h3>")[2].partition("</table>")[0]
    assert re.findall(r'<th scope="row">([^<]*)</th>', table) == ["car", "dog"]  # a row a class, by the model's name
    assert f"<td>{ap['per_category']['Car']['clean_ap']:.3f}</td>" in table


def test_an_annotated_class_that_is_not_counted_is_named(evaluate, cli, tmp_path):
    said = evaluate(*write_data(tmp_path))
    told = "kite (no such class in the model)"
    assert f"classes not counted: {told}" in " ".join(said.err.split())
    assert told in said.out
    assert read("run/summary.json")["ap"]["not_counted"] == {"kite": "no such class in the model"}
    cli("report", "run")
    assert f"<b>Classes not counted</b> {told}." in Path("run/report.html").read_text()


def test_where_all_are_counted_nothing_is_said(evaluate, tmp_path):
    said = evaluate(*write_data(tmp_path, annotated=(5, 6)))
    assert "not counted" not in said.err + said.out
    assert not {"not_counted", "cut_images"} & read("run/summary.json")["ap"].keys()


def test_names_that_collide_are_not_guessed_between(evaluate, tmp_path):
    said = evaluate(*write_data(tmp_path, {5: "Car", 6: "CAR", 9: "dog"}))
    assert "classes not counted: Car, CAR (not the only class of that name)" in " ".join(said.err.split())
    assert set(read("run/summary.json")["ap"]["per_category"]) == {"dog"}


def test_goals_take_the_same_spellings(evaluate, tmp_path):
    evaluate(*write_data(tmp_path), "--goal", "suppress:DOG")
    assert read("run/summary.json")["per_class"]["dog"]["objects"] == 2


def test_which_tau_would_empty_ap_is_said(evaluate, cli, tmp_path):
    said = evaluate(*write_data(tmp_path))
    told = "an attack that is to empty AP runs at τ = 0.05"
    assert told in " ".join(said.out.split())
    assert read("run/summary.json")["questions"]["empty_ap"].startswith(told)
    cli("report", "run")
    assert f"{told[0].upper()}{told[1:]}" in Path("run/report.html").read_text()


def test_the_transfer_matrix_says_which_images_it_counts(evaluate, cli, tmp_path):
    evaluate(*write_data(tmp_path), "--max-detections", 2)
    said = cli("verify", "run", "--survive", "blur:1", "--trust")
    assert said.status == 0
    words = " ".join(said.out.split())
    assert "success: of the run's successes, without those for which the goal holds already" in words
    assert "AP: of the 2 attacked images" in words
    assert "toy: classes not counted: kite" in words
    row = read("run/transfer.json")[0]
    assert (row["ap"]["images"], row["ap"]["max_detections"]) == (2, 2)
    assert row["ap"]["clean"] == read("run/summary.json")["ap"]["clean"]


def test_a_folder_from_before_is_told_as_it_was_scored(evaluate, cli, tmp_path):
    """Its files hold other detections, and its summary counts other classes, than a run of today."""
    evaluate(*write_data(tmp_path))
    summary = read("run/summary.json")
    del summary["ap"]["per_category"]["DOG"], summary["ap"]["not_counted"], summary["questions"]
    Path("run/clean.json").write_text(json.dumps([r for r in read("run/clean.json") if r["category_id"] == 5][:7]))
    summary["ap"]["clean"]["ap"] = directly("clean", 100, categories=[5])
    Path("run/summary.json").write_text(json.dumps(summary))
    assert cli("report", "run").status == 0
    assert page_map(Path("run/report.html").read_text()) == f"{summary['ap']['clean']['ap']:.3f}"
