"""What is held of a run folder, and what is looked at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detattack.core.errors import InputError
from detattack.report.reading import EvenSample, read_derived, read_run
from detattack.runs.folder import RunFolder
from detattack.tasks.detection.record import DetectionRecord
from tests.report.conftest import outcome


@given(st.integers(0, 300), st.integers(1, 12))
def test_a_sample_is_even_and_of_no_more_than_asked_for(count, most):
    sample: EvenSample[int] = EvenSample(most)
    for i in range(count):
        sample.add(i)
    assert sample.count == count
    assert len(sample.items) <= most
    assert len(sample.items) >= min(count, most / 2)
    step = sample.items[1] if len(sample.items) > 1 else max(count, 1)
    assert sample.items == list(range(0, count, step))


def test_records_are_held_without_what_is_long_and_streamed_with_it(run):
    seen: list[DetectionRecord] = []
    data = read_run(run, DetectionRecord, seen.append)
    assert data.records == [record.short() for record in seen]
    assert not any(record.clean or record.adversarial or record.trace for record in data.records)
    assert list(data.whole()) == seen
    traced = [record for record in seen if record.trace]
    assert data.traces.items == [(record.trace["confidence"], record.k) for record in traced]


def test_images_that_a_running_process_adds_are_not_streamed(run, tmp_path):
    data = read_run(run, DetectionRecord)
    folder = RunFolder.create(run, DetectionRecord, data.manifest, resume=True)
    folder.commit([outcome(tmp_path, 40, "later", "success")])
    folder.close()
    assert [record.id for record in data.whole()] == [record.id for record in data.records]


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "[1]"])
def test_a_derived_file_that_is_none(tmp_path, text):
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(InputError, match="summary.json"):
        read_derived(tmp_path / "summary.json", dict)
    assert read_derived(tmp_path / "clean.json", list) == []
