"""Transfer: the files of a finished run before other models, or after a corruption: how much of the attack is left."""

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from detattack.core.errors import ImageError, InputError
from detattack.core.faults import check_device
from detattack.core.files import swept
from detattack.core.locating import located, located_config
from detattack.core.model_names import THROUGH
from detattack.core.precision import fixed_numerics
from detattack.core.trust import check_trust
from detattack.datasets.corruptions import UNCORRUPTED, Corruption, parse_corruptions
from detattack.datasets.corruptions.registry import Pixels
from detattack.datasets.image_io import read_image, to_tensor
from detattack.datasets.rendered import read_original
from detattack.metrics.rates import rate
from detattack.runs.folder import RunFolder
from detattack.runs.manifest import task_in
from detattack.runs.originals import Originals
from detattack.tasks.base import Task
from detattack.tasks.registry import find_task
from detattack.workflows.verify import judged_image


@dataclass(frozen=True)
class Other:
    """A model that judges the files of a run; all None: the run's own."""

    model: str | None = None
    weights: str | None = None
    categories: str | None = None
    prompt: str | None = None


@dataclass(frozen=True)
class Transfer:
    """What is left of a run's successes before a model, after a corruption of both files.

    - success: rate over the run's successes for which the goal does not hold already with the corrupted original
    - already: how many images there are for which it does
    - unread: images whose original is gone; unfit: that the change cannot be done to
    - ap: what `Task.transfer_scores` tells, over all attacked images that can be read, successes or not
    """

    model: str
    change: str
    success: dict[str, Any]
    already: int
    unread: int
    unfit: int
    ap: dict[str, Any] | None


def transfer_run(
    path: Path,
    others: Sequence[Any],
    survive: str | None = None,
    device: str = "auto",
    trust: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    originals: Originals | None = None,
) -> list[Transfer]:
    """Judge the files of a run by each model after each corruption, and write `transfer.json` into its folder.

    - others: each an `Other`, or a model in memory
    - survive: corruptions with commas between, see `parse_corruptions`; the uncorrupted files always come first
    - trust: whether the run's own model may run the code of its file
    - progress: told how many images of how many are judged
    - originals: reads the original of a record; None: its file, or its scene

    Raises `InputError`.
    """
    changes = [UNCORRUPTED, *parse_corruptions(survive or "")]
    task = find_task(task_in(path))
    with closing(RunFolder.open(path, task.record_type)) as folder, swept(path):
        config = task.make_config(**located_config(path, folder.manifest))
        if any(isinstance(other, Other) and other.model is None for other in others):
            check_trust(path, folder.manifest["config"], trust)
        models = [load_other(task, config, other, device) for other in others]
        total = len(models) * len(changes) * sum(map(_is_attacked, folder.iterate()))
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            progress(done, total)

        found = [transfer(task, folder, model, change, count, originals) for model in models for change in changes]
        folder.write_json("transfer.json", [asdict(one) for one in found])
    return found


def transfer(
    task: Task[Any, Any, Any],
    folder: RunFolder[Any],
    model: Any,
    change: Corruption,
    progress: Callable[[], None] = lambda: None,
    originals: Originals | None = None,
) -> Transfer:
    """Judge the files of a run's attacked images by `model`, after `change`. Raises `InputError`.

    originals: as of `transfer_run`.
    """
    read = originals or partial(original_of, folder)
    config = task.make_config(**folder.manifest["config"])
    task.check_other(model, config, folder.manifest)
    scored, seen, unread, unfit = bool(folder.manifest.get("annotated")), [], 0, 0
    for record in folder.iterate():
        if not _is_attacked(record):
            continue
        try:
            one = _seen(task, folder, model, config, record, read(record), change)
            seen.append((record.status, one if scored else one.short()))  # what is long is for scores alone
        except ImageError:
            unfit += 1
        except InputError:
            unread += 1
        except Exception as error:  # the model is someone else's code
            check_device(error, record.source)
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise InputError(f"model {model.name}: fails on {record.source} ({said})") from error
        progress()
    won = [one.status for before, one in seen if before == "success" and one.status != "already"]
    return Transfer(
        model.name,
        str(change),
        rate(won.count("success"), len(won)),
        sum(one.status == "already" for _, one in seen),
        unread,
        unfit,
        task.transfer_scores(folder, model, [one for _, one in seen], change) if scored else None,
    )


def _is_attacked(record: Any) -> bool:
    """Whether an image was attacked; a run that spends a budget attacks also those that need no attack."""
    return record.status in ("success", "failure") or bool(record.quality)


def original_of(folder: RunFolder[Any], record: Any) -> Pixels:
    """Read the original of a run's image, uint8 `[H,W,3]`. Raises `InputError` where it is gone."""
    source = located(record.source, folder.path, folder.manifest)
    return read_original(str(source or record.source)).pixels


def load_other(task: Task[Any, Any, Any], config: Any, other: Any, device: str) -> Any:
    """Load the model that is to judge the files of a run of that config. Raises `InputError`.

    other: an `Other`, or a model in memory
    """
    if not isinstance(other, Other):
        return other
    if other.model is None:
        return task.load_model(config, device)
    named = {name: value for name, value in asdict(other).items() if name in type(config).model_fields}
    named |= {THROUGH: ()} if THROUGH in type(config).model_fields else {}
    return task.load_model(config.model_copy(update=named), device)


@fixed_numerics(gradient=False)
def _seen(
    task: Task[Any, Any, Any],
    folder: RunFolder[Any],
    model: Any,
    config: Any,
    record: Any,
    original: Pixels,
    change: Corruption,
) -> Any:
    """Judge a record as the model sees its corrupted files, or the floats of a run on floats where nothing is done."""
    try:
        file = read_image(folder.path / "images" / f"{record.stem}.png").pixels
        image = to_tensor(change(file)) if change.steps else judged_image(folder.path, config.attack, record)
    except (OSError, ValueError) as error:
        raise InputError(f"{record.source}: its image in the run folder cannot be read ({error})") from error
    if original.shape != file.shape or (config.attack.levels is not None and not _is_as_far(original, file, record)):
        raise InputError(f"{record.source}: is not the image that was attacked")
    record = task.moved(task.translated(model, record, folder.manifest), change)
    return task.seen_by(model, config, record, to_tensor(change(original)), image)


def _is_as_far(original: np.ndarray, file: np.ndarray, record: Any) -> bool:
    """Tell whether a file is as far from its original as the run found, so that this is still the same image."""
    distance = float(np.linalg.norm(original.astype(np.float64) - file)) / 255
    return math.isclose(distance, record.quality.get("l2") or 0.0, rel_tol=1e-3, abs_tol=1e-6)
