"""A model that gives no numbers from some iteration on, that raises, or that runs out of memory: its image is an error,
and the others have the bytes that they have without it."""

import io
import json
import sqlite3
from pathlib import Path

import pytest
from coco_squares import write_data
from PIL import Image

from detattack.cli import status_of

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

def make(fault, at):
    return lambda device: type("Once", (Faulty,), {"fault": fault, "at": at})(device)

def mislabeled(label):
    def detect(self, images, score_threshold):
        found = Toy.detect(self, images, score_threshold)
        found[0].labels[:] = label
        return found
    return type("Mislabeled", (Toy,), {"detect": detect})

swallowing = Swallowing
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


def images_of(tmp_path: Path, model: str, out: str, *options: str) -> dict[int, tuple[str, str, bytes]]:
    """Status and PNG of each image of a run, the one that some trip over marked."""
    data = write_data(tmp_path, 5, mark=MARKED)
    line = ["evaluate", *data, "--model", model, *RUN, *options, "--out", str(tmp_path / out)]
    assert status_of(line) == 0
    folder = tmp_path / out
    with sqlite3.connect(folder / "ledger.sqlite") as rows:
        records = [json.loads(record) for (record,) in rows.execute("SELECT record FROM images")]
    rows.close()
    return {r["id"]: (r["status"], r["reason"], (folder / "images" / f"{r['stem']}.png").read_bytes()) for r in records}


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
