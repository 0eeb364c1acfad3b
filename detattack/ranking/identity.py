"""What a model's folder in a ranking was begun with, so that nothing else is continued or compared there."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from detattack.core.errors import InputError
from detattack.core.files import is_temporary, write_text_atomic
from detattack.core.model_names import split_defense
from detattack.ranking.entry import ENTRY
from detattack.ranking.protocol import HASH_LENGTH

IDENTITY = "ranking.json"
SHARED = ("protocol", "data", "version")
"""What all models of a ranking have in common."""


@dataclass(frozen=True)
class Identity:
    """What a model's folder was begun with.

    - protocol: name and hash
    - data: fingerprint, number of images, and seed
    - version: of detattack
    - weights: fingerprint of the model
    - spec: the model as options name it, without the path of a file, which may be moved
    - threshold: the lowest score of its inference
    """

    protocol: Mapping[str, str]
    data: Mapping[str, Any]
    version: str
    weights: str
    spec: str
    threshold: float

    @property
    def hash(self) -> str:
        """Identify all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:HASH_LENGTH]

    def write(self, folder: Path) -> None:
        """Write `ranking.json` into the model's folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomic(folder / IDENTITY, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read that of a model's folder. Raises `InputError`."""
        try:
            return cls(**json.loads((folder / IDENTITY).read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            said = getattr(error, "strerror", None) or error
            raise InputError(
                f"{folder}: not a model's folder of a ranking of this version ({IDENTITY}: {said})"
            ) from error

    def check(self, folder: Path, own: bool) -> None:
        """Raise `InputError` where a folder was begun with anything else. own: whether it is this model's."""
        theirs = asdict(Identity.read(folder))
        for name, ours in asdict(self).items():
            if (own or name in SHARED) and theirs[name] != ours:
                what = name if name in SHARED else f"model: {name}"
                raise InputError(f"{folder}: is of another {what} ({theirs[name]}, not {ours})")


def check_out(out: Path) -> None:
    """Raise `InputError` for a folder that holds other things than a ranking."""
    if out.is_file() or (_holds_files(out) and not any(out.glob(f"*/{IDENTITY}"))):
        raise InputError(f"output folder {out}: not empty, and not a ranking of this version")


def check_begun(out: Path, folder: str, ours: Identity) -> None:
    """Raise `InputError` where what was begun in a ranking does not go with a model. folder: the model's."""
    begun = {path.parent for name in (IDENTITY, ENTRY) for path in out.glob(f"*/{name}")}
    if _holds_files(out / folder):
        begun.add(out / folder)
    for path in sorted(begun):
        ours.check(path, own=path.name == folder)


def _holds_files(folder: Path) -> bool:
    return any(path.is_file() and not is_temporary(path) for path in folder.rglob("*"))


def spec_without_path(spec: str) -> str:
    """Leave out the path of a file in the name of a model: `nets/own.py:factory+blur:1` is `factory+blur:1`."""
    base, defense = split_defense(spec)
    library, _, file = base.partition("/")
    if file and Path(file).exists():
        base = f"{library}/{Path(file).name}"
    parts = [base] if defense is None else [base, defense]
    return "+".join(part.rpartition(".py:")[2] for part in parts)
