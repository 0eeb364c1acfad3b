"""The saved files of a finished run before another detector, or after a change: how much of the attack is left."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detattack.core.errors import InputError
from detattack.core.faults import check_device
from detattack.core.locating import located
from detattack.core.precision import fixed_numerics
from detattack.datasets.corruptions import Change
from detattack.datasets.image_io import read_image, to_tensor
from detattack.datasets.rendered import read_source
from detattack.detectors.base import Detector
from detattack.metrics.rates import rate
from detattack.tasks.detection.attack_batch import detected
from detattack.tasks.detection.coco_export import coco_results, truth_of
from detattack.tasks.detection.config import RunConfig, make_config
from detattack.tasks.detection.goals import parse_goal
from detattack.tasks.detection.record import Record, RunFolder, as_lists, target_of
from detattack.tasks.detection.summary import average_precision

KEPT = ("images", "clean", "adversarial", "not_counted", "max_detections", "cut_images")
"""Of a summary's `ap`."""


@dataclass(frozen=True)
class Transfer:
    """What is left of a run's successes before a detector, after a change of both files.

    success: rate over the run's successes for which the goal does not hold already with the changed original;
    `already`: how many images there are for which it does. unread: images whose original is gone, or another by now.
    ap: clean and adversarial, of changed files, where the run has annotations; over all attacked images that can be
    read, successes or not, `images` of them, and the classes that this detector shares with the annotations.
    """

    model: str
    change: str
    success: dict[str, Any]
    already: int
    unread: int
    ap: dict[str, Any] | None


def transfer(
    folder: RunFolder, detector: Detector, change: Change, progress: Callable[[], None] = lambda: None
) -> Transfer:
    """Judges the files of a run's successes by `detector`, after `change`.

    The goal means the same class by name; boxes stay where they were. Raises `InputError` where the detector has no
    such class.
    """
    config = make_config(**folder.manifest["config"])
    parse_goal(config.goal).check(detector.categories)
    scored = bool(folder.manifest.get("annotated"))
    judged: list[Record] = []
    unread = 0
    for record in folder.iterate():
        if record.status not in ("success", "failure"):
            continue
        try:
            one = _judged(folder, detector, config, record, change)
            judged.append(replace(one, trace={}) if scored else one.short())  # detections are for AP alone
        except InputError:
            unread += 1
        except Exception as error:  # the model is someone else's code
            check_device(error, record.source)
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise InputError(f"model {detector.name}: fails on {record.source} ({said})") from error
        progress()
    won = [record for record in judged if record.reason == "success" and record.status != "already"]
    counted = [record for record in judged if record.reason == "success" and record.status == "success"]
    return Transfer(
        detector.name,
        str(change),
        rate(len(counted), len(won)),
        sum(record.status == "already" for record in judged),
        unread,
        _ap(folder, detector, judged, config.max_detections),
    )


@fixed_numerics(gradient=False)
def _judged(folder: RunFolder, detector: Detector, config: RunConfig, record: Record, change: Change) -> Record:
    """The record as the detector sees its changed files; `reason` is what it was in the run."""
    source = located(record.source, folder.path, folder.manifest)
    original = read_source(str(source or record.source)).pixels
    file = read_image(folder.path / "images" / f"{record.stem}.png").pixels
    if original.shape != file.shape or config.attack.levels is not None and not _is_as_far(original, file, record):
        raise InputError(f"{record.source}: is not the image that was attacked")
    clean, found = (detected(detector, config, to_tensor(change(pixels))) for pixels in (original, file))
    target = replace(target_of(record, detector), kept=())
    holds = [target.holds(one.above(config.score_threshold)) for one in (clean, found)]
    status = "already" if holds[0] else "success" if holds[1] else "failure"
    return replace(record, reason=record.status, status=status, clean=as_lists(clean), adversarial=as_lists(found))


def _is_as_far(original: np.ndarray, file: np.ndarray, record: Record) -> bool:
    """Whether a file is as far from its original as the run found, so that this is still the same image."""
    distance = float(np.linalg.norm(original.astype(np.float64) - file)) / 255
    return math.isclose(distance, record.quality.get("l2") or 0.0, rel_tol=1e-3, abs_tol=1e-6)


def _ap(folder: RunFolder, detector: Detector, judged: list[Record], most: int) -> dict[str, Any] | None:
    truth = truth_of(folder)

    def results(which: Any) -> Callable[[], Iterator[dict[str, Any]]]:
        return lambda: coco_results(judged, detector, truth, which)

    scores = average_precision(truth, detector, [r.id for r in judged], results("clean"), results("adversarial"), most)
    return None if scores is None else {key: scores[key] for key in KEPT if key in scores}
