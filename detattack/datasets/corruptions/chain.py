"""Corruptions by name: `jpeg:75`, a range `jpeg:60..95`, a chain `resize:0.5+jpeg:75`, and lists of them."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from detattack.core.errors import ImageError, InputError
from detattack.datasets.corruptions.registry import CORRUPTIONS, Kind, Pixels

if TYPE_CHECKING:
    from detattack.core.boxes import Box  # whose module imports torch

ALIASES = {"screen": "resize:0.7+blur:0.7+jpeg:75"}
"""Names of chains. `screen` is what a screenshot that is sent on goes through."""
NONE = "none"


@dataclass(frozen=True)
class Step:
    """One corruption of a chain.

    - name: a registered one
    - low, high: its strength; a range where they differ
    - seed: of one that is random
    """

    name: str
    low: float
    high: float
    seed: int = 0

    def __str__(self) -> str:
        top = "" if self.low == self.high else f"..{self.high:g}"
        return f"{self.name}:{self.low:g}{top}"

    @property
    def kind(self) -> Kind:
        """What is registered under the name."""
        return CORRUPTIONS[self.name]

    def drawn(self, rng: np.random.Generator) -> "Step":
        """Draw a strength from the range, and a seed."""
        share, seed = rng.random(), int(rng.integers(2**31))
        strength = self.low + share * (self.high - self.low)
        if self.kind.whole:
            strength = float(min(math.floor(self.low + share * (self.high - self.low + 1)), self.high))
        return replace(self, low=strength, high=strength, seed=seed)

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return the corrupted image. Raises `ImageError` where it is not of the same size and type."""
        kind = self.kind
        found = kind.function(pixels, self.low, self.seed) if kind.random else kind.function(pixels, self.low)
        if not isinstance(found, np.ndarray) or found.shape != pixels.shape or found.dtype != np.uint8:
            is_array = isinstance(found, np.ndarray)
            got = f"{found.dtype} {list(found.shape)}" if is_array else type(found).__name__
            raise ImageError(f"corruption {self}: makes {got} of an image uint8 {list(pixels.shape)}")
        return found


@dataclass(frozen=True)
class Corruption:
    """A chain of corruptions, one after the other; none: the untouched image.

    It is a function of an image uint8 `[H,W,3]` that keeps the size. Of a range, the lowest strength is taken, and of
    noise always the same, unless `drawn` draws others.
    """

    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return "+".join(map(str, self.steps)) or NONE

    @property
    def varies(self) -> bool:
        """Whether `drawn` draws anything: it has a range, or noise."""
        return any(step.low != step.high or step.kind.random for step in self.steps)

    def drawn(self, *seed: int) -> "Corruption":
        """Draw strengths from the ranges, and noise. seed: numbers from 0 on, which decide."""
        rng = np.random.default_rng(seed)
        return Corruption(tuple(step.drawn(rng) for step in self.steps))

    def ends(self) -> "tuple[Corruption, ...]":
        """Return the chain with all ranges at their low ends, and at their high ends."""
        high = tuple(replace(step, low=step.high) for step in self.steps)
        return Corruption(tuple(replace(step, high=step.low) for step in self.steps)), Corruption(high)

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return the corrupted image, uint8 `[H,W,3]`. Raises `ImageError` for one that it cannot be done to."""
        for step in self.steps:
            pixels = step(pixels)
        return pixels

    @property
    def moves(self) -> bool:
        """Whether what is in the image is elsewhere then."""
        return any(step.kind.move for step in self.steps)

    def moved(self, box: "Box", size: tuple[int, int]) -> "Box":
        """Tell where what was in a box is then, clipped to the image. size: (width, height) in pixels."""
        if not self.moves:
            return box
        for step in self.steps:
            box = step.kind.move(box, step.low, size) if step.kind.move else box
        (width, height), (x1, y1, x2, y2) = size, box
        return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))


UNCORRUPTED = Corruption()


def parse_corruptions(text: str, ranges: bool = False) -> list[Corruption]:
    """Parse a list such as `jpeg:90,resize:0.5+jpeg:75`; `none` adds nothing. ranges: whether `jpeg:60..95` may be.

    Raises `InputError`.
    """
    names = [part.strip() for part in text.split(",")]
    return list(dict.fromkeys(parse_corruption(name, ranges) for name in names if name not in ("", NONE)))


def parse_corruption(text: str, ranges: bool = False) -> Corruption:
    """Parse one, or a chain. Raises `InputError`."""
    parts = "+".join(ALIASES.get(part.strip(), part) for part in text.split("+"))
    return Corruption(tuple(_step(part.strip(), ranges) for part in parts.split("+")))


def _step(text: str, ranges: bool) -> Step:
    name, _, values = text.partition(":")
    if name in ALIASES:
        raise InputError(f"corruption {text!r}: {name} takes no strength, it is {ALIASES[name]}")
    kind = CORRUPTIONS.find(name)
    low, dots, high = values.partition("..")
    if dots and not ranges:
        raise InputError(f"corruption {text!r}: a range goes with --robust-to; name one strength")
    step = Step(name, _strength(text, kind, low), _strength(text, kind, high or low))
    if step.low > step.high or (dots and not high):
        raise InputError(f"corruption {text!r}: a range is LOW..HIGH, the lower strength first")
    return step


def _strength(text: str, kind: Kind, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not kind.low <= number <= kind.high or (kind.whole and number != round(number)):
        raise InputError(f"corruption {text!r}: {kind.what}, from {kind.low:g} to {kind.high:g}")
    return number
