"""A model that gives no numbers from some iteration on, that raises, or that runs out of memory: its image is an error,
and the others have the bytes that they have without it."""

import io
import json
import sqlite3
from pathlib import Path

import pytest
from PIL import Image

from detattack.cli import status_of
from tests.coco_squares import write_data

FAULTY = '''
import os, signal, time
from pathlib import Path
import torch
from toy import Toy, is_marked

class Faulty(Toy):
    """Does what `fault` says at the `at`-th look at the marked image with a gradient, and from then on."""

    fault, at, looks = "nan", 0, 0

    def candidates(self, images, extra_boxes=None):
        found = super().candidates(images, extra_boxes)
        if not (images.requires_grad and is_marked(images)):
            return found
        type(self).looks += 1
        if self.looks <= self.at:
            return found
        if self.fault == "raise":
            raise RuntimeError("out of cheese")
        if self.fault == "memory":
            raise MemoryError
        bad = torch.full_like(found.logits, float(self.fault))
        return type(found)(found.boxes, torch.where(torch.tensor(True), bad + 0 * found.logits, bad))

class Small(Toy):
    """Room for one image at a time."""

    def candidates(self, images, extra_boxes=None):
        if len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().candidates(images, extra_boxes)

class Deaf(Toy):
    """Can be attacked, and raises where it is judged."""

    def detect(self, images, score_threshold):
        from pathlib import Path
        if is_marked(images) and Path(__file__).with_name("deaf").exists():
            raise RuntimeError("out of cheese")
        return super().detect(images, score_threshold)

class Swallowing(Toy):
    """Is interrupted, and turns that into an error of its own."""

    def candidates(self, images, extra_boxes=None):
        self.interrupted("interrupt", images)
        return super().candidates(images, extra_boxes)

    def detect(self, images, score_threshold):
        self.interrupted("interrupt detect", images)
        return super().detect(images, score_threshold)

    def interrupted(self, name, images):
        flag = Path(__file__).with_name(name)
        if is_marked(images) and flag.exists():
            flag.unlink()
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(10)
            except KeyboardInterrupt:
                raise RuntimeError("out of cheese")

class Breaking(Toy):
    """Breaks its device for the whole process on the marked image, as long as a file `broken` lies beside this one."""

    broken = False

    def detect(self, images, score_threshold):
        type(self).broken |= is_marked(images) and Path(__file__).with_name("broken").exists()
        if self.broken:
            raise RuntimeError(Path(__file__).with_name("broken").read_text())
        return super().detect(images, score_threshold)

def breaking(device):
    return type("Once", (Breaking,), {})(device)

class Dropping(Toy):
    """Leaves out hopeless candidates: an image without any has none."""

    def candidates(self, images, extra_boxes=None):
        found = super().candidates(images, extra_boxes)
        seen = (found.logits > 0).any(2).any(0)
        logits = found.logits[:, seen] if seen.any() else torch.zeros(len(images), 0, 3)
        return type(found)(found.boxes[:, seen], logits)

class Cut(Toy):
    """Lets no gradient through."""

    def candidates(self, images, extra_boxes=None):
        return super().candidates(images.detach(), extra_boxes)

dropping, cut = Dropping, Cut

def make(fault, at):
    return lambda device: type("Once", (Faulty,), {"fault": fault, "at": at})(device)

def mislabeled(label):
    def detect(self, images, score_threshold):
        found = Toy.detect(self, images, score_threshold)
        found[0].labels[:] = label
        return found
    return type("Mislabeled", (Toy,), {"detect": detect})

class Percents(Toy):
    def detect(self, images, score_threshold):
        found = Toy.detect(self, images, score_threshold)
        found[0].scores.mul_(100)
        return found

swallowing, percents = Swallowing, Percents
small, deaf, labels_3, labels_minus_1 = Small, Deaf, mislabeled(3), mislabeled(-1)
for fault in ("nan", "inf", "raise", "memory"):
    for at in (0, 1, 3):
        globals()[f"{fault}_{at}"] = make(fault, at)
'''
MARKED = 1
RUN = ("--device", "cpu", "--quality", "quick", "--quiet", "--max-iterations", "30")


@pytest.fixture
def adapter(toy, tmp_path, monkeypatch) -> str:
    (tmp_path / "toy.py").write_bytes(Path(toy).read_bytes())
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "faulty_adapter.py").write_text(FAULTY)
    return str(tmp_path / "faulty_adapter.py")


def records_of(folder: Path) -> list[dict]:
    with sqlite3.connect(folder / "ledger.sqlite") as rows:
        records = [json.loads(record) for (record,) in rows.execute("SELECT record FROM images ORDER BY id DESC")]
    rows.close()
    return records


def images_of(tmp_path: Path, model: str, out: str, *options: str) -> dict[int, tuple[str, str, bytes]]:
    """Status and PNG of each image of a run, the one that some trip over marked."""
    data = write_data(tmp_path, 5, mark=MARKED)
    line = ["evaluate", *data, "--model", model, *RUN, *options, "--out", str(tmp_path / out)]
    assert status_of(line) == 0
    folder = tmp_path / out
    return {
        r["id"]: (r["status"], r["reason"], (folder / "images" / f"{r['stem']}.png").read_bytes())
        for r in records_of(folder)
    }


@pytest.mark.parametrize("at", [0, 1, 3])
@pytest.mark.parametrize("fault", ["nan", "inf", "raise", "memory"])
def test_an_image_that_the_model_fails_on_at_some_iteration_is_an_error_alone(adapter, toy, tmp_path, fault, at):
    healthy = images_of(tmp_path, f"{toy}:factory", "healthy")
    faulty = images_of(tmp_path, f"{adapter}:{fault}_{at}", "faulty")
    marked = 100 - MARKED
    status, reason, png = faulty.pop(marked)
    assert status == "error"
    assert {"raise": "out of cheese", "memory": "MemoryError"}.get(fault, "not finite") in reason
    with Image.open(io.BytesIO(png)) as written, Image.open(tmp_path / "data" / "1" / "i0.png") as original:
        assert written.tobytes() == original.tobytes()  # it completes the data set
    del healthy[marked]
    assert faulty == healthy


def test_a_batch_that_does_not_fit_the_memory_is_made_smaller(adapter, toy, tmp_path):
    alone = images_of(tmp_path, f"{toy}:factory", "alone")
    together = images_of(tmp_path, f"{adapter}:small", "together", "--batch", "4")
    assert together == alone


def test_a_model_that_raises_where_a_file_is_judged_again(adapter, tmp_path, capsys):
    images_of(tmp_path, f"{adapter}:deaf", "run")
    assert status_of(["verify", str(tmp_path / "run"), "--trust"]) == 0
    (tmp_path / "deaf").touch()
    capsys.readouterr()
    assert status_of(["verify", str(tmp_path / "run"), "--trust"]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines() == ["images/i0-99.png: cannot be judged (RuntimeError: out of cheese)"]
    assert status_of(["verify", str(tmp_path / "run"), "--model", f"{adapter}:deaf", "--quiet"]) == 2
    assert "out of cheese" in capsys.readouterr().err


def test_an_interrupt_that_the_model_swallows_is_no_error_of_its_own(adapter, toy, tmp_path):
    healthy = images_of(tmp_path, f"{toy}:factory", "healthy")
    (tmp_path / "interrupt").touch()
    line = ["evaluate", *write_data(tmp_path, 5, mark=MARKED), "--model", f"{adapter}:swallowing", *RUN]
    assert status_of([*line, "--out", str(tmp_path / "run")]) == 130
    assert images_of(tmp_path, f"{adapter}:swallowing", "run", "--resume") == healthy


def test_an_interrupt_that_the_model_swallows_spoils_no_trial(adapter, toy, tmp_path):
    pytest.importorskip("optuna")
    data = write_data(tmp_path, 3, mark=MARKED)
    line = ["tune", *data, "--goal", "suppress:car", "--method", "fgsm", "--trials", "2", "--device", "cpu", "--quiet"]
    assert status_of([*line, "--model", f"{toy}:factory", "--out", str(tmp_path / "healthy")]) == 0
    (tmp_path / "interrupt").touch()
    swallowing = [*line, "--model", f"{adapter}:swallowing", "--out", str(tmp_path / "tuned")]
    assert status_of(swallowing) == 130
    assert not (tmp_path / "interrupt").exists()
    assert status_of([*swallowing, "--resume"]) == 0
    assert (tmp_path / "tuned" / "trials.csv").read_text() == (tmp_path / "healthy" / "trials.csv").read_text()


def test_an_interrupt_that_the_model_swallows_is_no_verdict(adapter, tmp_path, capsys):
    images_of(tmp_path, f"{adapter}:swallowing", "run")
    (tmp_path / "interrupt detect").touch()
    capsys.readouterr()
    assert status_of(["verify", str(tmp_path / "run"), "--trust"]) == 130
    assert not (tmp_path / "interrupt detect").exists()
    assert "cannot be judged" not in capsys.readouterr().err
    assert status_of(["verify", str(tmp_path / "run"), "--trust"]) == 0


@pytest.mark.parametrize("label", ["minus_1", "3"])
def test_labels_that_the_model_has_no_class_for(adapter, tmp_path, label):
    found = images_of(tmp_path, f"{adapter}:labels_{label}", "run")
    assert {status for status, _, _ in found.values()} == {"error", "nothing"}
    assert any("labels are not all from 0 to 2" in reason for _, reason, _ in found.values())


def test_scores_that_are_no_shares(adapter, tmp_path):
    found = images_of(tmp_path, f"{adapter}:percents", "run")
    assert {status for status, _, _ in found.values()} == {"error", "nothing"}
    assert any("at most, are not all from 0 to 1" in reason for _, reason, _ in found.values())


BREAKING = [
    "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported",
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: unspecified launch failure",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "HIP error: the operation cannot be performed... hipErrorIllegalAddress",
    "MPS: command buffer exited with error status",
]


@pytest.mark.parametrize("said", BREAKING, ids=range(len(BREAKING)))
def test_an_error_that_breaks_the_device_is_no_error_of_any_image(adapter, toy, tmp_path, capsys, said):
    healthy = images_of(tmp_path, f"{toy}:factory", "healthy")
    (tmp_path / "broken").write_text(said)
    line = ["evaluate", *write_data(tmp_path, 5, mark=MARKED), "--model", f"{adapter}:breaking", *RUN]
    line += ["--out", str(tmp_path / "run")]
    capsys.readouterr()
    assert status_of(line) == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert "i0.png: the device failed" in told
    assert "the run stopped at a consistent state" in told
    assert f"--out {tmp_path / 'run'} --resume goes on" in told
    assert [record["id"] for record in records_of(tmp_path / "run")] == [100]
    assert status_of([*line, "--resume"]) == 1  # still broken
    assert [record["id"] for record in records_of(tmp_path / "run")] == [100]
    (tmp_path / "broken").unlink()
    assert images_of(tmp_path, f"{adapter}:breaking", "run", "--resume") == healthy


def test_a_device_that_breaks_while_files_are_judged_again_is_no_verdict(adapter, tmp_path, capsys):
    images_of(tmp_path, f"{adapter}:breaking", "run")
    (tmp_path / "broken").write_text(BREAKING[0])
    for options in (["--trust"], ["--model", f"{adapter}:breaking"]):
        capsys.readouterr()
        assert status_of(["verify", str(tmp_path / "run"), "--quiet", *options]) == 1
        (told,) = capsys.readouterr().err.splitlines()
        assert "the device failed" in told


def test_an_image_without_a_gradient_is_an_error_alone(adapter, toy, tmp_path):
    """The model drops hopeless candidates, of which the last image, where a car should appear, has no other."""
    healthy = images_of(tmp_path, f"{toy}:factory", "healthy", "--goal", "inject:car@random")
    found = images_of(tmp_path, f"{adapter}:dropping", "run", "--goal", "inject:car@random")
    assert [status for status, _, _ in found.values()].count("error") == 1
    status, reason, _ = found.pop(96)
    assert status == "error"
    assert "lets no gradient through to the image" in reason
    assert {*found, 96} == {*healthy}


def test_images_without_a_gradient_before_the_first_that_has_one(adapter, tmp_path):
    data = write_data(tmp_path, 5)
    file = Path(data[3])
    content = json.loads(file.read_text())
    content["images"].reverse()  # the empty image comes first
    file.write_text(json.dumps(content))
    line = ["evaluate", *data, "--model", f"{adapter}:dropping", *RUN, "--goal", "inject:car@random"]
    assert status_of([*line, "--out", str(tmp_path / "run")]) == 0
    statuses = [record["status"] for record in records_of(tmp_path / "run")]
    assert statuses.pop() == "error"
    assert "error" not in statuses


@pytest.mark.parametrize("batch", ["1", "2"])
def test_a_model_without_any_gradient_is_refused_and_nothing_recorded(adapter, tmp_path, capsys, batch):
    line = ["evaluate", *write_data(tmp_path, 5), "--model", f"{adapter}:cut", *RUN, "--batch", batch]
    capsys.readouterr()
    assert status_of([*line, "--out", str(tmp_path / "run")]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told == "detattack: model toy: lets no gradient through to the image, so it cannot be attacked"
    assert records_of(tmp_path / "run") == []


@pytest.mark.parametrize("quality", ["quick", "all"])
def test_errors_are_tried_again_where_asked_for(adapter, toy, tmp_path, capsys, quality):
    options = ("--quality", quality)
    healthy = images_of(tmp_path, f"{toy}:factory", "healthy", *options)
    data = write_data(tmp_path, 5, mark=MARKED)
    (tmp_path / "deaf").touch()
    line = ["evaluate", *data, "--model", f"{adapter}:deaf", *RUN, *options, "--out", str(tmp_path / "run")]
    assert status_of(line) == 0
    assert [r["status"] for r in records_of(tmp_path / "run")].count("error") == 1
    (tmp_path / "deaf").unlink()
    capsys.readouterr()
    assert status_of([*line, "--retry-errors"]) == 2
    assert "--retry-errors goes with --resume" in capsys.readouterr().err
    assert status_of([*line, "--resume"]) == 0
    assert [r["status"] for r in records_of(tmp_path / "run")].count("error") == 1
    assert images_of(tmp_path, f"{adapter}:deaf", "run", *options, "--resume", "--retry-errors") == healthy
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["error"] == 0
    assert status_of(["verify", str(tmp_path / "run"), "--trust", "--quiet"]) == 0
