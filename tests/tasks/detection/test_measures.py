"""What a run did to each class."""

from dataclasses import replace

from detattack.tasks.detection.measures import ClassRow, ClassTally
from detattack.tasks.detection.record import DetectionRecord, as_lists
from tests.tasks.detection.drawn import NAMES, found


def test_rows_of_classes_by_hand():
    clean = found((0, 0, 10, 10, 0.9, 1), (20, 0, 30, 10, 0.8, 1), (0, 20, 10, 30, 0.7, 0), (0, 0, 5, 5, 0.1, 2))
    after = found((0, 0, 10, 9, 0.6, 1), (40, 40, 50, 50, 0.9, 1), (0, 20, 10, 30, 0.5, 0))
    record = DetectionRecord(
        1, "a", "a", "success", quality={"l2": 1.0}, clean=as_lists(clean), adversarial=as_lists(after)
    )
    tally = ClassTally(0.5)
    for one in (record, replace(record, status="failure", adversarial=as_lists(clean)), replace(record, quality={})):
        tally.add(one)
    assert tally.labels == {0, 1, 2}
    assert tally.rows(NAMES) == [
        ClassRow("car", images=2, successes=1, before=4, after=4, kept=3),
        ClassRow("person", images=2, successes=1, before=2, after=1, kept=1),
    ]
