"""Shapes in pixel coordinates, and their rasterization: double resolution, RGB and glow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["SCALE", "Color", "Patch", "Shape", "draw", "fill_many", "mix", "silhouette"]

SCALE = 2  # canvas pixels per image pixel
_BITS = 4  # sub-pixel bits that OpenCV's rasterizer is given
_REACH = 6000.0  # image pixels; farther corners would overflow OpenCV's fixed point
Color = tuple[float, float, float]
Point = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """A filled polygon (`width` 0) or a round-ended line through points.

    - points: pixel coordinates
    - color: RGB, 0-255
    - glow: 0 reflects light, 1 shines by itself
    - width: of the line, in pixels
    - closed: the line returns to its start
    - filled: what a closed line encloses (the inside of a spoked wheel) is part of the object
    """

    points: Sequence[Point]
    color: Color
    glow: float = 0.0
    width: float = 0.0
    closed: bool = False
    filled: bool = False


@dataclass(frozen=True)
class Patch:
    """A silhouette on the canvas grid: `mask` uint8 [h,w], its corner at (`left`, `top`)."""

    mask: np.ndarray
    left: int
    top: int


def mix(a: Color, b: Color, share: float) -> Color:
    """Mix `share` of `b` into `a`."""
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


def _fixed(points: Sequence[Point] | np.ndarray, left: int = 0, top: int = 0) -> np.ndarray:
    """Convert pixel coordinates [...,2] to OpenCV's fixed point on the canvas, counted from (`left`, `top`)."""
    array = np.minimum(np.maximum(np.array(points, np.float64), -_REACH), _REACH)
    array *= SCALE
    array -= 0.5  # OpenCV's integers are the middles of pixels
    if left or top:
        array -= (left, top)
    array *= 1 << _BITS
    return np.rint(array, array).astype(np.int32)


def _ink(color: Color, glow: float) -> tuple[float, ...]:
    r, g, b = color
    return (min(max(r, 0.0), 255.0), min(max(g, 0.0), 255.0), min(max(b, 0.0), 255.0), 255.0 * glow)


def draw(canvas: np.ndarray, shapes: Sequence[Shape], haze: Color = (0, 0, 0), share: float = 0.0) -> None:
    """Paint shapes in order.

    - canvas: uint8 [2H,2W,4]
    - shapes: to paint
    - haze, share: each color is mixed with this share of `haze`
    """
    for shape in shapes:
        ink = _ink(mix(shape.color, haze, share), shape.glow * (1 - share))
        points = _fixed(shape.points)
        if shape.width:
            thick = max(1, round(shape.width * SCALE))
            cv2.polylines(canvas, [points], shape.closed, ink, thick, cv2.LINE_AA, _BITS)
        else:
            cv2.fillPoly(canvas, [points], ink, cv2.LINE_AA, _BITS)


def fill_many(canvas: np.ndarray, polygons: np.ndarray, color: Color, glow: float = 0.0) -> None:
    """Fill disjoint polygons [N,K,2] (pixel coordinates) with one color."""
    if len(polygons):
        cv2.fillPoly(canvas, list(_fixed(polygons)), _ink(color, glow), cv2.LINE_8, _BITS)


def silhouette(shapes: Sequence[Shape]) -> Patch:
    """Return everything that `shapes` cover, inside or outside the frame."""
    spans = []
    for shape in shapes:
        pad = shape.width / 2 + 1
        xs, ys = zip(*shape.points, strict=True)
        spans.append((min(xs) - pad, min(ys) - pad, max(xs) + pad, max(ys) + pad))
    lefts, tops, rights, bottoms = zip(*spans, strict=True)
    left, top = math.floor(min(lefts)) * SCALE, math.floor(min(tops)) * SCALE
    wide, tall = math.ceil(max(rights)) * SCALE - left, math.ceil(max(bottoms)) * SCALE - top
    mask = np.zeros((tall, wide), np.uint8)
    for shape in shapes:
        points = _fixed(shape.points, left, top)
        if shape.width:
            thick = max(1, round(shape.width * SCALE))
            cv2.polylines(mask, [points], shape.closed, 1, thick, cv2.LINE_8, _BITS)
        if shape.filled or not shape.width:
            cv2.fillPoly(mask, [points], 1, cv2.LINE_8, _BITS)
    return Patch(mask, left, top)
