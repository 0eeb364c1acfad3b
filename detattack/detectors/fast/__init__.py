"""Acceleration of models: a copy that gives the same gradient in less time.

The model itself is never modified, and its own inference decides what counts as success.
"""

from detattack.detectors.fast.accelerated_copy import accelerated_copy
from detattack.detectors.fast.accelerated_detector import AcceleratedDetector

__all__ = ["AcceleratedDetector", "accelerated_copy"]
