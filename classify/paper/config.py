"""A table or figure of the paper as its file in `configs/paper` states it, checked."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import detattack
from detattack.core.errors import InputError, first_error, unknown
from detattack.engine.config import read_config_file

NAMES = (*(f"table{number}" for number in range(1, 6)), *(f"fig{number}" for number in range(1, 9)))
ALL = "all"
SHARED = "$DETATTACK_SHARED"
"""In a path of a config: the folder of that environment variable, by default `../shared`."""

Published = Mapping[str, Mapping[str, float]]
"""The paper's numbers by metric and row."""


class _Checked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(_Checked):
    """A row of a table: a method and what is changed of it.

    - method: None: named as the row
    - set: as of `--set`, what `classify tune` writes
    - classes: those that DeepFool considers
    - images: the first so many; None: all
    - variants: in which it is run; None: all
    """

    method: str | None = None
    set: dict[str, Any] = {}
    classes: int | None = Field(None, ge=2)
    images: int | None = Field(None, ge=1)
    batch: int | None = Field(None, ge=1)
    variants: tuple[str, ...] | None = None


class Variant(_Checked):
    """One way to judge all rows: floats or 8-bit images, at the first success or at a confidence.

    - title: how it is spelled
    - paper: the paper's numbers for it, where they are not those of the whole table
    """

    title: str
    floats: bool = False
    stop_confidence: float | None = Field(None, ge=0, le=1)
    paper: Published = {}


class Runs(_Checked):
    """The attacks of a table or figure: every row in every variant, over images that the model gets right.

    Of these, the first `skip` are left out, and of the others each `every`-th is taken. folder, labels, weights: paths,
    see `from_shared`.
    """

    data: Literal["cifar10", "imagenet"]
    folder: str
    labels: str | None = None
    model: str
    weights: str | None = None
    preprocess: str | None = None
    images: int = Field(ge=1)
    skip: int = Field(0, ge=0)
    every: int = Field(1, ge=1)
    batch: int = Field(25, ge=1)
    rows: dict[str, Row]
    variants: dict[str, Variant]


class Detection(_Checked):
    """The attacks on the embedded detector: every method on the same rendered scenes."""

    goal: str
    methods: tuple[str, ...]
    scenes: int = Field(4, ge=1)
    seed: int = 1
    differences: bool = False


class Experiment(_Checked):
    """A table or figure.

    runs: its attacks, or the name of the experiment that has them. rows, variants: those that it shows; None: all.
    metrics: a table's columns, or the one that a density is of. samples: how many images a figure shows. gain: by which
    it shows differences, the paper's unless they are too faint. notes: what a reader has to know.
    """

    kind: Literal["table", "samples", "curves", "density", "detection"]
    title: str
    runs: Runs | str | None = None
    detection: Detection | None = None
    rows: tuple[str, ...] | None = None
    variants: tuple[str, ...] | None = None
    metrics: tuple[str, ...] = ()
    samples: int = Field(4, ge=1)
    gain: float = Field(10, gt=0)
    paper: Published = {}
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_attacks(self) -> Self:
        if (self.kind == "detection") != (self.detection is not None) or (self.kind == "detection") == bool(self.runs):
            raise ValueError("a figure of detections has 'detection', all else has 'runs'")
        return self


def load(name: str) -> Experiment:
    """Load the experiment of that name. Raises `InputError`."""
    if name not in NAMES:
        raise unknown("table or figure", name, (*NAMES, ALL))
    path = configs_folder() / f"{name}.yaml"
    try:
        return Experiment(**read_config_file(path))
    except ValidationError as error:
        raise InputError(f"config {path}: {first_error(error)}") from error


def configs_folder() -> Path:
    """`configs/paper`, as it is installed or in the source tree."""
    package = Path(detattack.__file__).parent
    installed = package / "configs"
    return (installed if installed.is_dir() else package.parent / "configs") / "paper"


def from_shared(path: str) -> str:
    """Put `$DETATTACK_SHARED` into a path of a config."""
    return path.replace(SHARED, os.environ.get("DETATTACK_SHARED", "../shared"))
