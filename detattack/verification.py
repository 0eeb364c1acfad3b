"""A finished run judged again from its files alone, by the detector's official inference."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from detattack.config import RunConfig, make_config
from detattack.detectors.base import Detector
from detattack.detectors.registry import fingerprint, load_detector
from detattack.errors import InputError
from detattack.goals import achieved
from detattack.images import read_image, to_tensor
from detattack.job import Record, detected, target_of
from detattack.runs import RunFolder


@dataclass(frozen=True)
class Verdict:
    """Of one image: its file, whether the goal holds for it, and what disagrees with the ledger, if anything."""

    file: str
    success: bool
    problem: str = ""


def verify_run(path: Path, device: str = "auto") -> list[Verdict]:
    """Judges every attacked image of a run again; untouched ones are checked to be whole."""
    folder = RunFolder.open(path)
    config = make_config(**folder.manifest["config"])
    detector = load_detector(config.model, device, config.weights)
    if fingerprint(detector) != folder.manifest["model"]:
        raise InputError(f"{path}: model {config.model} is not the one that was attacked (other weights)")
    try:
        return [_verdict(path, detector, config, record) for record in folder.records() if record.digest]
    finally:
        folder.close()


def _verdict(path: Path, detector: Detector, config: RunConfig, record: Record) -> Verdict:
    file = path / "images" / f"{record.stem}.png"
    name = f"images/{record.stem}.png"
    try:
        data = file.read_bytes()
        image = _judged_image(path, config, record)
    except (OSError, ValueError, InputError) as error:
        return Verdict(name, False, f"cannot be read ({error})")
    success = record.status in ("success", "failure") and _holds(detector, config, record, image)
    if hashlib.sha256(data).hexdigest() != record.digest:
        return Verdict(name, success, "is not the file that the run wrote")
    if success != (record.status == "success"):
        return Verdict(name, success, f"judged {'success' if success else 'failure'}, the ledger says {record.status}")
    return Verdict(name, success)


def _judged_image(path: Path, config: RunConfig, record: Record) -> Tensor:
    if config.attack.levels is None and record.status in ("success", "failure"):
        floats = np.load(path / "floats" / f"{record.stem}.npy", allow_pickle=False)
        if floats.dtype != np.float32 or floats.shape != (3, record.height, record.width):
            raise ValueError(f"floats/{record.stem}.npy is {floats.dtype} {list(floats.shape)}")
        return torch.from_numpy(floats)
    return to_tensor(read_image(path / "images" / f"{record.stem}.png").pixels)


def _holds(detector: Detector, config: RunConfig, record: Record, image: Tensor) -> bool:
    found = detected(detector, config, image)
    return achieved(target_of(record, detector), found.above(config.score_threshold))
