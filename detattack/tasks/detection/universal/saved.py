"""A change in a folder: `change.npy`, what it holds; `change.png`, for the eye; `change.json`, how it was made."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from detattack.core.errors import InputError, first_error, reason
from detattack.core.files import write_bytes_atomic, write_text_atomic
from detattack.datasets.image_io import png_bytes, to_pixels
from detattack.engine.budget import parse_budgets
from detattack.tasks.detection.universal.change import Change, Patch, Perturbation

VALUES, PICTURE, FACTS = "change.npy", "change.png", "change.json"
LARGEST_SIDE = 1024
"""Of a tile or a patch in pixels."""


class _Facts(BaseModel):
    """What `change.json` has to hold; more may stand there."""

    model_config = ConfigDict(extra="ignore")
    kind: Literal["perturbation", "patch"]
    on: str
    budget: str | None = None
    share: Annotated[float, Field(gt=0, le=1)] | None = None


@dataclass(frozen=True, eq=False)
class SavedChange:
    """A change that was found.

    - on: the class of objects that it is about, or `all`
    - values: `[3,H,W]`
    """

    change: Change
    on: str
    values: Tensor


def write_change(folder: Path, change: Change, on: str, values: Tensor, made: dict[str, Any]) -> None:
    """Write the three files of a change. made: how it was made, for people and programs. Raises OSError."""
    buffer = io.BytesIO()
    np.save(buffer, values.numpy())
    bounds = {"share": change.share} if isinstance(change, Patch) else {"budget": str(change.budget)}
    facts = {"kind": change.kind, "on": on, **bounds, "side": change.side, **made}
    write_bytes_atomic(folder / PICTURE, png_bytes(to_pixels(change.picture(values))))
    write_text_atomic(folder / FACTS, json.dumps(facts, indent=1, allow_nan=False) + "\n")
    write_bytes_atomic(folder / VALUES, buffer.getvalue())


def read_change(path: Path) -> SavedChange:
    """Read a change by its folder, or by one of its files there. Raises `InputError`."""
    folder = path if path.is_dir() else path.parent
    if not (folder / FACTS).is_file() or not (folder / VALUES).is_file():
        raise InputError(f"change {path}: no {FACTS} and {VALUES} there, as `detattack universal` writes them")
    try:
        facts = _Facts.model_validate_json((folder / FACTS).read_bytes())
        values = np.array(np.lib.format.open_memmap(folder / VALUES, mode="r"))
    except ValidationError as error:
        raise InputError(f"{folder / FACTS}: {first_error(error)}") from error
    except Exception as error:  # NumPy reads the header as Python, whose tokenizer has errors of its own
        raise InputError(f"change {folder}: cannot be read ({reason(error)})") from error
    if values.dtype != np.float32 or values.ndim != 3 or values.shape[0] != 3 or not np.isfinite(values).all():
        raise InputError(f"{folder / VALUES}: holds {values.dtype} {list(values.shape)}, not finite float32 [3,H,W]")
    height, width = values.shape[1:]
    if not 0 < height == width <= LARGEST_SIDE:
        raise InputError(f"{folder / VALUES}: {width}×{height} pixels; a change is a square")
    return SavedChange(_change_of(folder, facts, height), facts.on, torch.from_numpy(values))


def _change_of(folder: Path, facts: _Facts, side: int) -> Change:
    if facts.kind == "patch" and facts.share is not None:
        return Patch(side, facts.share)
    if facts.kind == "perturbation" and facts.budget is not None:
        (budget, *others) = parse_budgets(facts.budget)
        if not others:
            return Perturbation(budget, side)
    raise InputError(f"{folder / FACTS}: says neither of what budget a perturbation is nor of what share a patch")
