"""Where a data set came from, as a manifest records it."""

import json
from pathlib import Path

import pytest

from detattack.core.errors import InputError
from detattack.datasets.source import DatasetSource, read_dataset_source

SOURCES = [
    DatasetSource(files=("/a/1.png", "/b/2.png"), limit=3),
    DatasetSource(images="/a", annotations="/a.json", skip=2),
    DatasetSource(images="/cifar", split="test", only_right=True),
    DatasetSource(scenes=4, seed=9),
    DatasetSource(side=32),
]


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_a_round_trip_through_json_without_defaults(source):
    written = json.loads(json.dumps(source.as_json()))
    assert read_dataset_source(written, "run") == source
    assert DatasetSource().as_json() == {}
    assert "labels" not in written


@pytest.mark.parametrize("values", [None, {"images": 3}, {"files": "a"}, {"shell": "rm"}, [], {"scenes": "many"}])
def test_what_cannot_be_read_is_said(values):
    with pytest.raises(InputError, match="^run: does not say where its images came from"):
        read_dataset_source(values, "run")


def test_moved_data_is_opened_where_it_is_now():
    files = SOURCES[0].moved(Path("/now"), None, None)
    assert files.files == ("/now/1.png", "/now/2.png")
    folder = SOURCES[1].moved(Path("/now"), Path("/now.json"), None)
    assert (folder.images, folder.annotations, folder.skip) == ("/now", "/now.json", 2)
    assert SOURCES[1].moved(None, None, None) == SOURCES[1]
    for given in ((Path("/now"), None, None), (None, Path("/now"), None), (None, None, Path("/now"))):
        with pytest.raises(InputError, match="the run has none that could have moved"):
            SOURCES[3].moved(*given)
