"""A finished run repeated from its manifest, and held against what it left.

The same device, threads, precision, batch plan and versions give the same bytes. Where one of these differs, sums of
floating-point numbers may differ in the last bit: there the promise is the same success on 99% of the images and a
median L2 within 1%.
"""

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detattack.core.errors import InputError
from detattack.core.locating import located_config
from detattack.core.model_names import THROUGH
from detattack.core.trust import check_trust
from detattack.datasets.source import DatasetSource, read_dataset_source
from detattack.runs.folder import PER_IMAGE, RunFolder
from detattack.runs.manifest import conditions, task_of
from detattack.runs.record import BaseRecord
from detattack.tasks.experiment import Experiment
from detattack.tasks.registry import find_task

LEAST_SHARE, MOST_CHANGE = 0.99, 0.01
ELSEWHERE = ("seconds", "source")
"""Fields of a record that speak of the clock and of the place."""


@dataclass(frozen=True)
class Instead:
    """What is used instead of what the manifest says; None: as it says."""

    images: Path | None = None
    annotations: Path | None = None
    labels: Path | None = None
    model: str | None = None
    weights: str | None = None
    categories: str | None = None
    device: str | None = None
    batch: int | None = None

    def config(self, path: Path, manifest: dict[str, Any], trust: bool) -> dict[str, Any]:
        """Make the config of the run in `path`, to be checked as any.

        Raises `InputError` where its model would run code that nobody named or trusts.
        """
        named = {name: getattr(self, name) for name in ("model", "weights", "categories", "device", "batch")}
        instead = {name: value for name, value in named.items() if value is not None}
        config = located_config(path, {**manifest, "config": {**manifest["config"], **dict.fromkeys(instead)}})
        if self.model is None:
            check_trust(path, config, trust)
        alone = {} if self.model is None or THROUGH not in config else {THROUGH: ()}
        return {**config, **instead, **alone}

    def origin(self, path: Path, manifest: dict[str, Any]) -> DatasetSource:
        """Where the images of the run in `path` are."""
        return read_dataset_source(manifest.get("origin"), str(path)).moved(self.images, self.annotations, self.labels)


@dataclass(frozen=True)
class Agreement:
    """How a repeated run agrees with the first.

    differing: files and rows with other bytes. conditions: what was not the same, as text. same_success: share of the
    images with the same status. l2_ratio: of the median L2 over the successes, the second to the first.
    """

    images: int
    differing: tuple[str, ...]
    conditions: tuple[str, ...]
    same_success: float
    l2_ratio: float | None

    @property
    def kept(self) -> bool:
        """Whether this is what was promised."""
        close = self.l2_ratio is None or abs(self.l2_ratio - 1) <= MOST_CHANGE
        return not self.differing or (bool(self.conditions) and self.same_success >= LEAST_SHARE and close)


def repeated(path: Path, manifest: dict[str, Any], instead: Instead, trust: bool) -> Experiment[Any, Any, Any]:
    """Make the experiment that the manifest in `path` tells of.

    Raises `InputError` where the model or the data is not what it was.
    """
    task = find_task(task_of(manifest))
    config = task.make_config(**instead.config(path, manifest, trust))
    source = instead.origin(path, manifest)
    task.check_mask(path, config, manifest)
    model = task.load_model(config)
    if task.fingerprint(model) != manifest["model"]:
        raise InputError(f"{path}: model {manifest['config'].get('model')} is not the one that was attacked")
    dataset = task.open_dataset(source, model, config)
    if dataset.fingerprint != manifest["data"]:
        raise InputError(f"{path}: the images are not those that were attacked (fingerprint {dataset.fingerprint})")
    config = config.model_copy(update={"device": str(model.device)})
    dataset = task.adapt_dataset(model, config, dataset)
    return Experiment(task, model, config, dataset, **_flags(path, manifest))


def _flags(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return what the manifest in `path` tells of an experiment beside its config.

    Raises `InputError` where the run that it starts from is not beside it.
    """
    start = manifest.get("start")
    if start is not None and not (path.parent / start / "images").is_dir():
        raise InputError(f"{path}: begins with the images of the run {start}, which is not beside it")
    target_l2, shard = manifest.get("lengths"), manifest.get("shard")
    return {
        "figures": manifest.get("figures", False),
        "all_measures": manifest.get("all_measures", False),
        "shard": None if shard is None else tuple(shard),
        "target_l2": None if target_l2 is None else dict(target_l2),
        "start": None if start is None else path.parent / start,
    }


def agreement(first: RunFolder[Any], second: RunFolder[Any]) -> Agreement:
    """Compare a repeated run with the first. Raises `InputError` where one cannot be read."""
    ours, theirs = ({record.id: record for record in folder.iterate()} for folder in (first, second))
    ids = sorted(ours.keys() | theirs.keys())
    files = sorted(_files(first.path) | _files(second.path))
    differing = [name for name in files if _bytes(first.path / name) != _bytes(second.path / name)]
    differing += [f"row of image {i}" for i in ids if _row(ours.get(i)) != _row(theirs.get(i))]
    same = sum(i in ours and i in theirs and ours[i].status == theirs[i].status for i in ids)
    medians = [_median_l2(records.values()) for records in (ours, theirs)]
    return Agreement(
        images=len(ours),
        differing=tuple(differing),
        conditions=tuple(conditions(first.manifest, second.manifest)),
        same_success=same / max(len(ids), 1),
        l2_ratio=medians[1] / medians[0] if medians[0] and medians[1] else None,
    )


def _files(run: Path) -> set[str]:
    """Return what a run promises the bytes of."""
    names = {
        f"{folder}/{file.name}" for folder in PER_IMAGE if (run / folder).is_dir() for file in (run / folder).iterdir()
    }
    made = ("clean.json", "adversarial.json", "annotations.json", "summary.json")
    return names | {name for name in made if (run / name).is_file()}


def _bytes(file: Path) -> bytes:
    """Of a file, what does not depend on the clock; nothing where there is none."""
    if not file.is_file():
        return b""
    if file.name != "summary.json" or file.parent.name in PER_IMAGE:
        return file.read_bytes()
    try:
        summary = json.loads(file.read_bytes())
        return json.dumps({key: value for key, value in summary.items() if key != "timing"}, sort_keys=True).encode()
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error


def _row(record: BaseRecord | None) -> dict[str, Any]:
    """Of a record, what does not depend on the clock and the place; nothing where there is none."""
    if record is None:
        return {}
    kept = {key: value for key, value in record.as_json().items() if key not in ELSEWHERE}
    return {**kept, "reason": record.reason.replace(record.source, record.stem)}  # what cannot be read is named there


def _median_l2(records: Iterable[Any]) -> float | None:
    norms = [l2 for r in records if r.status == "success" and (l2 := r.quality.get("l2")) is not None]
    return statistics.median(norms) if norms else None
