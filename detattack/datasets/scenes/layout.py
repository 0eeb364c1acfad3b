"""The layout of a scene: vehicles in lanes, at curbs, in junctions; people on sidewalks and crossings; scenery."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from detattack.datasets.scenes.backdrop import Street, draw_lamp, draw_tree
from detattack.datasets.scenes.camera import Camera
from detattack.datasets.scenes.paint import Shape
from detattack.datasets.scenes.people import (
    BIKE,
    draw_bicycle,
    draw_light,
    draw_motorcycle,
    draw_person,
    draw_rider,
    draw_sign,
)
from detattack.datasets.scenes.solid import Local, Solid
from detattack.datasets.scenes.types import CATEGORIES
from detattack.datasets.scenes.vehicles import BUS, CAR, TRUCK, draw_bus, draw_car, draw_truck
from detattack.datasets.scenes.weather import Weather

__all__ = ["Ground", "Item", "Plan", "lay_out"]

Ground = tuple[float, float, float, float]
"""A piece of the street: x0, x1, z0, z1 in meters."""

LABELS = {category.name: k for k, category in enumerate(CATEGORIES)}
_KINDS = ("car", "person", "bicycle", "motorcycle", "bus", "truck", "traffic light", "stop sign")
_SHARES = (0.30, 0.22, 0.085, 0.085, 0.07, 0.08, 0.10, 0.06)
_FLEET: dict[str, tuple[tuple[float, float], Callable[[Solid, np.random.Generator, float], None]]] = {
    "car": (CAR, draw_car),
    "bus": (BUS, draw_bus),
    "truck": (TRUCK, draw_truck),
}
_BIKES = {"bicycle": (draw_bicycle, 0.92), "motorcycle": (draw_motorcycle, 0.84)}


@dataclass(frozen=True)
class Item:
    """An object or a piece of scenery in the street.

    - shapes: how it is painted
    - ground: where it stands
    - label: index into `CATEGORIES`; None for scenery
    - beams: outlines on the ground, in meters, that its lamps light up
    - shadow: outline on the ground, in meters, that it darkens
    """

    shapes: list[Shape]
    ground: Ground
    label: int | None = None
    beams: tuple[list[Local], ...] = ()
    shadow: tuple[Local, ...] = ()

    @property
    def depth(self) -> float:
        """The depth of its middle, in meters."""
        return (self.ground[2] + self.ground[3]) / 2


@dataclass
class Plan:
    """The scene to be rendered; `items` grows while it is laid out."""

    camera: Camera
    street: Street
    weather: Weather
    rng: np.random.Generator
    items: list[Item]

    def occupied(self, ground: Ground, margin: float = 0.35) -> bool:
        """Return whether some item stands on this piece of ground."""
        x0, x1, z0, z1 = ground
        return any(
            x0 < b[1] + margin and b[0] < x1 + margin and z0 < b[3] + margin and z1 + margin > b[2]
            for b in (item.ground for item in self.items)
        )


def lay_out(plan: Plan) -> None:
    """Fill an empty plan: signs and lights first, then the rare objects, then cars; trees and lamps last."""
    rng = plan.rng
    count = int(rng.integers(0, 3)) if rng.random() < 0.08 else int(np.clip(rng.poisson(7.6), 3, 15))
    kinds = ["car"] if count > 2 and rng.random() < 0.35 else []
    kinds += [_KINDS[k] for k in rng.choice(len(_KINDS), max(count - len(kinds), 0), p=_SHARES)]
    for kind in sorted(kinds, key=_KINDS.index, reverse=True):
        for _ in range(10):
            if _PLACERS[kind](plan, kind):
                break
    _scenery(plan)


def _distance(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a log-uniform distance: each halving of an object's size is equally frequent."""
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def _footprint(x: float, z: float, yaw: float, size: tuple[float, float]) -> Ground:
    s, c = abs(math.sin(yaw)), abs(math.cos(yaw))
    dx, dz = (size[0] * s + size[1] * c) / 2, (size[0] * c + size[1] * s) / 2
    return (x - dx, x + dx, z - dz, z + dz)


def _corners(body: Solid, size: tuple[float, float], grow: float = 0.0) -> tuple[Local, ...]:
    u, v = size[0] / 2 + grow, size[1] / 2 + grow
    return tuple(body.place(a, b, 0.0) for a, b in ((-u, -v), (-u, v), (u, v), (u, -v)))


def _inside(plan: Plan, ground: Ground, low: float) -> bool:
    """Return whether a place is roughly in view, not too near, and free."""
    x, z = (ground[0] + ground[1]) / 2, (ground[2] + ground[3]) / 2
    column, _ = plan.camera.project(x, 0, max(z, 1.0))
    edge = 0.06 * plan.camera.width
    return ground[2] > low and -edge < column < plan.camera.width + edge and not plan.occupied(ground)


def _place_vehicle(plan: Plan, kind: str) -> bool:
    """Place a vehicle in a lane, parked at a curb, or across in a junction."""
    rng, street = plan.rng, plan.street
    size, sketch = _FLEET[kind]
    where = rng.random()
    if where < 0.2 and street.junction:
        z = rng.uniform(street.junction[0] + 1.2, street.junction[1] - 1.2)
        x = rng.uniform(-0.55, 0.55) * z
        yaw = (1 if rng.random() < 0.5 else -1) * math.pi / 2 + rng.uniform(-0.25, 0.25)
        if rng.random() < 0.3:
            yaw += rng.uniform(-0.7, 0.7)
    elif where < 0.5 and street.parking > 1 and kind != "bus":
        right = rng.random() < 0.5
        z, yaw = _distance(rng, 6, 45), (0.0 if right else math.pi) + rng.normal() * 0.03
        x = street.right - 1.15 if right else street.left + 1.15
    else:
        lane, way = street.lanes[rng.integers(len(street.lanes))]
        x, z = lane + rng.normal() * 0.15, _distance(rng, 6.5, 48)
        yaw = (0.0 if way > 0 else math.pi) + rng.normal() * (0.04 if rng.random() < 0.75 else 0.3)
    ground = _footprint(x, z, yaw, size)
    if not _inside(plan, ground, 3.6):
        return False
    body = Solid(plan.camera, x, z, yaw, plan.weather.sun_side)
    sketch(body, rng, plan.weather.lights)
    plan.items.append(Item(body.shapes, ground, LABELS[kind], _beams(body, size), _corners(body, size, 0.12)))
    return True


def _beams(body: Solid, size: tuple[float, float]) -> tuple[list[Local], ...]:
    """Return the ground that the head lamps light up."""
    u, v = size[0] / 2, size[1] / 2
    return ([body.place(a, b, 0.0) for a, b in ((u, -v * 0.7), (u + 5, -v * 2), (u + 5, v * 2), (u, v * 0.7))],)


def _place_person(plan: Plan, _: str) -> bool:
    """Place a person on a sidewalk, on a crossing, now and then in the street."""
    rng, street = plan.rng, plan.street
    where = rng.random()
    if where < 0.25 and street.crossing:
        x, z = rng.uniform(street.left, street.right), street.crossing + rng.uniform(0.2, 2.4)
    elif where < 0.9:
        right = rng.random() < 0.5
        curb = street.right if right else street.left
        x = curb + (1 if right else -1) * rng.uniform(0.4, street.sidewalk - 0.3)
        z = _distance(rng, max(4.5, abs(x) * 1.6), 34)
    else:
        z = _distance(rng, 6, 30)
        x = rng.uniform(street.left + 0.5, street.right - 0.5)
    ground = (x - 0.3, x + 0.3, z - 0.25, z + 0.25)
    if not _inside(plan, ground, 3.6):
        return False
    body = Solid(plan.camera, x, z, 0.0, plan.weather.sun_side)
    draw_person(body, rng)
    plan.items.append(Item(body.shapes, ground, LABELS["person"], (), _corners(body, (0.34, 0.6))))
    return True


def _place_bike(plan: Plan, kind: str) -> bool:
    """Place a bike, ridden at the side of a lane or across the street, or parked on a sidewalk."""
    rng, street = plan.rng, plan.street
    ridden = rng.random() < 0.62
    if ridden and rng.random() < 0.7:
        lane, way = street.lanes[rng.integers(len(street.lanes))]
        x, z = lane + way * rng.uniform(-0.4, 1.2), _distance(rng, 5, 30)
        yaw = (0.0 if way > 0 else math.pi) + rng.normal() * 0.35
    else:
        z = _distance(rng, 5, 26)
        span = (street.left, street.right) if ridden else (street.left - street.sidewalk, street.left - 0.5)
        if not ridden and rng.random() < 0.5:
            span = (street.right + 0.5, street.right + street.sidewalk)
        x = rng.uniform(*span)
        yaw = (1 if rng.random() < 0.5 else -1) * math.pi / 2 + rng.normal() * 0.3
    ground = _footprint(x, z, yaw, BIKE)
    if not _inside(plan, ground, 3.6):
        return False
    sketch, seat = _BIKES[kind]
    body = Solid(plan.camera, x, z, yaw, plan.weather.sun_side)
    sketch(body, rng, plan.weather.lights if ridden else 0.0)
    plan.items.append(Item(body.shapes, ground, LABELS[kind], (), _corners(body, (1.7, 0.3))))
    if ridden:
        rider = Solid(plan.camera, x, z, yaw, plan.weather.sun_side)
        draw_rider(rider, rng, seat)
        # A hair nearer than the bike, and on the same ground.
        before = (ground[0], ground[1], ground[2] - 0.01, ground[3] - 0.01)
        plan.items.append(Item(rider.shapes, before, LABELS["person"]))
    return True


def _curbside(plan: Plan, low: float, high: float) -> tuple[float, float, int]:
    right = plan.rng.random() < 0.6
    side = 1 if right else -1
    z = _distance(plan.rng, low, high)
    return (plan.street.right if right else plan.street.left) + side * plan.rng.uniform(0.35, 0.8), z, side


def _place_light(plan: Plan, _: str) -> bool:
    """Place a traffic light on a pole at the curb, or on an arm above the street."""
    rng, street = plan.rng, plan.street
    x, z, side = _curbside(plan, 6, 21)
    if street.junction and rng.random() < 0.5:
        z = street.junction[0] - 0.9 if rng.random() < 0.6 else street.junction[1] + 0.6
    ground = (x - 0.15, x + 0.15, z - 0.15, z + 0.15)
    if not _inside(plan, ground, 4.0):
        return False
    post = Solid(plan.camera, x, z, 0.0, plan.weather.sun_side)
    y, reach, gray = rng.uniform(2.1, 2.9), 0.0, (74, 78, 82)
    if rng.random() < 0.35:
        y, reach = rng.uniform(4.0, 4.8), -side * rng.uniform(1.5, 3.5)
        post.rod([(0, 0, 0), (0, 0, y + 1.2), (0, reach, y + 1.2)], 0.14, gray)
    else:
        post.rod([(0, 0, 0), (0, 0, y + 1.1)], 0.13, gray)
    plan.items.append(Item(post.shapes, ground, None, (), _corners(post, (0.3, 0.3))))
    body = Solid(plan.camera, x + reach, z, rng.uniform(-0.35, 0.35), plan.weather.sun_side)
    draw_light(body, rng, y, -side)
    plan.items.append(Item(body.shapes, (x + reach - 0.2, x + reach + 0.2, z - 0.2, z + 0.08), LABELS["traffic light"]))
    return True


def _place_sign(plan: Plan, _: str) -> bool:
    """Place a stop sign at the curb."""
    rng = plan.rng
    x, z, _side = _curbside(plan, 5, 20)
    ground = (x - 0.15, x + 0.15, z - 0.15, z + 0.15)
    if not _inside(plan, ground, 4.0):
        return False
    post = Solid(plan.camera, x, z, 0.0, plan.weather.sun_side)
    y = rng.uniform(2.1, 2.5)
    post.rod([(0, 0, 0), (0, 0, y + 0.3)], 0.08, (150, 152, 152))
    plan.items.append(Item(post.shapes, ground, None, (), _corners(post, (0.3, 0.3))))
    body = Solid(plan.camera, x, z, rng.uniform(-0.5, 0.5), plan.weather.sun_side)
    draw_sign(body, y)
    plan.items.append(Item(body.shapes, (x - 0.2, x + 0.2, z - 0.2, z + 0.08), LABELS["stop sign"]))
    return True


_PLACERS: dict[str, Callable[[Plan, str], bool]] = {
    "person": _place_person,
    "bicycle": _place_bike,
    "motorcycle": _place_bike,
    "car": _place_vehicle,
    "bus": _place_vehicle,
    "truck": _place_vehicle,
    "traffic light": _place_light,
    "stop sign": _place_sign,
}


def _scenery(plan: Plan) -> None:
    """Place trees and street lamps along both sidewalks."""
    rng, street, weather = plan.rng, plan.street, plan.weather
    for side, curb in ((-1, street.left), (1, street.right)):
        park = street.park[(side + 1) // 2]
        trees, lamps = rng.random() < 0.5 or park, rng.random() < 0.75
        z = rng.uniform(4.5, 9)
        while z < 60:
            in_gap = street.junction and street.junction[0] - 1 < z < street.junction[1] + 1
            deep = rng.uniform(0.5, 1.0) if not park else rng.uniform(0.5, 7.0)
            x = curb + side * deep
            if trees and not in_gap:
                _plant(plan, x, z, partial(draw_tree, rng=rng))
            if lamps and not in_gap and rng.random() < 0.6:
                _plant(
                    plan,
                    curb + side * 0.5,
                    z + 3.0,
                    partial(draw_lamp, reach=-side * 1.6, lights=weather.lights),
                )
            z += rng.uniform(6, 12)


def _plant(plan: Plan, x: float, z: float, sketch: Callable[[Solid], object]) -> None:
    ground = (x - 0.2, x + 0.2, z - 0.2, z + 0.2)
    if plan.occupied(ground):
        return
    body = Solid(plan.camera, x, z, 0.0, plan.weather.sun_side)
    where = sketch(body)
    beams: tuple[list[Local], ...] = ()
    if isinstance(where, tuple):
        ring = [(where[0] + 3.4 * math.cos(a), 0.0, where[2] + 3.4 * math.sin(a)) for a in np.arange(12) * 0.5236]
        beams = (ring,)
    plan.items.append(Item(body.shapes, ground, None, beams, _corners(body, (0.5, 0.5))))
