"""Protocols: what a ranking measures, fixed in a versioned file, the same for every model."""

import hashlib
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from detattack.core.errors import InputError, first_error, unknown
from detattack.engine.budget import Budget, parse_budgets

SUFFIX = ".yaml"
CLASS = "CLASS"
"""In a goal: the class with most annotated objects, of those that all models ranked by one command know."""
HASH_LENGTH = 16


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


def _one_budget(text: str) -> str:
    if len(parse_budgets(text)) != 1:
        raise InputError(f"{text}: expected one budget")
    return text


OneBudget = Annotated[str, AfterValidator(_one_budget)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Walk(_Part):
    """Methods that look for the smallest change that reaches a goal.

    - methods: iterations by name
    - at_floor: whether τ is the protocol's floor, instead of its score threshold
    """

    goal: str
    methods: Annotated[dict[str, Count], Field(min_length=1)]
    at_floor: bool = False


class Budgets(_Part):
    """Budgets to be spent; passes: backward passes an image and budget."""

    goal: str
    method: str
    budget: str
    passes: Count

    @property
    def all(self) -> tuple[Budget, ...]:
        """The budgets, the smallest first."""
        return parse_budgets(self.budget)


class Diagnoses(_Part):
    """The limits of what tells a masked gradient; the file says what each is."""

    images: Count
    steps: tuple[float, ...]
    agreeing: Share
    unbounded: OneBudget
    unbroken: Share
    doubled: OneBudget
    gain: Share
    search: OneBudget
    answers: Count
    transferred: Share


class Bootstrap(_Part):
    """How many resamples intervals take, and those of AP."""

    intervals: Count
    ap: Count


class Protocol(_Part):
    """All that a ranking measures. Two protocols are the same where their hashes are."""

    name: str
    score_threshold: Share
    floor: Share
    walks: Annotated[dict[str, Walk], Field(min_length=1)]
    budgets: Budgets
    diagnoses: Diagnoses
    bootstrap: Bootstrap

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for what in ("doubled", "search"):
            text = getattr(self.diagnoses, what)
            if parse_budgets(text)[0] not in self.budgets.all:
                raise InputError(f"diagnoses.{what}: {text} is none of the budgets {self.budgets.budget}")
        first = self.walks[self.first_walk]
        if first.goal != self.budgets.goal or first.at_floor:
            raise InputError(f"walks: the first has to be of the budgets' goal, {self.budgets.goal}, and not at_floor")
        return self

    @cached_property
    def hash(self) -> str:
        """Identify the values, whatever the file's layout."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:HASH_LENGTH]

    @property
    def as_json(self) -> dict[str, str]:
        """What stands in each result."""
        return {"name": self.name, "hash": self.hash}

    @property
    def first_walk(self) -> str:
        """The walk by which models are ordered: the first."""
        return next(iter(self.walks))


def load_protocol(name: str) -> Protocol:
    """Load a protocol by its name, or from a YAML file. Raises `InputError`."""
    path = Path(name)
    known = {one.name.removesuffix(SUFFIX): one for one in _shipped() if one.name.endswith(SUFFIX)}
    if name not in known and path.suffix not in (SUFFIX, ".yml"):
        raise unknown("protocol", name, known)
    try:
        text = known[name].read_text("utf-8") if name in known else path.read_text("utf-8")
        values: Any = yaml.safe_load(text)
        return Protocol.model_validate(values)
    except ValidationError as error:
        raise InputError(f"protocol {name}: {first_error(error)}") from error
    except InputError as error:
        raise InputError(f"protocol {name}: {error}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"protocol {name}: cannot be read ({' '.join(str(error).split())})") from error


def _shipped() -> list[Traversable]:
    """Find the protocols of the installed package, or of a checkout."""
    package = files("detattack")
    for folder in (package / "configs" / "protocols", package.joinpath("..", "configs", "protocols")):
        if folder.is_dir():
            return sorted(folder.iterdir(), key=lambda one: one.name)
    return []
