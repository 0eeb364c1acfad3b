"""Results of the API: mappings with a table and a figure, shown in notebooks; and who is told meanwhile."""

import builtins
import json
import sys
from types import SimpleNamespace

import pytest
import torch
from matplotlib.figure import Figure

from classify.wrap import wrap_classifier
from detattack import api
from detattack.api import (
    Callback,
    InputError,
    attack,
    compare,
    evaluate,
    load_detector,
    load_run,
    quality,
    transfer,
    verify,
)
from detattack.api.loggers import MLflow, TensorBoard, WeightsAndBiases
from detattack.cli import status_of
from tests.toy_classifier import Channels
from tests.toy_pictures import squares

PICTURES = [squares("car@8,8"), squares("car@24,16", "dog@40,24", seed=1)]


@pytest.fixture
def detector(toy):
    return load_detector(f"{toy}:factory", "cpu")


def check_shown(result):
    assert isinstance(result.figure(), Figure)
    shown = result._repr_html_()
    assert shown.startswith("<table><tr><th>")
    assert "data:image/png;base64," in shown
    assert len(repr(result).splitlines()) == 1
    assert result.summary == dict(result)
    json.dumps(result.summary)


def test_every_result_is_shown_and_is_a_mapping(detector):
    pandas = pytest.importorskip("pandas", reason="needs pandas (pip install pandas)")
    found = attack(PICTURES, detector)
    run = evaluate(PICTURES, detector, "suppress:car")
    both = compare(PICTURES, detector, "suppress:car", "jnd,fgsm")
    verified = verify(run)
    left = transfer(run, survive="jpeg:75", images=PICTURES)
    measured = quality(PICTURES, found.images, ["l2", "linf"])
    for result in (found, run, both, verified, left, measured):
        check_shown(result)
        assert isinstance(result.to_pandas(), pandas.DataFrame)
    assert (run["success"], found["success"], verified["agree"]) == (2, 2, 2)
    assert [row["unread"] for row in left["transfer"]] == [0, 0]
    assert left["transfer"][0]["success"]["rate"] == 1
    assert transfer(run, images=PICTURES[:1])["transfer"][0]["unread"] == 1
    assert list(run.to_pandas()["status"]) == ["success"] * 2
    assert list(both.to_pandas()["method"]) == ["jnd", "fgsm"]
    assert [row["l2"] for row in measured["images"]] == [record.quality["l2"] for record in found.records]
    assert "/tmp" not in repr(run)


def test_a_temporary_folder_goes_with_the_object(detector, tmp_path):
    run = evaluate(PICTURES, detector)
    path = run.path
    assert (path / "images.csv").is_file()
    del run
    assert not path.exists()
    kept = evaluate(PICTURES, detector, out=tmp_path / "run")
    assert load_run(tmp_path / "run") == kept


def test_folders_of_the_command_line_are_read(toy, picture, tmp_path):
    one = str(picture("a", "car@8,8"))
    line = [one, "--model", f"{toy}:factory", "--quiet", "--out"]
    assert status_of(["untargeted", *line, str(tmp_path / "run")]) == 0
    run = load_run(tmp_path / "run")
    assert run["success"] == 1
    with pytest.raises(InputError, match="--trust"):
        verify(run)
    assert verify(run, trust=True)["disagree"] == 0
    (tmp_path / "run" / "summary.json").unlink()
    with pytest.raises(InputError, match="is not finished"):
        load_run(tmp_path / "run")
    with pytest.raises(InputError, match="not a run folder"):
        load_run(tmp_path)


def test_an_unwritable_folder_is_said_in_a_line(detector, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written") as error:
        evaluate(PICTURES, detector, out=tmp_path / "file" / "run")
    assert len(str(error.value).splitlines()) == 1


def test_without_pandas_it_is_said_what_to_install(detector, monkeypatch):
    found, load = attack(PICTURES, detector), builtins.__import__

    def refused(name, *rest):
        if name == "pandas":
            raise ImportError(name)
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refused)
    with pytest.raises(InputError, match="pip install pandas"):
        found.to_pandas()


def test_classifiers_are_attacked_alike():
    images = torch.full((2, 3, 8, 8), 0.4)
    images[:, 0] = 0.5
    found = attack(images, Channels())
    assert [record.leaves for record in found.records] == [0, 0]
    assert found["success"] == 2
    assert attack(images, Channels(), "blue").records[0].wrong == 2
    run = evaluate([(images[0], 0), (images[1], "red"), (images[1], 1)], Channels())
    assert (run["success"], run["already"]) == (2, 1)
    assert [record.label for record in run.records] == [0, 0, 1]
    check_shown(run)
    with pytest.raises(InputError, match="did you mean"):
        attack(images, Channels(), "gren")
    with pytest.raises(InputError, match="keep_others"):
        attack(images, Channels(), keep_others=True)


def test_a_network_becomes_a_classifier():
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    classifier = wrap_classifier(network, ["a", "b"])
    assert attack(torch.rand(1, 3, 8, 8), classifier, max_iterations=3)["images"] == 1
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    for classes in ("ab", ["a"], [1, 2]):
        with pytest.raises(InputError, match="classes"):
            wrap_classifier(network, classes)


# Who is told


class Kept(Callback):
    def __init__(self):
        self.rows, self.images, self.results = [], [], []

    def on_iteration(self, iteration):
        self.rows += iteration.rows()

    def on_image(self, outcome, done, total):
        self.images.append((outcome.record.stem, done, total))

    def on_run(self, result):
        self.results.append(result)


class Raising(Callback):
    def on_iteration(self, iteration):
        raise ValueError("boom")


@pytest.mark.parametrize("function", [attack, evaluate])
def test_what_a_callback_raises_ends_the_run_and_is_no_failure_of_the_model(detector, function):
    with pytest.raises(ValueError, match="boom"):
        function(PICTURES, detector, callbacks=[Raising()])


def test_a_classifier_of_more_logits_than_names_is_refused():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
    with pytest.raises(InputError, match=r"gives \[4\] logits of an image, and names 3 classes"):
        attack(torch.rand(2, 3, 8, 8), wrap_classifier(network, ["a", "b", "c"]))


def test_callbacks_are_told_of_iterations_images_and_the_result(detector):
    kept = Kept()
    found = attack(PICTURES, detector, callbacks=[kept])
    assert kept.images == [("image000001", 1, 2), ("image000002", 2, 2)]
    assert kept.results == [found]
    rows = [row for row in kept.rows if row[0] == "image000002"]
    record = found.records[1]
    assert [number for _, number, *_ in rows] == list(range(len(record.trace["loss"])))
    assert [round(loss, 6) for _, _, loss, _, _ in rows] == record.trace["loss"]
    assert [round(score, 6) for _, _, _, score, _ in rows] == record.trace["confidence"]
    run = evaluate(PICTURES, detector, callbacks=[kept])
    assert kept.results[-1] is run
    before = len(kept.rows)
    attack(PICTURES, detector)
    assert len(kept.rows) == before


def test_an_exception_of_a_callback_ends_the_run(detector):
    class Enough(Callback):
        def on_image(self, outcome, done, total):
            raise StopIteration("enough")

    with pytest.raises(StopIteration):
        attack(PICTURES[0], detector, callbacks=[Enough()])


@pytest.mark.parametrize("function", [attack, evaluate, compare])
@pytest.mark.parametrize(
    ("callbacks", "said"),
    [
        ([3], "callbacks: int is no Callback"),
        ("log", "callbacks: str is no Callback"),
        ([Kept], "callbacks: Kept is a class"),
        (3, "callbacks: expected a list of Callback, got int"),
        (Kept(), "callbacks: expected a list of Callback, got Kept"),
    ],
)
def test_what_is_no_callback_is_refused_in_a_line(function, callbacks, said):
    with pytest.raises(InputError, match=said) as error:
        function(PICTURES, "no model is loaded before", callbacks=callbacks)
    assert len(str(error.value).splitlines()) == 1


def test_callbacks_may_be_given_one_by_one(detector):
    kept = Kept()
    found = attack(PICTURES[:1], detector, method="fgsm", callbacks=iter([kept]))
    assert (len(kept.images), kept.results) == (1, [found])


def test_progress_is_shown(detector, capsys):
    attack(PICTURES, detector, progress=True)
    assert "2/2" in capsys.readouterr().err


def test_loggers_log_iterations_measures_and_the_summary(detector, monkeypatch):
    logged = []
    wandb = SimpleNamespace(init=lambda **options: SimpleNamespace(log=logged.append))
    mlflow = SimpleNamespace(log_metrics=lambda values, step: logged.append({**values, "step": step}))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    for logger in (WeightsAndBiases(project="p"), MLflow(every=2)):
        logged.clear()
        found = attack(PICTURES, detector, method="fgsm", callbacks=[logger])
        steps = [one["step"] for one in logged if "image000001/score" in one]
        assert steps == list(range(0, len(found.records[0].trace["loss"]), 2 if isinstance(logger, MLflow) else 1))
        assert [one["image/l2"] for one in logged if "image/l2" in one] == [r.quality["l2"] for r in found.records]
        assert logged[-1]["run/success_rate"] == 1


def test_loggers_tell_the_methods_of_a_comparison_apart(detector, monkeypatch):
    logged = []
    monkeypatch.setattr(MLflow, "log", lambda self, values, step: logged.append({*values}))
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace())
    api.compare(PICTURES[:1], detector, methods="fgsm,jnd", callbacks=[MLflow()])
    names = set.union(*logged)
    assert {"fgsm/image000001/loss", "jnd/image000001/loss", "fgsm/image/l2", "jnd/image/l2"} <= names
    assert "image/l2" not in names


def test_tensorboard_writes_events(detector, tmp_path):
    pytest.importorskip("tensorboard", reason="needs tensorboard (pip install tensorboard)")
    attack(PICTURES, detector, method="fgsm", callbacks=[TensorBoard(tmp_path)])
    assert next(tmp_path.iterdir()).stat().st_size > 100


def test_a_logger_without_its_library_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InputError, match="pip install mlflow"):
        MLflow()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: api.quality(PICTURES, PICTURES[:1]), "originals: 2 images, and 1 other"),
        (lambda: api.quality(PICTURES[0], PICTURES[0][:8]), "image 1: the two are of different sizes"),
        (lambda: api.quality(PICTURES[0], PICTURES[0], ["l3"]), "unknown quality measure 'l3'"),
        (lambda: api.compare(PICTURES, "demo", methods=[]), "methods: none is named"),
        (lambda: api.compare(PICTURES, "demo", methods="fgsm,fgsm"), "methods: one is named twice"),
        (lambda: api.rank([3], "x"), "detector: int is no Detector"),
        (lambda: api.evaluate(PICTURES, "demo", task="nothing"), "unknown task"),
    ],
)
def test_bad_input_is_said_in_a_line(call, said):
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value).startswith(said)
    assert len(str(error.value).splitlines()) == 1


def test_a_universal_change_is_found_shown_put_on_and_read_again(detector, tmp_path):
    pictures = [squares(f"car@{8 * (i % 5)},{8 * (i % 3)}", seed=i) for i in range(8)]
    found = api.universal(pictures, detector, budget="linf:40", tile=16, passes=10, held_out=3, out=tmp_path / "u")
    check_shown(found)
    assert (found["training_images"], found["judged_images"], found["clean"]) == (5, 3, None)
    changed = found.put_on(pictures[0])
    assert changed.dtype == "uint8"
    assert 0 < abs(changed.astype(int) - pictures[0]).max() <= 40
    again = load_run(tmp_path / "u")
    assert again.summary == found.summary
    assert torch.equal(again.saved.values, found.saved.values)
    patch = api.universal(
        pictures, detector, patch=8, on="car", share=0.25, passes=1, judged=[squares("car@24,8", seed=90)]
    )
    x, y = 8, 8
    outside = (patch.put_on(pictures[0], [(x, y, x + 16, y + 16)]) != pictures[0]).any(2)
    assert outside.any()
    assert not outside[:y].any()
    with pytest.raises(InputError, match="either a budget, such as linf:8, .* or a patch"):
        api.universal(pictures, detector)
    with pytest.raises(InputError, match="--tile goes with --budget"):
        api.universal(pictures, detector, patch=8, tile=8)
    with pytest.raises(InputError, match="expected one, such as 'linf:8'"):
        api.universal(pictures, detector, budget="linf:2,4")
