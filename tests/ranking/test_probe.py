"""The look at a detector before it is attacked: what it raises on one image concerns that image alone."""

from pathlib import Path

import pytest

from detattack.core.errors import InputError
from detattack.core.faults import DeviceBroken
from detattack.datasets.source import DatasetSource
from detattack.ranking.probe import probe
from detattack.ranking.protocol import load_protocol
from detattack.workflows.rank import Ranked, Ranking, first_experiment
from tests.coco_squares import write_data
from tests.ranking.conftest import SHORT, TOY, impostor
from tests.toy_detector import is_marked


@pytest.fixture
def marked(tmp_path) -> Ranking:
    """Four images, of which the first is marked, and the last shows nothing."""
    _, images, _, annotations = write_data(tmp_path, 4, mark=0)
    return Ranking(load_protocol(str(SHORT)), DatasetSource(images=images, annotations=annotations), device="cpu")


def looked(name: str, ranking: Ranking):
    return probe(first_experiment(Ranked(name), ranking), ranking.protocol.diagnoses)


@pytest.mark.parametrize("name", ["Frail", "Keyless", "Trained"])
def test_an_image_that_the_model_fails_on_is_passed_over(marked, name):
    seen = looked(impostor(name), marked)
    assert seen == looked(TOY, marked).plus(type(seen)(images=-1, stepped=-1, lowered=-1))
    assert seen.images == 2


def test_an_image_that_cannot_be_read_is_passed_over(marked):
    experiment = first_experiment(Ranked(TOY), marked)
    Path(experiment.dataset.samples[0].source).write_bytes(b"no image")
    assert probe(experiment, marked.protocol.diagnoses).images == 2


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (InputError("the model is no model"), InputError),
        (RuntimeError("CUDA error: device-side assert triggered"), DeviceBroken),
    ],
)
def test_what_concerns_every_image_ends_it(marked, monkeypatch, raised, expected):
    experiment = first_experiment(Ranked(TOY), marked)
    candidates = experiment.model.candidates

    def failing(images, extra_boxes=None):
        if is_marked(images):
            raise raised
        return candidates(images, extra_boxes)

    monkeypatch.setattr(experiment.model, "candidates", failing)
    with pytest.raises(expected):
        probe(experiment, marked.protocol.diagnoses)
