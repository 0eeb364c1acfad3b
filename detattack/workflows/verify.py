"""Verify: a finished run of any task judged again from its files alone, by the model's official inference."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from detattack.core.errors import InputError
from detattack.core.faults import check_device
from detattack.core.interrupts import interrupts
from detattack.core.locating import located_config
from detattack.core.precision import fixed_numerics
from detattack.core.trust import check_trust
from detattack.datasets.image_io import read_floats, read_image, to_tensor
from detattack.engine import Attack
from detattack.runs.folder import RunFolder
from detattack.runs.manifest import task_in
from detattack.runs.record import BaseRecord
from detattack.tasks.attack_batch import digest_of, mask_of
from detattack.tasks.base import Task, TaskConfig
from detattack.tasks.registry import find_task
from detattack.tasks.robust import survived


@dataclass(frozen=True)
class Verdict:
    """A verdict on an image.

    - file: in the run folder
    - success: whether the goal holds for it
    - problem: what disagrees with the ledger, if anything
    """

    file: str
    success: bool
    problem: str = ""


class Holds(Protocol):
    """Tells whether the goal holds for what a record tells, and what else of it is not so, if anything."""

    def __call__(self, record: Any) -> tuple[bool, str]:
        """Judge a record."""


def verify_run(path: Path, device: str = "auto", trust: bool = False, model: Any = None) -> Iterator[Verdict]:
    """Judge every attacked image of a run again, one by one; untouched ones are checked to be whole.

    - trust: as of `check_trust`
    - model: the model that was attacked, where it is in memory; None: it is loaded by its name

    Raises `InputError`.
    """
    task = find_task(task_in(path))
    with closing(RunFolder.open(path, task.record_type)) as folder:
        config = task.make_config(**located_config(path, folder.manifest))
        task.check_mask(path, config, folder.manifest)
        if model is None:
            check_trust(path, folder.manifest["config"], trust)
            model = task.load_model(config, device)
        if task.fingerprint(model) != folder.manifest["model"]:
            raise InputError(f"{path}: model {config.model} is not the one that was attacked (other weights)")
        yield from verdicts(path, folder.iterate(), partial(_holds, path, task, model, config))


def verdicts(path: Path, records: Iterable[BaseRecord], holds: Holds) -> Iterator[Verdict]:
    """Yield the verdicts on the images of the run in `path` that have a file."""
    with interrupts() as check:
        for record in records:
            if record.digest:
                verdict = _verdict(path, record, holds)
                check()  # it may be of an interrupt's making
                yield verdict


def judged_image(path: Path, attack: Attack, record: BaseRecord) -> Tensor:
    """Read what the status of an attacked image speaks of: its PNG, or its floats where those were judged.

    Raises ValueError, OSError or `InputError`.
    """
    if attack.levels is not None:
        return to_tensor(read_image(path / "images" / f"{record.stem}.png").pixels)
    return torch.from_numpy(read_floats(path / "floats" / f"{record.stem}.npy", record.height, record.width))


@fixed_numerics(gradient=False)
def _holds(path: Path, task: Task[Any, Any, Any], model: Any, config: TaskConfig, record: Any) -> tuple[bool, str]:
    image = judged_image(path, config.attack, record)
    holds = task.holds(model, config, record, image)
    survives = survived(task, model, config, record, image)
    told = [name for name in survives if survives[name] != record.survives.get(name)]
    problem = f"after {', '.join(told)} it is not as the ledger says" if told else ""
    if record.outside_digest and not problem:
        outside = ~mask_of(task, model, config, record)
        file = read_image(path / "images" / f"{record.stem}.png").pixels
        kept = digest_of(file[outside]) == record.outside_digest and bool((image == to_tensor(file))[:, outside].all())
        problem = "" if kept else "differs from its original where --within lets nothing change"
    return holds and all(survives.values()), problem


def _verdict(path: Path, record: BaseRecord, holds: Holds) -> Verdict:
    name = f"images/{record.stem}.png"
    floats = f"floats/{record.stem}.npy"
    try:
        read_image(path / name)
        success, problem = holds(record) if record.status in ("success", "failure") else (False, "")
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
    return Verdict(name, success, problem)


def _is_whole(file: Path, digest: str) -> bool:
    return hashlib.sha256(file.read_bytes()).hexdigest() == digest
