"""A finished run judged again from its files alone, by the detector's official inference."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from detattack.core.errors import InputError
from detattack.core.faults import check_device
from detattack.core.interrupts import interrupts
from detattack.core.locating import located_config
from detattack.core.precision import fixed_numerics
from detattack.core.trust import check_trust
from detattack.datasets.image_io import read_floats, read_image, to_tensor
from detattack.detectors.base import Detector
from detattack.detectors.registry import fingerprint, load_detector
from detattack.engine import Attack
from detattack.runs.record import BaseRecord, R
from detattack.tasks.detection.attack_batch import detected
from detattack.tasks.detection.config import RunConfig, make_config
from detattack.tasks.detection.record import Record, RunFolder, target_of


@dataclass(frozen=True)
class Verdict:
    """Of one image: its file, whether the goal holds for it, and what disagrees with the ledger, if anything."""

    file: str
    success: bool
    problem: str = ""


def verify_run(path: Path, device: str = "auto", trust: bool = False) -> Iterator[Verdict]:
    """Judges every attacked image of a detector's run again, one by one; untouched ones are checked to be whole.

    trust: as of `check_trust`. Raises `InputError`.
    """
    with closing(RunFolder.open(path)) as folder:
        config = make_config(**located_config(path, folder.manifest))
        check_trust(path, config.model, trust)
        detector = load_detector(config.model, device, config.weights, config.categories)
        if fingerprint(detector) != folder.manifest["model"]:
            raise InputError(f"{path}: model {config.model} is not the one that was attacked (other weights)")
        yield from verdicts(path, folder.iterate(), partial(_holds, path, detector, config))


def verdicts(path: Path, records: Iterable[R], holds: Callable[[R], bool]) -> Iterator[Verdict]:
    """Yields the verdicts on the images of the run in `path` that have a file.

    holds: whether the goal holds for what a record tells.
    """
    with interrupts() as check:
        for record in records:
            if record.digest:
                verdict = _verdict(path, record, holds)
                check()  # it may be of an interrupt's making
                yield verdict


def _verdict(path: Path, record: R, holds: Callable[[R], bool]) -> Verdict:
    name = f"images/{record.stem}.png"
    floats = f"floats/{record.stem}.npy"
    try:
        read_image(path / name)
        success = record.status in ("success", "failure") and holds(record)
        whole = _is_whole(path / name, record.digest)
        floats_whole = not record.floats_digest or _is_whole(path / floats, record.floats_digest)
    except (OSError, ValueError, InputError) as error:
        return Verdict(name, False, f"cannot be read ({error})")
    except Exception as error:  # the model is someone else's code
        check_device(error, name)
        return Verdict(name, False, f"cannot be judged ({type(error).__name__}: {' '.join(str(error).split())})")
    if not whole:
        return Verdict(name, success, "is not the file that the run wrote")
    if not floats_whole:
        return Verdict(name, success, f"{floats} is not the file that the run wrote")
    if success != (record.status == "success"):
        return Verdict(name, success, f"judged {'success' if success else 'failure'}, the ledger says {record.status}")
    return Verdict(name, success)


def _is_whole(file: Path, digest: str) -> bool:
    return hashlib.sha256(file.read_bytes()).hexdigest() == digest


def judged_image(path: Path, attack: Attack, record: BaseRecord) -> Tensor:
    """What the status of an attacked image speaks of: its PNG, or its floats where those were judged.

    Raises ValueError, OSError or `InputError`.
    """
    if attack.levels is not None:
        return to_tensor(read_image(path / "images" / f"{record.stem}.png").pixels)
    return torch.from_numpy(read_floats(path / "floats" / f"{record.stem}.npy", record.height, record.width))


@fixed_numerics(gradient=False)
def _holds(path: Path, detector: Detector, config: RunConfig, record: Record) -> bool:
    found = detected(detector, config, judged_image(path, config.attack, record))
    return target_of(record, detector).holds(found.above(config.score_threshold))
