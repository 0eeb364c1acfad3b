"""Curves, medians with intervals, and the order of models: a bootstrap over images, the same for all of them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
TAILS = (2.5, 97.5)
SURE = 0.975
"""Share of the resamples in which one model has to be above another to be ranked above it."""
TOP = 8.0
"""Where the area under a curve ends, in gray levels: larger changes count as this."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval; infinite: no change reaches it."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        """Return the values by name; None: infinite, or not known."""
        return {name: value if math.isfinite(value) else None for name, value in vars(self).items()}


@dataclass(frozen=True)
class Place:
    """The place of a model: between `best` and `worst`, which differ where it is tied with others."""

    best: int
    worst: int

    def __str__(self) -> str:
        return f"{self.best}" if self.best == self.worst else f"{self.best}–{self.worst}"


def resamples(images: int, count: int, seed: int) -> NDArray[np.intp]:
    """Draw places of images with replacement, `[count, images]`."""
    return np.random.default_rng(seed).integers(0, images, (count, images))


def estimate(values: Sequence[float], samples: NDArray[np.intp], figure: Callable[..., Any] = np.median) -> Estimate:
    """Estimate a figure of the values of some images.

    - values: by image, infinite where nothing was found
    - samples: as of `resamples`
    - figure: of values along an axis
    """
    known = np.asarray(values, dtype=np.float64)
    if not len(known):
        return Estimate(math.nan, math.nan, math.nan)
    return interval(float(figure(known)), figure(known[samples], axis=1))


def interval(value: float, resampled: Values) -> Estimate:
    """Add the 95% interval of resampled figures; of observed ones, since between infinite ones there is nothing."""
    low = float(np.percentile(resampled, TAILS[0], method="lower"))
    return Estimate(value, low, float(np.percentile(resampled, TAILS[1], method="higher")))


def area(values: Any, axis: int | None = None) -> Any:
    """Return the area over the curve `share of images broken against the change`, from 0 to `TOP`: a mean change."""
    return np.minimum(values, TOP).mean(axis=axis)


def curve(values: Sequence[float]) -> list[tuple[float, float]]:
    """Return the share of images that are broken by changes up to each distance, as points of stairs."""
    reached = sorted(value for value in values if value < math.inf)
    return [(value, (number + 1) / len(values)) for number, value in enumerate(reached)]


def places(resampled: Mapping[str, Values]) -> dict[str, Place]:
    """Order models by figures of the same resamples, the larger the better.

    A model is above another where it is in 97.5% of the resamples; models of which neither is above the other are tied.
    """
    above = {
        (one, other): float((resampled[one] > resampled[other]).mean()) >= SURE
        for one in resampled
        for other in resampled
        if one != other
    }
    return {
        name: Place(
            1 + sum(above[other, name] for other in resampled if other != name),
            len(resampled) - sum(above[name, other] for other in resampled if other != name),
        )
        for name in resampled
    }


def grouped(groups: Mapping[int, Iterable[str]]) -> dict[str, list[int]]:
    """List the images of each group. groups: names of groups by image."""
    found: dict[str, list[int]] = {}
    for number, names in groups.items():
        for name in names:
            found.setdefault(name, []).append(number)
    return dict(sorted(found.items()))
