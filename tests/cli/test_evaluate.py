"""`detattack evaluate` and `merge`: a data set under attack, in a run that survives."""

import json
from pathlib import Path

import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detattack.core.errors import InputError
from detattack.datasets.base import Sample
from detattack.runs.batching import plan, read_ahead
from detattack.runs.folder import RunFolder
from detattack.tasks.detection import run_data
from tests.coco_squares import made, write_data
from tests.toy_pictures import squares


@pytest.fixture
def evaluate(cli, toy):
    """An evaluation with the toy detector as `run/` and JSON."""

    def call(*arguments, factory="factory", out="run", quality="quick"):
        model = ("--model", f"{toy}:{factory}", "--quality", quality, "--device", "cpu")
        return cli("evaluate", *arguments, *model, "--out", out, "--json")

    return call


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path)


def read(path):
    return json.loads(Path(path).read_text())


# A whole data set


def test_a_data_set_under_attack(evaluate, data, tmp_path):
    said = evaluate(*data, "--goal", "suppress:all")
    assert said.status == 0
    summary = said.json["summary"]
    assert (summary["images"], summary["success"], summary["nothing"]) == (6, 5, 1)
    assert summary["ap"]["clean"]["ap50"] > 0.9
    assert summary["ap"]["categories"] == 3  # the detector knows no kite
    assert set(summary["ap"]["per_category"]) == {"person", "car", "Dog"}
    assert summary["ap"]["per_category"]["person"]["clean_ap"] is None
    assert summary == read("run/summary.json")
    assert summary["per_class"]["car"]["rate"] == 1.0
    assert len(list(Path("run/images").iterdir())) == 6
    assert {image["id"] for image in said.json["images"]} == set(range(95, 101))


@pytest.mark.parametrize("which", ["clean", "adversarial"])
def test_the_files_load_as_coco_and_score_the_same(evaluate, data, which, capsys):
    ap = evaluate(*data, "--goal", "suppress:car").json["summary"]["ap"]
    truth = COCO("run/annotations.json")
    for image in truth.dataset["images"]:
        assert Image.open(Path("run/images") / image["file_name"]).size == (image["width"], image["height"])
    # pycocotools takes a match with the annotation 0, which this file has, for no match
    for annotation in truth.dataset["annotations"]:
        annotation["id"] += 1
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(f"run/{which}.json"), "bbox")
    evaluation.params.catIds = [2, 7, 40]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    known = [None if v < 0 else v for v in evaluation.stats]
    assert list(ap[which].values()) == pytest.approx(known, abs=1e-6)


def test_a_threshold_of_0_05_leaves_no_detection_and_an_ap_of_0(evaluate, data):
    summary = evaluate(*data, "--score-threshold", "0.05").json["summary"]
    assert summary["success_rate"] == 1.0
    assert read("run/adversarial.json") == []
    assert summary["ap"]["adversarial"]["ap"] == 0.0


def test_injections_report_the_iou_with_the_asked_box(evaluate, data):
    summary = evaluate(*data, "--goal", "inject:dog@8,24,24,40", "--limit", 3).json["summary"]
    assert summary["images"] == 3
    assert summary["median_asked_iou"] > 0.5


def test_all_measures_are_taken_once_and_survive_a_resume(evaluate, data):
    said = evaluate(*data, "--limit", 2, quality="all")
    quality = said.json["images"][0]["quality"]
    assert {"uqi", "scc", "vifp", "ciede2000_share", "l2"} <= set(quality)
    assert said.json["summary"]["median_vifp"] == pytest.approx(
        sum(image["quality"]["vifp"] for image in said.json["images"]) / 2
    )
    before = made(Path("run"))
    assert evaluate(*data, "--limit", 2, "--resume", quality="all").status == 0
    assert made(Path("run")) == before


def test_measures_may_be_asked_for_later_and_are_part_of_the_run_from_then_on(evaluate, cli, data):
    few, slow = (*data, "--limit", 2), {"uqi", "vifp"}
    assert not slow & set(evaluate(*few).json["images"][0]["quality"])
    assert slow < set(evaluate(*few, "--resume", quality="all").json["images"][0]["quality"])
    assert read("run/run.json")["all_measures"]
    assert cli("rerun", "run", "--trust", "--out", "again", "--json").json["summary"]["identical"]
    Path("run/summary.json").unlink()
    assert evaluate(*few, "--resume").json["summary"]["median_vifp"] is not None


@pytest.mark.slow
def test_measures_are_the_same_from_several_processes(evaluate, data, monkeypatch):
    from detattack.core import processes

    evaluate(*data, out="one", quality="all")
    monkeypatch.setattr(processes, "STARTED_IN_S", 0.0)
    monkeypatch.setattr(processes.os, "sched_getaffinity", lambda process: {0, 1})
    evaluate(*data, out="two", quality="all")
    assert made(Path("one")) == made(Path("two"))


def test_a_folder_without_annotations(evaluate, data):
    summary = evaluate(*data[:2]).json["summary"]
    assert summary["ap"] is None
    assert summary["success"] == 5


def test_a_table_for_people(cli, toy, data):
    said = cli("evaluate", *data, "--model", f"{toy}:factory", "--quality", "quick", "--limit", 2, "--out", "run")
    assert "success at τ 0.5" in said.out
    assert "AP down to 0.05" in said.out


# What the model's card states


@pytest.fixture
def val2017(monkeypatch):
    """The little data set is taken for the whole of COCO val2017."""
    monkeypatch.setattr("detattack.tasks.detection.summary.VAL2017_IMAGES", 6)
    monkeypatch.setattr("detattack.tasks.detection.summary.VAL2017_ANNOTATIONS", 10)


def test_a_clean_ap_that_is_not_the_model_s_is_said_aloud(evaluate, cli, data, toy, val2017):
    said = evaluate(*data, factory="stated")
    ap = said.json["summary"]["ap"]
    assert (said.status, ap["expected_clean"]) == (0, 0.5)
    warnings = [line for line in said.err.splitlines() if "WARNING" in line]
    assert len(warnings) == 1
    assert f"is {ap['clean']['ap']:.3f}, the model's card states 0.500" in warnings[0]
    model = ("--model", f"{toy}:stated", "--device", "cpu", "--quality", "quick", "--batch", 1)
    table = cli("evaluate", *data, *model, "--out", "run", "--resume").out
    assert f"{ap['clean']['ap']:.3f}, the model's card states 0.500" in table
    assert cli("compare", *data, *model, "--methods", "fgsm,fgv", "--out", "cmp").err.count("WARNING") == 1
    assert cli("report", "run").status == 0
    page = Path("run/report.html").read_text()
    assert "<b>Warning:</b> the clean AP on COCO val2017 is" in page
    assert "clean by the model&#39;s card: 0.500" in page


def test_a_merged_run_knows_what_the_card_states(evaluate, cli, data, val2017):
    for i in (0, 1):
        said = evaluate(*data, "--shard", f"{i}/2", factory="stated", out=f"s{i}")
        assert said.json["summary"]["ap"]["expected_clean"] is None
        assert "WARNING" not in said.err
    said = cli("merge", "both", "s0", "s1", "--json")
    assert said.json["summary"]["ap"]["expected_clean"] == 0.5
    assert "WARNING" in said.err


def test_a_clean_ap_that_is_the_model_s_is_no_matter(evaluate, cli, data, toy, val2017, monkeypatch):
    measured = evaluate(*data).json["summary"]["ap"]
    assert measured["expected_clean"] is None  # this one has no card
    monkeypatch.setattr("detattack.tasks.detection.summary.PARITY", abs(measured["clean"]["ap"] - 0.5))
    said = evaluate(*data, factory="stated", out="stated")
    assert said.json["summary"]["ap"]["expected_clean"] == 0.5
    assert "WARNING" not in said.err


def test_a_clean_ap_of_nothing_is_said_aloud(evaluate, data):
    """As where the names of own classes are in another order than the labels of the model."""
    path = Path(data[3])
    swapped = {"car": "Dog", "Dog": "car"}
    content = read(path)
    content["categories"] = [{**one, "name": swapped.get(one["name"], one["name"])} for one in content["categories"]]
    path.write_text(json.dumps(content))
    said = evaluate(*data)
    assert said.json["summary"]["ap"]["clean"]["ap50"] == 0
    assert "WARNING: untouched, the model finds next to none of the annotated objects (AP50 0.0000)" in said.err


def test_other_data_than_val2017_have_no_expected_ap(evaluate, cli, data):
    said = evaluate(*data, factory="stated")
    assert said.json["summary"]["ap"]["expected_clean"] is None
    assert read("run/run.json")["detector"]["expected_ap"] == 0.5
    assert "WARNING" not in said.err
    cli("report", "run")
    assert "clean by the model" not in Path("run/report.html").read_text()


# Images that are no use


def test_unreadable_images_are_recorded_and_the_run_goes_on(evaluate, data, tmp_path):
    (tmp_path / "data/0/i0.png").write_text("no image")
    (tmp_path / "data/0/i1.png").write_bytes(b"")
    said = evaluate(*data, "--batch", 4)
    assert said.status == 0
    assert (said.json["summary"]["error"], said.json["summary"]["success"]) == (2, 3)
    assert said.json["summary"]["ap"]["images"] == 4
    reasons = [image["reason"] for image in said.json["images"] if image["status"] == "error"]
    assert any("the file is empty" in r for r in reasons)
    assert any("not an image" in r for r in reasons)
    assert "error" in said.err
    assert evaluate(*data, "--batch", 4, "--resume", "--strict").status == 1


def test_an_error_is_said_under_quiet_too(cli, toy, tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(squares("car@8,8")).save(tmp_path / "in/a.png")
    (tmp_path / "in/b.png").write_bytes(b"no image")
    said = cli(
        "evaluate", "--images", "in", "--model", f"{toy}:factory", "--out", "run", "--quality", "quick", "--quiet"
    )
    assert said.status == 0
    assert said.err.splitlines() == ["in/b.png: error: in/b.png: not an image that can be read", "run"]


def test_missing_images_are_said_and_in_no_rate(evaluate, data, tmp_path):
    for name in ("0/i0.png", "1/i1.png"):
        (tmp_path / "data" / name).unlink()
    said = evaluate(*data, "--strict", "--quiet")
    assert said.status == 0
    where = f"{tmp_path / 'data'} (the first: '0/i0.png')"
    line = f"2 of the 6 annotated images are not in {where}; left out of every figure"
    assert f"NOTE: {line}" in said.err.splitlines()
    assert read("run/run.json")["notes"] == [line]
    summary = said.json["summary"]
    assert (summary["images"], summary["success"], summary["error"]) == (4, 3, 0)
    assert summary["ap"]["images"] == 4
    assert len(read("run/annotations.json")["images"]) == 4
    Image.new("RGB", (64, 48)).save(tmp_path / "data/0/i0.png")
    again = evaluate(*data, "--resume")
    assert (again.status, "holds another run: data was" in again.err) == (2, True)


def test_missing_images_are_refused_where_that_is_asked_for(evaluate, data, tmp_path):
    (tmp_path / "data/0/i0.png").unlink()
    said = evaluate(*data, "--missing", "error")
    assert (said.status, said.out) == (2, "")
    assert f"1 of the 6 annotated images is not in {tmp_path / 'data'} (the first: '0/i0.png')" in said.err
    for path in (tmp_path / "data").rglob("*.png"):
        path.unlink()
    said = evaluate(*data)
    assert (said.status, said.out) == (2, "")
    assert "none of the 6 annotated images is in" in said.err
    assert not Path("run").exists()


# Ids that are texts


@pytest.fixture
def texts(data, tmp_path):
    """The same data with texts for ids of images and categories, in an order of their own."""
    path = tmp_path / "instances.json"
    content = read(path)
    images = {image["id"]: f"frame_{image['id']:012}" for image in content["images"]}
    categories = {category["id"]: f"c{category['id']}" for category in content["categories"]}
    for image in content["images"]:
        image["id"] = images[image["id"]]
    for category in content["categories"]:
        category["id"] = categories[category["id"]]
    for annotation in content["annotations"]:
        annotation["image_id"] = images[annotation["image_id"]]
        annotation["category_id"] = categories[annotation["category_id"]]
    (tmp_path / "texts.json").write_text(json.dumps(content))
    return [*data[:3], str(tmp_path / "texts.json")]


def test_results_have_the_ids_of_the_annotation_file(evaluate, data, texts, capsys):
    plain = evaluate(*data, "--goal", "suppress:car", out="plain").json["summary"]
    said = evaluate(*texts, "--goal", "suppress:car")
    assert "6 images with a text for an id" in said.err
    assert said.json["summary"]["ap"] == plain["ap"]
    assert {image["id"] for image in said.json["images"]} == set(range(1, 7))
    for file in (texts[-1], "run/annotations.json"):
        truth = COCO(file)
        # pycocotools takes a match with the annotation 0, which this file has, for no match
        for annotation in truth.dataset["annotations"]:
            annotation["id"] += 1
        truth.createIndex()
        for which in ("clean", "adversarial"):
            scored = COCOeval(truth, truth.loadRes(f"run/{which}.json"), "bbox")
            scored.params.catIds = ["c2", "c40", "c7"]
            scored.evaluate()
            scored.accumulate()
            scored.summarize()
            assert scored.stats[0] == pytest.approx(said.json["summary"]["ap"][which]["ap"])


def test_text_ids_in_what_is_made_of_a_run_folder(cli, evaluate, texts):
    evaluate(*texts, out="whole")
    for i in range(2):
        assert evaluate(*texts, "--shard", f"{i}/2", out=f"s{i}").status == 0
    assert cli("merge", "merged", "s0", "s1", "--quiet").status == 0
    assert made(Path("merged")) == made(Path("whole"))
    files = run_data.read_coco(Path("whole"))
    for rows in (files.annotations, files.clean):
        assert {row["image_id"] for row in rows} == set(range(1, 6))  # nothing is on the sixth
    assert cli("report", "whole").status == 0
    said = cli("verify", "whole", "--trust", "--survive", "jpeg:90", "--json", "--device", "cpu")
    assert (said.status, said.json["transfer"][0]["ap"]["images"]) == (0, 5)
    assert said.json["transfer"][0]["ap"]["clean"]["ap50"] > 0.9


def test_a_class_that_others_belong_to_and_that_a_shard_has_no_object_of(cli, evaluate, data, tmp_path):
    content = read(tmp_path / "instances.json")
    dogs = [one for one in content["annotations"] if one["category_id"] == 40]
    content["annotations"] = [one for one in content["annotations"] if one not in dogs[1:]]
    for category in content["categories"]:
        category["supercategory"] = "Dog"
    (tmp_path / "instances.json").write_text(json.dumps(content))
    assert evaluate(*data, out="whole").status == 0
    assert 40 in {category["id"] for category in read("whole/annotations.json")["categories"]}
    for i in range(2):
        assert evaluate(*data, "--shard", f"{i}/2", out=f"s{i}").status == 0
    assert cli("merge", "merged", "s0", "s1", "--quiet").status == 0
    assert made(Path("merged")) == made(Path("whole"))


def test_ids_of_which_some_are_texts_are_all_those_of_the_file_in_the_results(evaluate, data, tmp_path):
    content = read(tmp_path / "instances.json")
    for item, key in [(one, "id") for one in content["images"]] + [(a, "image_id") for a in content["annotations"]]:
        item[key] = "hundred" if item[key] == 100 else item[key]
    (tmp_path / "instances.json").write_text(json.dumps(content))
    assert evaluate(*data).status == 0
    assert {row["image_id"] for row in read("run/clean.json")} <= {"hundred", *range(95, 100)}
    truth = COCO("run/annotations.json")
    truth.loadRes("run/clean.json")


def test_strict_without_an_error_is_0(evaluate, data):
    assert evaluate(*data, "--strict", "--limit", 1).status == 0


def test_an_image_of_another_size_than_the_data_set_says(evaluate, data, tmp_path):
    Image.new("RGB", (80, 64), (30, 30, 30)).save(tmp_path / "data/0/i0.png")
    said = evaluate(*data, "--batch", 3)
    assert said.json["summary"]["error"] == 0
    assert "the data set says 64×48" in " ".join(said.err.split())


def test_an_image_that_the_model_fails_on_leaves_its_batch_alone(evaluate, tmp_path):
    said = evaluate(*write_data(tmp_path, mark=2), "--batch", 4, factory="raising")
    assert [i["status"] for i in said.json["images"] if i["id"] == 98] == ["error"]
    assert (said.json["summary"]["success"], said.json["summary"]["error"]) == (4, 1)


def test_memory_that_runs_out_makes_batches_smaller(evaluate, data, monkeypatch):
    from detattack.tasks import experiment

    sizes = []
    attack_batch = experiment.attack_batch

    def short(task, config, truth, target_l2, model, pictures):
        sizes.append(len(pictures))
        if len(pictures) > 1:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")
        return attack_batch(task, config, truth, target_l2, model, pictures)

    monkeypatch.setattr(experiment, "attack_batch", short)
    assert evaluate(*data, "--batch", 4).json["summary"]["success"] == 5
    assert sizes[:4] == [4, 2, 1, 1]


# Bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--limit", "0"), ("--limit",)),
        (("--shard", "2/2"), ("shard '2/2'",)),
        (("--shard", "1"), ("shard '1'", "i/n")),
        (("--shard", "11/12"), ("shard 11/12", "no image")),
        (("--batch", "0"), ("--batch", "auto")),
        (("--batch", "many"), ("--batch", "auto")),
        (("--quality", "best"), ("--quality", "best")),
        (("--goal", "suppress:cra"), ("cra", "car")),
        (("--goal", "inject:car@road"), ("road",)),
        (("--method", "jdn"), ("jdn", "jnd")),
        (("--set", "radius=2"), ("radius",)),
        (("--score-threshold", "1.5"), ("score_threshold",)),
        (("--images", "nowhere"), ("nowhere", "no such folder")),
        (("--annotations", "nowhere.json"), ("nowhere.json", "cannot be read")),
    ],
)
def test_options_out_of_range(refused, toy, data, arguments, words):
    refused("evaluate", *data, "--model", f"{toy}:factory", *arguments, "--out", "run", words=words)


def test_annotations_without_images(refused, toy, data):
    refused("evaluate", "--model", f"{toy}:factory", *data[2:], words=("--annotations needs --images",))


def test_broken_annotations_and_classes_that_nobody_shares(refused, toy, data):
    Path(data[3]).write_text('{"images": [}')
    refused("evaluate", *data, "--model", f"{toy}:factory", words=("line 1, column 13",))
    names = {"images": [{"id": 1, "file_name": "0/i0.png"}], "annotations": [], "categories": [{"id": 1, "name": "x"}]}
    Path(data[3]).write_text(json.dumps(names))
    refused("evaluate", *data, "--model", f"{toy}:factory", words=("'x'", "toy", "no class name in common"))


def test_another_run_is_not_continued(evaluate, data):
    assert evaluate(*data, "--limit", 2).status == 0
    for other, words in (
        (("--limit", 2), "--resume continues it"),
        (("--limit", 3, "--resume"), "data was"),
        (("--limit", 2, "--seed", 5, "--resume"), "config.seed was 0, now 5"),
        (("--limit", 2, "--shard", "0/2", "--resume"), "shard was None, now [0, 2]"),
    ):
        said = evaluate(*data, *other)
        assert said.status == 2
        assert words in said.err


# Batches and shards


def samples(*sizes):
    return [Sample(i, str(i), "", size, lambda: None) for i, size in enumerate(sizes)]


def test_the_plan_joins_images_of_one_size_wherever_they_are():
    small, large = (4, 4), (8, 4)
    batches = plan(samples(small, large, small, small, large), 2)
    assert [[s.id for s in batch] for batch in batches] == [[0, 2], [1, 4], [3]]
    assert [[s.id for s in batch] for batch in plan(samples(small, large), 1)] == [[0], [1]]


@pytest.mark.parametrize("batch", [1, 2])
def test_shards_merged_are_one_run(evaluate, cli, data, batch):
    for out, shard in (("one", ()), ("s0", ("--shard", "0/2")), ("s1", ("--shard", "1/2"))):
        assert evaluate(*data, "--batch", batch, *shard, out=out, quality="all").status == 0
    said = cli("merge", "both", "s1", "s0", "--json")
    assert said.status == 0, said.err
    assert made(Path("both")) == made(Path("one"))
    assert read("both/run.json")["shard"] is None
    assert said.json["summary"]["images"] == 6
    assert cli("verify", "both", "--trust").status == 0


def test_shards_that_do_not_fit(evaluate, cli, data):
    for out, arguments in {
        "s0": ("--shard", "0/2"),
        "s1": ("--shard", "1/2"),
        "other": ("--shard", "1/2", "--seed", 1),
        "third": ("--shard", "1/3"),
        "whole": (),
    }.items():
        evaluate(*data, "--limit", 4, *arguments, out=out)
    evaluate(*data, "--limit", 4, "--shard", "1/2", out="measured", quality="all")
    for shards, words in (
        (("s0",), "shard 1/2 is missing"),
        (("s0", "s0"), "and so is s0"),
        (("s0", "other"), "config.seed was 0, now 1"),
        (("s0", "third"), "is one of 3 shards"),
        (("s0", "measured"), "all_measures was False, now True"),
        (("s0", "whole"), "whole: is no shard"),
        (("s0", "nowhere"), "not a run folder"),
    ):
        said = cli("merge", "both", *shards)
        assert said.status == 2
        assert words in said.err
        assert not Path("both").exists()
    assert cli("merge", "both", "s0", "s1").status == 0
    assert "both: holds a finished run already" in cli("merge", "both", "s0", "s1").err
    Path("s1/summary.json").unlink()
    assert "is not finished" in cli("merge", "both", "s0", "s1").err


def test_more_shards_than_batches_merge_without_those_that_have_no_image(evaluate, cli, data):
    evaluate(*data, "--limit", 2, out="one")
    said = [evaluate(*data, "--limit", 2, "--shard", f"{i}/3", out=f"s{i}") for i in range(3)]
    assert [one.status for one in said] == [0, 0, 2]
    assert "shard 2/3: has no image" in said[2].err
    assert "shard 1/3 is missing" in cli("merge", "both", "s0").err
    assert cli("merge", "both", "s0", "s1").status == 0
    assert made(Path("both")) == made(Path("one"))


def test_batch_auto_on_a_cpu_is_1_and_is_resumed_as_it_was(evaluate, data):
    evaluate(*data, "--limit", 2, "--batch", 2)
    assert evaluate(*data, "--limit", 2, "--batch", "auto", "--resume").status == 0
    assert evaluate(*data, "--limit", 2, "--batch", "auto", out="new").status == 0
    assert read("new/run.json")["config"]["batch"] == 1


def test_reading_ahead_keeps_the_order_stays_bounded_and_raises_in_turn():
    asked = []

    def double(item):
        asked.append(item)
        if item == 5:
            raise InputError("five")
        return 2 * item

    reader = read_ahead(range(10), double, ahead=2)
    assert next(reader) == 0
    assert len(asked) <= 5
    assert [next(reader) for _ in range(4)] == [2, 4, 6, 8]
    with pytest.raises(InputError, match="five"):
        next(reader)
    stopped = read_ahead(range(1000), lambda item: item)
    next(stopped)
    stopped.close()  # returns: the thread is not left waiting


def test_no_record_is_held(evaluate, data, monkeypatch):
    """Detections and traces are streamed from the ledger: nothing asks for all records at once."""
    monkeypatch.setattr(RunFolder, "records", lambda self: pytest.fail("all records in memory"))
    assert evaluate(*data).status == 0


# What a full disk leaves


def test_a_full_disk_stops_the_run_whole(evaluate, data, monkeypatch):
    from detattack.runs import folder as runs

    write, calls = runs.write_bytes_atomic, []

    def full(path, content):
        calls.append(path)
        if len(calls) > 3:
            raise OSError(28, "No space left on device", str(path))
        write(path, content)

    assert evaluate(*data, out="calm").status == 0
    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_bytes_atomic", full)
        said = evaluate(*data)
    assert said.status == 1
    last = said.err.strip().splitlines()[-1]
    assert "No space left on device" in last
    assert "--resume" in last
    assert "Traceback" not in said.err
    assert evaluate(*data, "--resume").status == 0
    assert made(Path("run")) == made(Path("calm"))


@pytest.mark.parametrize("command", ["evaluate", "untargeted", "targeted", "compare", "tune", "classify attack"])
def test_what_is_to_be_continued_has_to_be_named(refused, command):
    refused(*command.split(), "--resume", words=("--resume needs --out",))


@pytest.mark.parametrize("command", ["evaluate", "compare"])
@pytest.mark.parametrize("option", [("--scenes", 2), ("--annotations", "a.json"), ("--goal", "suppress:car")])
def test_what_is_of_detectors_alone_is_refused_for_classifiers(refused, command, option):
    refused(command, "--task", "classify", *option, words=(f"{option[0]}: task classify has no such option",))
