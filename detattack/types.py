"""The types that third-party adapters build on: a stable address, whatever `detattack.core` looks like inside.

`detattack.detectors.base` has the protocol `Detector` and offers the first three of these as well.
"""

from detattack.core.types import Candidates, Category, Detections, DetectorCard, Evaluation

__all__ = ["Candidates", "Category", "Detections", "DetectorCard", "Evaluation"]
