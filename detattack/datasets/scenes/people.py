"""People, bicycles, motorcycles, traffic lights and stop signs, from rods and balls."""

from __future__ import annotations

import math

import numpy as np

from detattack.datasets.scenes.paint import Color, Shape
from detattack.datasets.scenes.solid import Solid, shade

__all__ = ["BIKE", "draw_bicycle", "draw_light", "draw_motorcycle", "draw_person", "draw_rider", "draw_sign"]

BIKE = (1.8, 0.6)  # footprint in meters: length, width
_SKIN: tuple[Color, ...] = (
    (244, 206, 176), (224, 172, 130), (172, 116, 78), (116, 76, 52), (238, 190, 150),
)  # fmt: skip
_CLOTHES: tuple[Color, ...] = (
    (206, 56, 52), (42, 84, 148), (240, 240, 234), (52, 54, 62), (232, 178, 52), (62, 136, 92),
    (150, 82, 150), (236, 128, 86), (104, 152, 196), (128, 106, 84), (222, 112, 146),
)  # fmt: skip
_TROUSERS: tuple[Color, ...] = ((42, 52, 84), (40, 40, 44), (112, 96, 76), (84, 96, 118), (150, 136, 112))
_HAIR: tuple[Color, ...] = ((40, 30, 26), (86, 58, 36), (178, 138, 84), (112, 108, 106), (24, 24, 28))
_TIRE, _STEEL = (28, 28, 32), (150, 156, 164)


def _pick(rng: np.random.Generator, colors: tuple[Color, ...]) -> Color:
    return colors[rng.integers(len(colors))]


def draw_person(body: Solid, rng: np.random.Generator) -> None:
    """Draw a person 1.15 to 1.9 m tall, walking or standing, seen from the front, the back or a side."""
    k = rng.uniform(1.5, 1.9) / 1.75 if rng.random() < 0.86 else rng.uniform(1.15, 1.4) / 1.75
    shirt, legs, skin, hair = (
        _pick(rng, _CLOTHES),
        _pick(rng, _TROUSERS),
        _pick(rng, _SKIN),
        _pick(rng, _HAIR),
    )
    pose = rng.choice(3, p=(0.45, 0.3, 0.25))  # walking across, walking along, standing
    flip = 1.0 if rng.random() < 0.5 else -1.0
    stride = (rng.uniform(0.16, 0.3), rng.uniform(0.03, 0.08), 0.0)[pose]
    wide = (0.17, 0.22, 0.22)[pose] * rng.uniform(0.9, 1.15)
    bend = rng.uniform(0.02, 0.1) * flip if pose == 0 else 0.0

    def rod(points: list[tuple[float, float]], thick: float, color: Color) -> None:
        body.rod([(0.0, a * k, y * k) for a, y in points], thick * k, color)

    hip = 0.09 if pose else 0.03
    rod([(-hip, 0.88), (-hip - stride * 0.45 + bend, 0.48), (-hip - stride, 0.07)], 0.15, shade(legs, 0.82))
    rod([(-hip - stride, 0.04), (-hip - stride + 0.09 * flip, 0.04)], 0.08, (34, 30, 30))
    swing = stride * 0.8
    shoulder = wide + 0.05
    far, near = (shoulder, -shoulder) if pose else (0.0, 0.0)
    rod([(far * 0.9, 1.36), (far + swing * 0.6, 1.1), (far * 1.05 + swing, 0.88)], 0.105, shade(shirt, 0.76))
    rod([(hip, 0.88), (hip + stride * 0.5 + bend, 0.48), (hip + stride, 0.07)], 0.155, legs)
    rod([(hip + stride, 0.04), (hip + stride + 0.09 * flip, 0.04)], 0.08, (34, 30, 30))
    _torso(body, k, wide, shirt, skirt=rng.random() < 0.16)
    rod([(near * 0.9, 1.36), (near - swing * 0.6, 1.1), (near * 1.05 - swing, 0.88)], 0.11, shade(shirt, 0.9))
    rod([(near * 1.05 - swing, 0.86), (near * 1.05 - swing, 0.84)], 0.09, skin)
    if rng.random() < 0.25:
        rod([(near - swing, 0.8), (near - swing, 0.62)], 0.24, _pick(rng, _CLOTHES))
    _head(body, k, 0.0 if pose else flip, skin, hair, back=pose == 1 and rng.random() < 0.5)


def _torso(body: Solid, k: float, wide: float, shirt: Color, skirt: bool) -> None:
    low, flare = (0.62, 1.25) if skirt else (0.82, 0.86)
    outline = [
        (-wide, 1.42),
        (wide, 1.42),
        (wide * 1.02, 1.1),
        (wide * flare, low),
        (-wide * flare, low),
        (-wide * 1.02, 1.1),
    ]
    body.shapes.append(Shape([body.pixel((0, a * k, y * k)) for a, y in outline], shirt))
    body.rod([(0, -wide * 0.62 * k, 1.4 * k), (0, wide * 0.62 * k, 1.4 * k)], 0.13 * k, shirt)
    shadow = [(wide * 0.35, 1.44), (wide, 1.4), (wide * 1.02, 1.1), (wide * flare, low), (wide * 0.4, low)]
    body.shapes.append(Shape([body.pixel((0, a * k, y * k)) for a, y in shadow], shade(shirt, 0.84)))


def _head(body: Solid, k: float, look: float, skin: Color, hair: Color, back: bool) -> None:
    body.rod([(0, 0, 1.44 * k), (0, 0, 1.54 * k)], 0.09 * k, shade(skin, 0.85))
    body.ball((0, -0.015 * look * k, 1.665 * k), 0.118 * k, hair, tall=1.12)
    if not back:
        body.ball((0, 0.03 * look * k, 1.625 * k), 0.098 * k, skin, tall=1.15)


def draw_rider(body: Solid, rng: np.random.Generator, seat: float) -> None:
    """Draw a person on a two-wheeler whose saddle is `seat` meters high."""
    shirt, legs, skin = _pick(rng, _CLOTHES), _pick(rng, _TROUSERS), _pick(rng, _SKIN)
    helmet = _pick(rng, _CLOTHES) if rng.random() < 0.75 else _pick(rng, _HAIR)
    top, foot = seat + 0.56, seat - 0.6
    far = 1.0 if body.faces_us((0, -0.2, seat), (0, -1, 0)) else -1.0
    for side, light in ((far, 0.78), (-far, 1.0)):
        knee = (0.26, side * 0.16, seat - 0.18 + 0.08 * side)
        body.rod(
            [(-0.18, side * 0.1, seat), knee, (0.04, side * 0.14, foot + 0.12 * side)],
            0.15,
            shade(legs, light),
        )
        body.rod(
            [(0.02, side * 0.14, foot - 0.04 + 0.12 * side), (0.16, side * 0.14, foot - 0.04 + 0.12 * side)],
            0.09,
            (34, 30, 30),
        )
        if side == far:
            body.rod([(0.12, side * 0.2, top - 0.08), (0.55, side * 0.26, seat + 0.14)], 0.1, shade(shirt, 0.75))
            body.rod([(-0.2, 0, seat + 0.04), (0.1, 0, top - 0.08)], 0.33, shirt)
    body.rod(
        [(0.12, -far * 0.2, top - 0.08), (0.3, -far * 0.27, seat + 0.22), (0.55, -far * 0.26, seat + 0.14)],
        0.1,
        shade(shirt, 0.88),
    )
    body.rod([(0.12, 0, top), (0.17, 0, top + 0.12)], 0.1, skin)
    body.ball((0.19, 0, top + 0.2), 0.12, skin, tall=1.15)
    body.ball((0.17, 0, top + 0.25), 0.13, helmet, tall=0.85)


def _wheel(body: Solid, u: float, radius: float, thick: float, spokes: bool) -> None:
    width = max(body.size(thick), 0.7)
    body.shapes.append(Shape(body.ring(u, 0, radius, radius - thick / 2, 18), _TIRE, 0, width, True, True))
    if spokes and body.size(radius) > 9:
        for k in range(4):
            du, dy = 0.9 * radius * math.cos(k * 0.785), 0.9 * radius * math.sin(k * 0.785)
            body.rod([(u - du, 0, radius - dy), (u + du, 0, radius + dy)], 0.012, (120, 122, 126))


def draw_bicycle(body: Solid, rng: np.random.Generator, lights: float) -> None:
    """Draw a city bicycle, 1.75 m long."""
    color, r = _pick(rng, _CLOTHES), 0.34
    hub, head, seat, bottom = (-0.53, 0.0, r), (0.38, 0.0, 0.86), (-0.2, 0.0, 0.88), (-0.08, 0.0, 0.3)
    for u in (-0.53, 0.56):
        _wheel(body, u, r, 0.055, spokes=True)
    body.rod([hub, bottom, head], 0.055, color)
    body.rod([hub, (-0.18, 0.0, 0.78), (0.36, 0.0, 0.8)], 0.055, color)
    body.rod([(-0.2, 0, 0.92), bottom], 0.05, shade(color, 0.8))
    body.rod([(0.56, 0, r), (0.36, 0, 0.98)], 0.055, shade(color, 0.85))
    body.rod([(0.3, -0.28, 1.03), (0.38, 0, 1.0), (0.3, 0.28, 1.03)], 0.05, (44, 44, 48))
    body.rod([(seat[0] - 0.14, 0, 0.95), (seat[0] + 0.12, 0, 0.95)], 0.09, (40, 34, 32))
    body.ball((-0.06, 0.03, 0.3), 0.09, _STEEL)
    _bike_lamp(body, 0.48, 0.86, 0.05, lights)


def _bike_lamp(body: Solid, u: float, y: float, radius: float, lights: float) -> None:
    if body.faces_us((u, 0, y), (1, 0, 0)):
        body.ball((u, 0, y), radius, (255, 246, 214), glow=lights)
    else:
        body.ball((-0.6, 0, y - 0.1), radius, (230, 36, 32), glow=lights)


def draw_motorcycle(body: Solid, rng: np.random.Generator, lights: float) -> None:
    """Draw a motorcycle, 2 m long, with a tank, an engine and fat tires."""
    color, r = _pick(rng, _CLOTHES), 0.32
    for u in (-0.68, 0.72):
        _wheel(body, u, r, 0.15, spokes=False)
        body.disc(u, 0.02, r, r * 0.5, (112, 114, 120))
    body.rod([(0.72, 0.0, r), (0.48, 0, 0.95)], 0.1, _STEEL)
    body.rod([(-0.68, 0.0, r), (-0.2, 0, 0.42)], 0.1, (70, 72, 76))
    body.prism([(0.34, 0.3), (0.42, 0.62), (-0.3, 0.66), (-0.3, 0.26)], [0.15] * 4, [(66, 68, 74)] * 5)
    body.rod([(-0.9, 0.16, 0.36), (0.1, 0.16, 0.3)], 0.1, (184, 188, 194))
    tank = [(0.5, 0.66), (0.5, 0.9), (0.3, 1.0), (-0.05, 0.86), (-0.1, 0.64)]
    body.prism(tank, [0.1, 0.13, 0.16, 0.14, 0.13], [color] * 6)
    body.prism(
        [(-0.05, 0.64), (-0.05, 0.82), (-0.62, 0.86), (-0.86, 0.8), (-0.6, 0.62)],
        [0.14] * 5,
        [(36, 34, 36)] * 6,
    )
    body.rod([(-0.5, 0, 0.7), (-0.92, 0, 0.74)], 0.14, color)
    body.rod([(0.52, 0, 0.5), (0.86, 0, 0.66)], 0.1, color)
    body.rod([(0.36, -0.36, 1.06), (0.48, 0, 1.0), (0.36, 0.36, 1.06)], 0.06, (40, 40, 44))
    if body.faces_us((0.6, 0, 0.9), (1, 0, 0)):
        body.ball((0.6, 0, 0.88), 0.13, (206, 210, 210))
        body.ball((0.62, 0, 0.88), 0.1, (255, 248, 220), glow=lights)
    else:
        body.ball((-0.95, 0, 0.76), 0.08, (220, 34, 30), glow=lights)


LAMPS: tuple[Color, ...] = ((255, 52, 40), (255, 196, 40), (60, 240, 120))


def draw_light(body: Solid, rng: np.random.Generator, y: float, side: float) -> None:
    """Draw a traffic light, its bottom at `y` meters, its lamps toward us; `side` turns it a little."""
    on, wide, tall = rng.choice(3, p=(0.42, 0.16, 0.42)), 0.23, 1.15
    case = (34, 38, 38) if rng.random() < 0.7 else (196, 160, 40)
    for half, bottom, top, color in (
        (wide + 0.05, y - 0.05, y + tall + 0.05, shade(case, 0.7)),
        (wide, y, y + tall, case),
    ):
        outline = [(0.0, -half, bottom), (0.0, half, bottom), (0.0, half, top), (0.0, -half, top)]
        body.shapes.append(Shape([body.pixel(p) for p in outline], color))
    for k, lamp in enumerate(LAMPS):
        center = (0.0, side * 0.03, y + tall - 0.21 - k * 0.37)
        body.ball(center, 0.16, shade(case, 0.5))
        lit = k == on
        body.ball(center, 0.135, lamp if lit else shade(lamp, 0.24), glow=0.9 if lit else 0.0)


_LETTERS: dict[str, list[tuple[float, float]]] = {  # strokes on a 2x4 grid
    "S": [(2, 3.6), (1, 4), (0, 3.4), (0, 2.6), (2, 1.5), (2, 0.6), (1, 0), (0, 0.4)],
    "T": [(0, 4), (2, 4), (1, 4), (1, 0)],
    "O": [(0, 3), (1, 4), (2, 3), (2, 1), (1, 0), (0, 1), (0, 3)],
    "P": [(0, 0), (0, 4), (1.4, 4), (2, 3.2), (1.4, 2.1), (0, 2.1)],
}


def draw_sign(body: Solid, y: float) -> None:
    """Draw a stop sign 0.9 m wide, its middle at `y` meters, turned by the heading of `body`."""
    for radius, color in ((0.49, (238, 238, 234)), (0.45, (200, 30, 38))):
        corners = [(2 * k + 1) * math.pi / 8 for k in range(8)]
        outline = [(0.0, radius * math.cos(a), y + radius * math.sin(a)) for a in corners]
        body.shapes.append(Shape([body.pixel(p) for p in outline], color))
    if body.size(0.9) < 9:
        body.rod([(0, -0.28, y), (0, 0.28, y)], 0.16, (232, 214, 212))
        return
    for k, letter in enumerate("STOP"):
        strokes = [(0.0, -0.33 + 0.175 * k + 0.058 * a, y - 0.13 + 0.066 * b) for a, b in _LETTERS[letter]]
        body.rod(strokes, 0.045, (246, 246, 242))
