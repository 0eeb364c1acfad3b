"""Corruptions of gray levels: light, noise and bit depth."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detattack.datasets.corruptions.registry import Pixels, register_corruption

LEVELS = np.arange(256.0)
MIDDLE = 127.5
FACTOR: dict[str, Any] = {"what": "a factor", "low": 0.1, "high": 10}


def _brightened(factor: float) -> NDArray[np.float64]:
    return factor * LEVELS


def _contrasted(factor: float) -> NDArray[np.float64]:
    return MIDDLE + factor * (LEVELS - MIDDLE)


def _bent(exponent: float) -> NDArray[np.float64]:
    return 255 * (LEVELS / 255) ** exponent


def _factor_inside(table: NDArray[np.float64], factor: float) -> NDArray[np.float32]:
    """Return the slope of a linear table: 0 where it is clipped."""
    return np.where((table >= 0) & (table <= 255), factor, 0).astype(np.float32)


def _slope_of_gamma(exponent: float) -> NDArray[np.float32]:
    """Return the derivative; at black that of the first step, where the power may have none."""
    return (exponent * (np.maximum(LEVELS, 1) / 255) ** (exponent - 1)).astype(np.float32)


@register_corruption("brightness", **FACTOR, slope=lambda factor: _factor_inside(_brightened(factor), factor))
def brightness(pixels: Pixels, factor: float) -> Pixels:
    """Multiply each value by a factor."""
    return _looked_up(pixels, _brightened(factor))


@register_corruption("contrast", **FACTOR, slope=lambda factor: _factor_inside(_contrasted(factor), factor))
def contrast(pixels: Pixels, factor: float) -> Pixels:
    """Multiply the distance of each value from middle gray by a factor."""
    return _looked_up(pixels, _contrasted(factor))


@register_corruption("gamma", what="an exponent", low=0.1, high=10, slope=_slope_of_gamma)
def gamma(pixels: Pixels, exponent: float) -> Pixels:
    """Raise each value, in [0,1], to a power."""
    return _looked_up(pixels, _bent(exponent))


@register_corruption("bits", what="bits a channel", low=1, high=8, whole=True)
def bits(pixels: Pixels, count: float) -> Pixels:
    """Round to as many gray levels as so many bits hold, black and white among them."""
    steps = 2 ** round(count) - 1
    return _looked_up(pixels, (LEVELS / 255 * steps).round() / steps * 255)


@register_corruption("noise", what="σ in gray levels", low=0.1, high=128, random=True)
def noise(pixels: Pixels, sigma: float, seed: int) -> Pixels:
    """Add Gaussian noise of σ gray levels, the same for a seed."""
    drawn = np.random.default_rng(seed).normal(0, sigma, pixels.shape)
    return _rounded(pixels + drawn)


def _looked_up(pixels: Pixels, table: NDArray[np.float64]) -> Pixels:
    return _rounded(table)[pixels]


def _rounded(values: NDArray[np.float64]) -> Pixels:
    return values.round().clip(0, 255).astype(np.uint8)
