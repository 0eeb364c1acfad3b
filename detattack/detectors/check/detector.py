"""Run all checks on a detector. Each property gets a verdict of its own, so that a fault is called by its name."""

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from detattack.core.errors import kind_and_reason
from detattack.core.types import Detections
from detattack.detectors.base import Detector
from detattack.detectors.check.annotations import check_box_places, check_names
from detattack.detectors.check.candidates import check_shortcut
from detattack.detectors.check.contract import (
    check_category_ids,
    check_contract,
    check_sizes,
    check_untouched,
    state_of,
)
from detattack.detectors.check.findings import Failed, Finding
from detattack.detectors.check.gradient import check_gradient
from detattack.detectors.check.inference import (
    check_batch,
    check_determinism,
    check_parity,
    check_reported_columns,
    check_scores,
)
from detattack.detectors.check.pictures import SIZES, check_pictures
from detattack.detectors.check.subject import Subject
from detattack.detectors.defended import Defended


def check_detector(
    detector: Detector,
    count: int = 6,
    images: Sequence[Tensor] = (),
    truth: Sequence[Detections] = (),
    seed: int = 0,
) -> Iterator[Finding]:
    """Yield the findings on a detector one by one. It is left as it was found, or `left untouched` says so.

    - detector: The adapter to check.
    - count: How many pictures to make and compare on.
    - images: Photos `[3,H,W]` to compare `select` and `detect` on instead.
    - truth: True boxes and labels of each photo, by which the names of categories are checked; none: not checked.
    - seed: Seed of the steps along which the gradient is followed.
    """
    before = state_of(detector)
    subject = Subject(detector, check_pictures(len(SIZES) if images else count, detector.device))
    compared = Subject(detector, [image[None].to(detector.device) for image in images]) if images else subject
    files, floats = check_pictures(2, detector.device)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("contract", lambda: check_contract(subject)),
        ("sizes", lambda: check_sizes(subject)),
        ("parity", lambda: check_parity(compared)),
        ("scores", lambda: check_scores(compared)),
        ("columns", lambda: check_reported_columns(compared)),
        ("boxes", lambda: check_box_places(compared, truth)),
        ("gradient", lambda: _check_gradient(detector, files, floats, seed)),
        ("id mapping", lambda: check_category_ids(compared)),
        ("determinism", lambda: check_determinism(subject)),
        ("batch", lambda: check_batch(subject)),
    ]
    if callable(getattr(detector, "logits", None)):
        checks.append(("logits", lambda: check_shortcut(detector, subject.pictures[0])))
    if truth:
        checks.append(("names", lambda: check_names(compared, truth)))
    checks.append(("left untouched", lambda: check_untouched(detector, before)))
    for name, check in checks:
        yield _finding(name, check)


def _check_gradient(detector: Detector, files: Tensor, floats: Tensor, seed: int) -> str:
    """Check a gradient; behind a defense that of the detector alone: a codec has steps, and its gradient skips them."""
    if not isinstance(detector, Defended):
        return check_gradient(detector, files, floats, seed)
    told = check_gradient(detector.detector, files, floats, seed)
    return f"{told}; without {detector.defense.name}, whose own gradient may be an approximation"


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "passed", check())
    except Failed as failure:
        return Finding(name, failure.verdict, str(failure))
    except Exception as error:  # whatever a third party's adapter raises
        return Finding(name, "failed", f"raises {kind_and_reason(error)}")
