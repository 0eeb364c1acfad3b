"""Cars, buses and trucks: prisms with windows, wheels and lights that can be seen from any side."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from detattack.datasets.scenes.paint import Color, Point, Shape, mix
from detattack.datasets.scenes.solid import Local, Solid, shade

__all__ = ["BUS", "CAR", "TRUCK", "draw_bus", "draw_car", "draw_truck"]

CAR, BUS, TRUCK = (4.3, 1.8), (10.5, 2.5), (7.2, 2.4)  # footprint in meters: length, width
_TIRE, _RIM, _DARK = (26, 27, 30), (150, 153, 158), (38, 40, 44)
_GLASS = (62, 78, 92)
_PAINTS: tuple[Color, ...] = (
    (196, 38, 42), (226, 228, 230), (40, 42, 48), (32, 78, 158), (168, 174, 182), (236, 236, 228),
    (98, 104, 112), (24, 102, 84), (232, 158, 36), (118, 30, 44), (62, 132, 190), (216, 202, 170),
    (70, 120, 60), (240, 200, 52),
)  # fmt: skip
_FLEET: tuple[Color, ...] = (
    (204, 44, 40), (238, 184, 36), (36, 96, 172), (44, 138, 92), (232, 232, 226), (226, 112, 32),
    (110, 60, 140),
)  # fmt: skip


def _pick(rng: np.random.Generator, colors: tuple[Color, ...]) -> Color:
    r, g, b = colors[rng.integers(len(colors))]
    dr, dg, db = rng.uniform(-12, 12, 3)
    return (r + dr, g + dg, b + db)


def _wheels(body: Solid, axles: tuple[float, ...], half: float, radius: float, wide: float = 0.22) -> None:
    """Draw the tires: the hull of an inner and an outer circle, so that they have a tread from the front."""
    for u in axles:
        for side in (-1.0, 1.0):
            rings = [body.ring(u, side * (half - inset), radius, radius) for inset in (0.0, wide)]
            hull = cv2.convexHull(np.array(rings, np.float32).reshape(-1, 2))[:, 0]
            body.shapes.append(Shape([(float(x), float(y)) for x, y in hull], _TIRE))


def _hubs(body: Solid, axles: tuple[float, ...], half: float, radius: float) -> None:
    """Draw the outer faces of the wheels on the side that we see, with a dark arch behind each."""
    for side in (-1.0, 1.0):
        if body.faces_us((0, side * half, radius), (0, side, 0)):
            for u in axles:
                body.disc(u, side * (half + 0.01), radius * 1.04, radius * 1.14, (18, 18, 20))
                body.disc(u, side * (half + 0.02), radius, radius, _TIRE)
                body.disc(u, side * (half + 0.03), radius, radius * 0.6, _RIM)
                body.disc(u, side * (half + 0.03), radius, radius * 0.2, _DARK)


def _lamps(body: Solid, u: float, half: float, y: float, tall: float, wide: float, lights: float) -> None:
    """Draw head lamps in front (`u` > 0), tail lamps at the rear, `lights` from 0 (off) to 1."""
    front = u > 0
    unlit: Color = (228, 230, 224) if front else (150, 20, 24)
    lit: Color = (255, 248, 222) if front else (255, 44, 38)
    color = mix(unlit, lit, lights)
    normal = (1.0 if front else -1.0, 0.0, 0.0)
    for side in (-1.0, 1.0):
        a, b = side * (half - wide), side * half
        panel = [(u, a, y), (u, b, y), (u, b, y + tall), (u, a, y + tall)]
        body.panel(panel, normal, color, glow=lights)


def _plate(body: Solid, u: float, v: tuple[float, float], y: tuple[float, float], color: Color) -> bool:
    """Draw a rectangle on the front or the rear face."""
    (a, b), (low, high) = v, y
    return body.panel([(u, a, low), (u, b, low), (u, b, high), (u, a, high)], (1.0 if u > 0 else -1.0, 0, 0), color)


def _side_panel(body: Solid, points: list[tuple[float, float]], half: float, color: Color, glow: float = 0) -> None:
    """Draw the same polygon [(u, y)...] on both flanks; only the one that faces us shows."""
    for side in (-1.0, 1.0):
        body.panel([(u, side * half, y) for u, y in points], (0, side, 0), color, glow)


def _greenhouse(body: Solid, base: list[tuple[float, float]], paint: Color, half: float, narrow: float) -> None:
    """Draw the cabin above the waist line; `base` is its rear foot, rear top, front top and front foot (u, y)."""
    rear, rear_top, front_top, front = base
    profile = [front, front_top, rear_top, rear]
    widths = [half, narrow, narrow, half]
    sky = (128, 150, 166)
    body.prism(profile, widths, [_GLASS, paint, _GLASS, paint, paint])
    if body.faces_us((front[0], 0, front[1]), (1, 0, 0.6)):
        _glint(body, front, front_top, half, narrow, sky)
    _windows(body, base, half, narrow)


def _glint(body: Solid, foot: Point, top: Point, half: float, narrow: float, color: Color) -> None:
    """Draw a light diagonal on the windshield."""

    def at(v: float, share: float) -> tuple[float, float, float]:
        width = half + (narrow - half) * share
        return (foot[0] + (top[0] - foot[0]) * share, v * width, foot[1] + (top[1] - foot[1]) * share)

    body.shapes.append(Shape([body.pixel(at(*p)) for p in ((0.1, 0.1), (0.45, 0.1), (0.75, 0.9), (0.4, 0.9))], color))


def _windows(body: Solid, base: list[tuple[float, float]], half: float, narrow: float) -> None:
    """Draw two panes on each flank of the cabin, split by a pillar."""
    (ur, yr), (urt, yrt), (uft, yft), (uf, yf) = base
    low, high = 0.12, 0.86

    def at(u0: float, y0: float, u1: float, y1: float, t: float) -> tuple[float, float, float]:
        return (u0 + (u1 - u0) * t, half + (narrow - half) * t + 0.01, y0 + (y1 - y0) * t)

    back = [at(ur, yr, urt, yrt, t) for t in (low, high)]
    fore = [at(uf, yf, uft, yft, t) for t in (low, high)]
    for a, b in ((0.09, 0.5), (0.55, 0.93)):
        low_a, low_b = (_blend(back[0], fore[0], t) for t in (a, b))
        top_a, top_b = (_blend(back[1], fore[1], t) for t in (a, b))
        for side in (-1.0, 1.0):
            pane = [(u, side * v, y) for u, v, y in (low_a, low_b, top_b, top_a)]
            body.panel(pane, (0, side, 0), _GLASS)


def _blend(a: Local, b: Local, t: float) -> Local:
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


# waist, roof, hood height, cabin's rear foot, rear top, front top, front foot (u from the middle of the car)
_CARS = {
    "sedan": (0.92, 1.44, 0.84, -1.75, -1.10, 0.25, 1.00),
    "hatch": (0.92, 1.50, 0.86, -2.05, -1.70, 0.25, 1.00),
    "suv": (1.08, 1.76, 1.02, -2.08, -1.85, 0.35, 1.00),
    "van": (1.06, 1.92, 1.00, -2.10, -1.98, 0.75, 1.50),
}


def draw_car(body: Solid, rng: np.random.Generator, lights: float) -> None:
    """Draw a sedan, hatchback, off-roader or van, 4.3 m long and 1.8 m wide."""
    kind = list(_CARS)[rng.choice(4, p=(0.36, 0.3, 0.22, 0.12))]
    waist, roof, hood, ur, urt, uft, uf = _CARS[kind]
    paint, half, length = _pick(rng, _PAINTS), CAR[1] / 2, CAR[0] / 2
    axles, radius = (-1.32, 1.34), 0.34 if kind != "suv" else 0.38
    _wheels(body, axles, half - 0.03, radius)
    profile = [
        (length - 0.05, 0.24),
        (length, 0.48),
        (length - 0.06, hood - 0.12),
        (uf + 0.1, hood + 0.02),
        (uf - 0.2, waist),
        (ur, waist),
        (-length + 0.04, waist - 0.08),
        (-length, 0.5),
        (-length + 0.05, 0.26),
    ]
    lower = shade(paint, 0.72)
    widths = [half * 0.95, half, half, half, half, half, half, half, half * 0.95]
    body.prism(profile, widths, [lower, paint, paint, paint, paint, paint, paint, lower, _DARK, paint])
    _side_panel(
        body,
        [(-length + 0.05, 0.26), (length - 0.06, 0.24), (length - 0.03, 0.4), (-length + 0.03, 0.4)],
        half + 0.005,
        lower,
    )
    _greenhouse(body, [(ur, waist), (urt, roof), (uft, roof), (uf, waist - 0.03)], paint, half * 0.97, half * 0.76)
    _hubs(body, axles, half, radius)
    _car_ends(body, length, half, waist, hood, lights)


def _car_ends(body: Solid, length: float, half: float, waist: float, hood: float, lights: float) -> None:
    front = length + 0.01
    if _plate(body, front, (-half * 0.55, half * 0.55), (0.44, 0.62), _DARK):
        _plate(body, front, (-half * 0.9, half * 0.9), (0.24, 0.36), _DARK)
        _plate(body, front, (-0.26, 0.26), (0.38, 0.48), (226, 226, 216))
        _lamps(body, front, half * 0.95, hood - 0.28, 0.17, 0.4, lights)
        return
    if _plate(body, -front, (-0.26, 0.26), (0.5, 0.62), (226, 226, 216)):
        _plate(body, -front, (-half * 0.9, half * 0.9), (0.24, 0.36), _DARK)
        _lamps(body, -front, half * 0.97, waist - 0.34, 0.2, 0.34, lights)


def draw_bus(body: Solid, rng: np.random.Generator, lights: float) -> None:
    """Draw a city bus, 10.5 m long and 3 m high: a window band, doors, a destination sign."""
    paint, half, length = _pick(rng, _FLEET), BUS[1] / 2, BUS[0] / 2
    skirt = shade(paint, 0.7) if rng.random() < 0.5 else (228, 228, 222)
    axles, radius, top = (-3.0, 3.2), 0.48, 3.05
    glass, glow = ((246, 214, 140), 0.45 * lights) if lights > 0.65 else (_GLASS, 0.0)
    _wheels(body, axles, half - 0.04, radius, 0.3)
    profile = [
        (length, 0.3),
        (length, 2.6),
        (length - 0.25, top),
        (-length + 0.2, top),
        (-length, 2.8),
        (-length, 0.3),
    ]
    body.prism(profile, [half] * 6, [paint, paint, shade(paint, 1.05), paint, paint, _DARK, paint])
    _side_panel(body, [(-length, 0.3), (length, 0.3), (length, 0.75), (-length, 0.75)], half + 0.005, skirt)
    _side_panel(
        body,
        [(-length + 0.2, 1.35), (length - 0.1, 1.35), (length - 0.1, 2.45), (-length + 0.2, 2.45)],
        half + 0.01,
        _DARK,
    )
    for k in range(7):
        a = -length + 0.35 + k * 1.42
        _side_panel(body, [(a, 1.43), (a + 1.28, 1.43), (a + 1.28, 2.37), (a, 2.37)], half + 0.02, glass, glow)
    for a in (-0.4, 4.0):
        body.panel(
            [
                (a, half + 0.03, 0.4),
                (a + 1.1, half + 0.03, 0.4),
                (a + 1.1, half + 0.03, 2.4),
                (a, half + 0.03, 2.4),
            ],
            (0, 1, 0),
            (84, 100, 112),
        )
    _hubs(body, axles, half, radius)
    _bus_ends(body, length, half, glass, glow, lights)


def _bus_ends(body: Solid, length: float, half: float, glass: Color, glow: float, lights: float) -> None:
    front = length + 0.01
    if _plate(body, front, (-half * 0.94, half * 0.94), (1.15, 2.5), _GLASS):
        sign = [
            (front, -half * 0.7, 2.56),
            (front, half * 0.7, 2.56),
            (front, half * 0.7, 2.84),
            (front, -half * 0.7, 2.84),
        ]
        body.panel(sign, (1, 0, 0), (255, 190, 60), glow=0.35 + 0.5 * lights)
        _plate(body, front, (-0.03, 0.03), (1.15, 2.5), _DARK)
        _plate(body, front, (-half, half), (0.3, 0.5), _DARK)
        _lamps(body, front, half * 0.94, 0.66, 0.22, 0.42, lights)
    else:
        rear = [
            (-front, v, y) for v, y in ((-half * 0.8, 1.6), (half * 0.8, 1.6), (half * 0.8, 2.5), (-half * 0.8, 2.5))
        ]
        body.panel(rear, (-1, 0, 0), glass, glow)
        _plate(body, -front, (-half * 0.5, half * 0.5), (0.7, 1.3), _DARK)
        _lamps(body, -front, half * 0.95, 0.75, 0.5, 0.24, lights)


def draw_truck(body: Solid, rng: np.random.Generator, lights: float) -> None:
    """Draw a delivery truck, 7.2 m long: a cab, a chassis and a tall cargo box."""
    paint, half, length = _pick(rng, _PAINTS), TRUCK[1] / 2, TRUCK[0] / 2
    cargo = (226, 226, 220) if rng.random() < 0.5 else _pick(rng, _FLEET)
    tall, axles, radius = rng.uniform(2.9, 3.5), (-2.0, 2.4), 0.46
    _wheels(body, axles, half - 0.05, radius, 0.34)
    body.box((-length, length - 0.2), (-half * 0.8, half * 0.8), (0.45, 0.8), _DARK)
    parts: list[Callable[[], None]] = [
        partial(_cab, body, paint, length, half * 0.94),
        partial(_cargo, body, cargo, length, half, tall),
    ]
    # The farther part first: that is the cab when the truck drives away from us.
    for part in parts if body.cos >= 0 else reversed(parts):
        part()
    _hubs(body, axles, half - 0.03, radius)
    if _plate(body, length + 0.01, (-half * 0.6, half * 0.6), (0.75, 1.05), _DARK):
        _plate(body, length + 0.01, (-half * 0.94, half * 0.94), (0.4, 0.58), _DARK)
        _lamps(body, length + 0.01, half * 0.9, 0.66, 0.22, 0.36, lights)
    else:
        _plate(body, -length - 0.01, (-half * 0.9, half * 0.9), (0.5, 0.72), _DARK)
        _lamps(body, -length - 0.02, half * 0.92, 0.52, 0.18, 0.36, lights)


def _cab(body: Solid, paint: Color, length: float, half: float) -> None:
    back = length - 1.9
    profile = [
        (length, 0.42),
        (length, 1.25),
        (length - 0.35, 2.25),
        (length - 0.7, 2.4),
        (back, 2.4),
        (back, 0.42),
    ]
    body.prism(profile, [half] * 6, [paint, _GLASS, paint, paint, _DARK, _DARK, paint])
    _side_panel(
        body,
        [(back + 0.45, 1.35), (length - 0.12, 1.35), (length - 0.42, 2.15), (back + 0.45, 2.15)],
        half + 0.01,
        _GLASS,
    )


def _cargo(body: Solid, paint: Color, length: float, half: float, tall: float) -> None:
    front = length - 2.1
    body.box((-length, front), (-half, half), (0.8, tall), paint)
    stripe = shade(paint, 0.62)
    _side_panel(body, [(-length, 1.2), (front, 1.2), (front, 1.5), (-length, 1.5)], half + 0.01, stripe)
    for v in (-half * 0.98, 0.0, half * 0.94):
        _plate(body, -length - 0.01, (v, v + 0.06), (0.85, tall - 0.08), stripe)
    _plate(body, -length - 0.01, (-half, half), (tall - 0.12, tall), stripe)
