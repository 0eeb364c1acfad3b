"""Which detection has which object, worked out by hand."""

import numpy as np

from detattack.metrics.matching import NONE, matches


def test_the_strongest_detection_takes_the_object_that_it_overlaps_most():
    overlap = np.array([[0.6, 0.8], [0.55, 0.9], [0.52, 0.7]])
    assert matches(overlap, [0.5]).tolist() == [[1, 0, NONE]]


def test_of_equal_objects_the_last_is_taken():
    overlap = np.array([[0.8, 0.8, 0.3], [0.8, 0.6, 0.3]])
    assert matches(overlap, [0.5]).tolist() == [[1, 0]]


def test_each_threshold_has_matches_of_its_own():
    overlap = np.array([[0.6, 0.0], [0.9, 0.55]], np.float32)
    assert matches(overlap, [0.5, 0.75]).tolist() == [[0, 1], [NONE, 0]]


def test_an_object_is_taken_from_the_threshold_on():
    assert matches(np.array([[0.55], [0.0]], np.float32), [0.55]).tolist() == [[0, NONE]]


def test_without_detections_or_objects_nothing_is_taken():
    assert matches(np.zeros((0, 2)), [0.5]).shape == (1, 0)
    assert matches(np.zeros((2, 0)), [0.5, 0.9]).tolist() == [[NONE, NONE]] * 2
