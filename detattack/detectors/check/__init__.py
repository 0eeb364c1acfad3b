"""`detattack models check`: whether an adapter keeps the contract of `detattack.detectors.base`.

`detector` runs the checks in order; each of them has a module or a function of its own. Works on any detector,
trained or not.
"""

from detattack.detectors.check.detector import check_detector
from detattack.detectors.check.findings import Finding
from detattack.detectors.check.pictures import check_pictures

__all__ = ["Finding", "check_detector", "check_pictures"]
