"""Rates and means with confidence intervals."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

Z95 = statistics.NormalDist().inv_cdf(0.975)
"""Quantile of the normal distribution for a two-sided 95% interval."""


def wilson_interval(successes: int, trials: int) -> tuple[float, float] | None:
    """Return the 95% score interval of a proportion (Wilson 1927); None without a trial."""
    if not trials:
        return None
    share, z2 = successes / trials, Z95**2
    center = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    low = 0.0 if successes == 0 else center - half
    return low, 1.0 if successes == trials else center + half


def rate(successes: int, trials: int) -> dict[str, Any]:
    """Return a proportion for JSON: counts, share, and its 95% interval."""
    return {
        "successes": successes,
        "trials": trials,
        "rate": successes / trials if trials else None,
        "interval": wilson_interval(successes, trials),
    }


def mean_interval(values: Sequence[float], least: float = -math.inf, most: float = math.inf) -> dict[str, Any]:
    """Return a mean for JSON, with its 95% interval (normal approximation; None below two values).

    least, most: what a value can be; the interval ends there.
    """
    if not values:
        return {"mean": None, "interval": None}
    mean = statistics.fmean(values)
    if len(values) < 2:
        return {"mean": mean, "interval": None}
    half = Z95 * statistics.stdev(values) / math.sqrt(len(values))
    return {"mean": mean, "interval": (max(least, mean - half), min(most, mean + half))}
