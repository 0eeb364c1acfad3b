"""MAITE both ways: its tools on our detectors and data sets, and its models and data sets here."""

import numpy as np
import pytest
import torch

from detattack.api import InputError, MaiteDataset, MaiteModel, attack, evaluate, load_detector, open_data, wrap
from detattack.cli import status_of
from detattack.datasets.image_io import to_tensor
from tests.datasets.test_memory import NAMES, PICTURES, TARGETS, boxes
from tests.detectors.random_networks import assert_same
from tests.toy_pictures import squares


@pytest.fixture
def detector(toy):
    return load_detector(f"{toy}:factory", "cpu")


@pytest.fixture
def data():
    return open_data(list(zip(PICTURES, TARGETS, strict=True)), categories=NAMES)


def test_its_tools_predict_with_ours(detector, data):
    maite = pytest.importorskip("maite", reason="needs maite (pip install '.[maite]')")
    from maite.protocols import object_detection as od
    from maite.tasks import predict

    model, dataset = MaiteModel(detector, 0.5), MaiteDataset(data)
    assert maite
    assert isinstance(model, od.Model)
    assert isinstance(dataset, od.Dataset)
    batches, _ = predict(model=model, dataset=dataset, batch_size=2)
    found = [one for batch in batches for one in batch]
    assert all(isinstance(one, od.ObjectDetectionTarget.__origin__) for one in found)
    for one, picture in zip(found, PICTURES, strict=True):
        (ours,) = detector.detect(to_tensor(picture)[None], 0.5)
        np.testing.assert_array_equal(one.boxes, ours.boxes)
        np.testing.assert_array_equal(one.labels, ours.labels)
        np.testing.assert_array_equal(one.scores, ours.scores)


def test_a_detector_there_and_back(detector):
    back = wrap(MaiteModel(detector, 0.0))
    assert [c.name for c in back.categories] == [c.name for c in detector.categories]
    images = torch.stack([to_tensor(picture) for picture in PICTURES])
    for ours, theirs in zip(back.detect(images, 0.1), detector.detect(images, 0.1), strict=True):
        assert_same(ours, theirs)
    by_pixels = wrap(MaiteModel(detector, 0.0), pixels=True)
    assert_same(by_pixels.detect(images, 0.1)[0], detector.detect(images, 0.1)[0])


def test_a_data_set_there_and_back(data):
    back = open_data(MaiteDataset(data))
    assert boxes(back) == boxes(data)
    assert back.categories == data.categories
    assert back.fingerprint == data.fingerprint
    image, truth, metadata = MaiteDataset(data)[0]
    assert (image.shape, image.dtype, metadata) == ((3, 48, 64), np.uint8, {"id": 1})
    assert truth.boxes.tolist() == [[8, 8, 24, 24], [40, 16, 56, 32]]


def test_crowds_are_no_objects_there():
    target = [{"bbox": [8, 8, 16, 16], "category_id": 1, "iscrowd": 1}]
    assert len(MaiteDataset(open_data([(squares(), target)], categories=NAMES))[0][1].labels) == 0


def test_a_model_without_a_gradient_is_not_attacked(detector, data, tmp_path):
    back = wrap(MaiteModel(detector))
    said = r"model toy: has no gradient here; it judges images \(verify --model, --transfer-to\)"
    with pytest.raises(InputError, match=said):
        attack(PICTURES[0], back)
    with pytest.raises(InputError, match=said):
        evaluate(data, back, out=tmp_path / "run")
    with pytest.raises(InputError, match=said):
        back.candidates(torch.zeros(1, 3, 48, 64))


def test_such_a_model_judges_a_run(toy, picture, tmp_path, capsys):
    adapter = tmp_path / "judge.py"
    adapter.write_text(
        "from detattack.api import MaiteModel, load_detector, wrap\n"
        f"def factory(device):\n    return wrap(MaiteModel(load_detector({toy + ':factory'!r}, device), 0.0))\n"
    )
    line = ["untargeted", str(picture("a", "car@8,8")), "--model", f"{toy}:factory", "--out", str(tmp_path / "run")]
    assert status_of([*line, "--quiet"]) == 0
    assert status_of(["verify", str(tmp_path / "run"), "--model", f"{adapter}:factory"]) == 0
    assert "1" in capsys.readouterr().out
    assert status_of(["untargeted", str(tmp_path / "a.png"), "--model", f"{adapter}:factory"]) == 2


def test_labels_and_names_that_are_missing(detector, data):
    class Nameless:
        metadata = {"id": "nameless"}

        def __call__(self, batch):
            return []

    with pytest.raises(InputError, match="pass categories"):
        wrap(Nameless())
    model = MaiteModel(detector, 0.0)
    model.metadata = {"id": "short", "index2label": {7: "car"}}
    with pytest.raises(InputError, match="model short: reports label 0, which index2label does not name"):
        wrap(model).detect(to_tensor(PICTURES[0])[None], 0.1)
    dataset = MaiteDataset(data)
    dataset.metadata = {"id": "nameless"}
    with pytest.raises(InputError, match="data nameless: has no index2label"):
        open_data(dataset)
