"""The background: sky, hills, houses, the street itself; and the trees and lamps along it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from detattack.datasets.scenes.camera import Camera
from detattack.datasets.scenes.paint import SCALE, Color, Shape, draw, fill_many, mix
from detattack.datasets.scenes.solid import Solid, shade
from detattack.datasets.scenes.weather import Weather

__all__ = ["Street", "draw_lamp", "draw_tree", "make_street", "paint_backdrop"]

_FAR = 4000.0  # meters; the ground ends there, a fraction of a pixel below the horizon
_WALLS: tuple[Color, ...] = (
    (196, 148, 116), (214, 196, 164), (164, 92, 76), (182, 186, 190), (226, 214, 196), (138, 150, 164),
    (206, 170, 120), (170, 118, 100), (150, 172, 160), (230, 200, 170), (122, 116, 126),
)  # fmt: skip
_WHITE: Color = (226, 226, 220)
_AWNINGS: tuple[Color, ...] = ((188, 52, 48), (46, 98, 86), (44, 78, 130), (212, 160, 60), (120, 60, 96))


@dataclass(frozen=True)
class Street:
    """The street, in meters relative to the camera.

    - left, right: the curbs' x
    - sidewalk: the sidewalks' width
    - parking: width of a parking strip
    - lanes: (middle x, +1 ahead / -1 toward us) each
    - crossing: depth of a zebra crossing, or None
    - junction: depths (near, far) of a crossing street, or None
    - park: whether there are trees instead of buildings on the left, on the right
    """

    left: float
    right: float
    sidewalk: float
    parking: float
    lanes: tuple[tuple[float, int], ...]
    crossing: float | None
    junction: tuple[float, float] | None
    park: tuple[bool, bool]


def make_street(rng: np.random.Generator) -> Street:
    """Make a straight street of two to four lanes; traffic keeps to the right."""
    each = int(rng.choice((1, 2), p=(0.62, 0.38)))
    lane, parking = rng.uniform(3.0, 3.5), 2.2 if rng.random() < 0.6 else 0.4
    half = each * lane + parking
    shift = rng.uniform(-0.55, 0.75) * half
    lanes = [((k + 0.5) * lane * side - shift, 1 if side > 0 else -1) for side in (-1, 1) for k in range(each)]
    junction = None
    if rng.random() < 0.55:
        near = rng.uniform(9, 24)
        junction = (near, near + rng.uniform(6.5, 9))
    crossing = None
    if rng.random() < 0.55:
        crossing = junction[0] - 3.4 if junction else rng.uniform(7, 22)
    return Street(
        left=-half - shift,
        right=half - shift,
        sidewalk=rng.uniform(2.4, 4.2),
        parking=parking,
        lanes=tuple(lanes),
        crossing=crossing,
        junction=junction,
        park=(bool(rng.random() < 0.3), bool(rng.random() < 0.3)),
    )


def paint_backdrop(
    canvas: np.ndarray, rng: np.random.Generator, camera: Camera, street: Street, weather: Weather
) -> None:
    """Fill `canvas` uint8 [2H,2W,4] with the empty street."""
    _sky(canvas, rng, camera, weather)
    _hills(canvas, rng, camera, weather)
    _ground(canvas, rng, camera, street, weather)
    _street(canvas, rng, camera, street, weather)
    for side in (-1, 1):
        _houses(canvas, rng, camera, street, weather, side)


def _sky(canvas: np.ndarray, rng: np.random.Generator, camera: Camera, weather: Weather) -> None:
    rows = min(camera.height, int(camera.horizon) + 4)
    t = (np.linspace(0, 1, rows, dtype=np.float32) ** 1.3)[:, None, None]
    sky = np.array(weather.zenith, np.float32) * (1 - t) + np.array(weather.haze, np.float32) * t
    sky = np.repeat(sky, camera.width, 1)
    if weather.clouds > 0:
        sky = _clouds(sky, rng, camera, weather, t)
    canvas[: rows * SCALE, :, :3] = cv2.resize(sky.clip(0, 255), None, fx=SCALE, fy=SCALE).astype(np.uint8)
    x, y = rng.uniform(0.05, 0.95) * camera.width, rng.uniform(0.08, 0.7) * camera.horizon
    if weather.name == "night":
        for _ in range(int(rng.integers(20, 70))):
            star = (float(rng.uniform(0, camera.width)), float(rng.uniform(0, camera.horizon * 0.8)))
            draw(canvas, [Shape([star, star], (210, 214, 235), float(rng.uniform(0.2, 0.8)), 0.5)])
    if weather.sun is not None and rng.random() < 0.6:
        radius, glow = camera.height * 0.028, 0.9 if weather.name == "night" else 0.35
        draw(canvas, [Shape([(x, y), (x, y)], weather.sun, glow, 2 * radius)])


def _clouds(sky: np.ndarray, rng: np.random.Generator, camera: Camera, weather: Weather, t: np.ndarray) -> np.ndarray:
    rows, cols = sky.shape[0] // 4 + 1, sky.shape[1] // 4 + 1
    cover = np.zeros((rows, cols), np.float32)
    for _ in range(int(rng.integers(2, 3 + int(7 * weather.clouds)))):
        cx, cy, long = rng.uniform(0, cols), rng.uniform(0, rows), rng.uniform(0.05, 0.16) * cols
        for _ in range(5):
            center = (int(cx + rng.normal() * long * 0.6), int(cy - abs(rng.normal()) * long * 0.12))
            axes = (int(long * rng.uniform(0.3, 0.6)) + 1, int(long * rng.uniform(0.1, 0.2)) + 1)
            cv2.ellipse(cover, center, axes, 0, 0, 360, 1.0, -1)
    cover = cv2.resize(cv2.GaussianBlur(cover, (0, 0), 1.6), (sky.shape[1], sky.shape[0]))[..., None]
    light = np.array(weather.cloud, np.float32)
    return sky + (light - sky) * cover * (0.75 - 0.35 * t)


def _hills(canvas: np.ndarray, rng: np.random.Generator, camera: Camera, weather: Weather) -> None:
    w, h, base = camera.width, camera.height, camera.horizon
    for layer in range(2):
        tone = mix(weather.haze, (92, 118, 128) if layer == 0 else (84, 112, 88), 0.35 + 0.25 * layer)
        if rng.random() < 0.6:
            xs = np.linspace(0, w, 25)
            rise = h * rng.uniform(0.02, 0.07) * (1.2 - 0.5 * layer)
            waves = np.zeros(25)
            for k in range(3):
                waves += np.sin(xs / w * rng.uniform(3, 14) + rng.uniform(0, 6.3)) / (k + 1)
            ys = base - rise * (1.1 + 0.6 * waves)
            outline = [(0.0, base + 2), *zip(xs.tolist(), ys.tolist(), strict=True), (float(w), base + 2)]
            draw(canvas, [Shape(outline, tone)])
        else:
            x = -10.0
            while x < w:
                wide, tall = rng.uniform(0.02, 0.07) * w, h * rng.uniform(0.03, 0.13) * (1.2 - 0.4 * layer)
                tower = [(x, base + 2), (x, base - tall), (x + wide, base - tall), (x + wide, base + 2)]
                draw(canvas, [Shape(tower, shade(tone, rng.uniform(0.94, 1.05)))])
                x += wide * rng.uniform(0.7, 1.3)


def _quad(camera: Camera, x: tuple[float, float], z: tuple[float, float], y: float = 0.0) -> list[tuple[float, float]]:
    (x0, x1), (z0, z1) = x, z
    return [camera.project(a, y, b) for a, b in ((x0, z0), (x1, z0), (x1, z1), (x0, z1))]


def _ground(canvas: np.ndarray, rng: np.random.Generator, camera: Camera, street: Street, weather: Weather) -> None:
    near = camera.nearest * 0.9
    for side, park in zip((-1, 1), street.park, strict=True):
        color = (104, 148, 82) if park else (170, 164, 154)
        bands = ((near, 9), (9, 16), (16, 28), (28, 50), (50, 110), (110, _FAR))
        for a, b in bands:
            if b > near:
                share = weather.haze_at((max(a, near) + b) / 2.4)
                quad = _quad(camera, (0.0, side * 9000.0), (max(a * 0.97, near), b))
                draw(canvas, [Shape(quad, color)], weather.haze, share)


def _street(canvas: np.ndarray, rng: np.random.Generator, camera: Camera, street: Street, weather: Weather) -> None:
    """Paint sidewalks, curbs, asphalt and markings, in bands so that the haze can thicken with distance."""
    near, stone = camera.nearest * 0.9, shade((186, 180, 170), rng.uniform(0.9, 1.06))
    asphalt = shade((92, 94, 100), rng.uniform(0.82, 1.12))
    edges = [near] + [z for z in np.geomspace(5, 400, 24) if z > near * 1.05]
    strips = (
        (street.left - street.sidewalk, street.right + street.sidewalk, stone),
        (street.left - 0.22, street.right + 0.22, shade(stone, 1.13)),
        (street.left, street.right, asphalt),
    )
    for left, right, color in strips:  # each whole before the next: no seams show through
        for a, b in pairwise(edges):
            quad = _quad(camera, (left, right), (max(near, a * 0.985), b))
            draw(canvas, [Shape(quad, color)], weather.haze, weather.haze_at((a + b) / 2))
    if street.junction:
        share = weather.haze_at(sum(street.junction) / 2)
        draw(canvas, [Shape(_quad(camera, (-300, 300), street.junction), asphalt)], weather.haze, share)
    _markings(canvas, rng, camera, street, weather, near)


def _markings(
    canvas: np.ndarray,
    rng: np.random.Generator,
    camera: Camera,
    street: Street,
    weather: Weather,
    near: float,
) -> None:
    middle = (street.left + street.right) / 2
    junction, crossing = street.junction or (1e9, -1e9), street.crossing

    def free(z0: float, z1: float) -> bool:
        clear = z1 < junction[0] or z0 > junction[1]
        return clear and (crossing is None or z1 < crossing - 0.3 or z0 > crossing + 3.0)

    def line(x: float, wide: float, z0: float, z1: float, color: Color) -> None:
        if z0 < z1 and free(z0, z1):
            quad = _quad(camera, (x - wide / 2, x + wide / 2), (z0, z1))
            draw(canvas, [Shape(quad, color)], weather.haze, weather.haze_at((z0 + z1) / 2))

    solid, tint = rng.random() < 0.5, (232, 196, 84) if rng.random() < 0.4 else _WHITE
    for k in range(40):
        z = near + 1.5 * k if solid else near + 3.2 * k - 1.0
        line(middle, 0.14, max(z, near), z + (1.5 if solid else 1.6), tint)
    inner = [x for x, _ in street.lanes]
    dividers = [(a + b) / 2 for a, b in pairwise(inner) if abs((a + b) / 2 - middle) > 1]
    borders = [street.left + street.parking, street.right - street.parking] if street.parking > 1 else []
    for x in dividers + borders:
        for k in range(22):
            z = near + 4.0 * k
            line(x, 0.11, z, z + 1.7, _WHITE)
    if crossing is not None:
        _zebra(canvas, camera, street, weather, crossing)


def _zebra(canvas: np.ndarray, camera: Camera, street: Street, weather: Weather, depth: float) -> None:
    """Paint the bars of a crossing that begins at `depth` meters."""
    share, x = weather.haze_at(depth), street.left + 0.4
    while x < street.right - 0.4:
        bar = _quad(camera, (x, x + 0.5), (depth, depth + 2.6))
        draw(canvas, [Shape(bar, _WHITE)], weather.haze, share)
        x += 1.0


def _houses(
    canvas: np.ndarray, rng: np.random.Generator, camera: Camera, street: Street, weather: Weather, side: int
) -> None:
    """Paint a row of buildings on one side (-1 left, 1 right), far to near, with a gap for the crossing street."""
    park = street.park[(side + 1) // 2]
    front = (street.right + street.sidewalk) if side > 0 else (street.left - street.sidewalk)
    front += side * (rng.uniform(10, 16) if park else 0.0)
    gap = (street.junction[0] - 2.0, street.junction[1] + 2.0) if street.junction else (1e9, 1e9)
    blocks, z = [], max(1.2, camera.nearest * 0.5)
    while z < 110:
        deep = rng.uniform(6, 15)
        if z < gap[1] and z + deep > gap[0]:
            if gap[0] - z > 2.5:
                blocks.append((z, gap[0]))
            z = gap[1]
            continue
        blocks.append((z, z + deep))
        z += deep + (rng.uniform(1.5, 6) if rng.random() < 0.2 else 0.0)
    for z0, z1 in reversed(blocks):
        _house(canvas, rng, camera, weather, (front, side), (z0, z1))


def _house(
    canvas: np.ndarray,
    rng: np.random.Generator,
    camera: Camera,
    weather: Weather,
    front: tuple[float, int],
    depth: tuple[float, float],
) -> None:
    (x, side), (z0, z1) = front, depth
    wall = shade(_WALLS[rng.integers(len(_WALLS))], rng.uniform(0.85, 1.08))
    floors, level = int(rng.integers(2, 7)), rng.uniform(2.7, 3.2)
    top, deep = floors * level + 0.8, side * rng.uniform(8, 14)
    share = weather.haze_at((z0 + min(z1, z0 + 6)) / 2)
    flank = 0.92 if side * weather.sun_side < 0 else 0.74
    p = camera.project
    street_wall = [p(x, 0, z0), p(x, 0, z1), p(x, top, z1), p(x, top, z0)]
    end_wall = [p(x, 0, z0), p(x + deep, 0, z0), p(x + deep, top, z0), p(x, top, z0)]
    shapes = [Shape(street_wall, shade(wall, flank)), Shape(end_wall, shade(wall, 0.84))]
    roof = shade(wall, 0.6)
    shapes.append(Shape([p(x, top, z0), p(x, top, z1), p(x, top + 0.35, z1), p(x, top + 0.35, z0)], roof))
    shapes.append(Shape([p(x, top, z0), p(x + deep, top, z0), p(x + deep, top + 0.35, z0), p(x, top + 0.35, z0)], roof))
    shop = rng.random() < 0.6
    if shop:
        awning = shade(_AWNINGS[rng.integers(len(_AWNINGS))], 0.95)
        glass, glow = ((255, 214, 140), 0.42) if weather.lights > 0.5 and rng.random() < 0.7 else ((74, 88, 98), 0.0)
        a, b = z0 + (z1 - z0) * 0.08, z0 + (z1 - z0) * 0.92
        shapes.append(Shape([p(x, 0.5, a), p(x, 0.5, b), p(x, 2.3, b), p(x, 2.3, a)], glass, glow))
        out = x - side * 0.9
        shapes.append(Shape([p(x, 2.9, a), p(x, 2.9, b), p(out, 2.35, b), p(out, 2.35, a)], awning))
    draw(canvas, shapes, weather.haze, share)
    columns = max(1, int((z1 - z0) / rng.uniform(2.0, 3.0)))
    zs = z0 + (z1 - z0) * (np.arange(columns) + 0.5) / columns
    half = (z1 - z0) / columns * rng.uniform(0.24, 0.34)
    ys = np.arange(1 if shop else 0, floors) * level + rng.uniform(0.9, 1.1)
    _panes(canvas, rng, camera, weather, share, [(x, yy, zz) for yy in ys for zz in zs], half, level * 0.52, True)
    xs = x + deep * (np.arange(4) + 0.5) / 4
    _panes(canvas, rng, camera, weather, share, [(xx, yy, z0) for yy in ys for xx in xs], 0.6, level * 0.5, False)


def _panes(
    canvas: np.ndarray,
    rng: np.random.Generator,
    camera: Camera,
    weather: Weather,
    share: float,
    feet: list[tuple[float, float, float]],
    half: float,
    tall: float,
    along: bool,
) -> None:
    """Paint windows with bottom centers at `feet`, `half` meters to each side (along the street or across)."""
    at = np.array(feet).reshape(-1, 1, 3)
    lit = rng.random(len(at)) < weather.lit_windows
    axis = 2 if along else 0
    offset = np.zeros((1, 4, 3))
    offset[0, :, axis] = (-half, half, half, -half)
    offset[0, :, 1] = (0, 0, tall, tall)
    corners = at + offset
    corners[..., 2] = np.maximum(corners[..., 2], 0.8)
    quads = camera.project_all(corners)
    dark = mix((70, 88, 104) if rng.random() < 0.7 else (58, 64, 74), weather.haze, share)
    fill_many(canvas, quads[~lit], dark)
    fill_many(canvas, quads[lit], mix((255, 206, 122), weather.haze, share), 0.62 * (1 - share))


def draw_tree(body: Solid, rng: np.random.Generator) -> None:
    """Draw a tree 4 to 7 m high with a round crown."""
    tall, wide = rng.uniform(3.2, 5.2), rng.uniform(1.1, 1.8)
    green = ((82, 132, 66), (104, 146, 62), (64, 112, 74), (150, 134, 60), (168, 112, 58))[
        rng.choice(5, p=(0.34, 0.28, 0.24, 0.08, 0.06))
    ]
    body.rod([(0, 0, 0), (0, 0, tall * 0.8)], 0.28, (98, 76, 58))
    spots = [
        (rng.normal() * 0.45 * wide, tall + rng.uniform(-0.55, 0.7) * wide, rng.uniform(0.5, 0.8)) for _ in range(7)
    ]
    for light, lift in ((0.78, -0.12), (1.0, 0.0), (1.17, 0.2)):
        for a, y, r in spots:
            shift = -0.22 * wide * lift * (1 if body.sun < 0 else -1) * 5
            body.ball(
                (0, a + shift * 0.2, y + lift * wide),
                wide * r * (1 - 0.9 * max(lift, 0)),
                shade(green, light),
            )


def draw_lamp(body: Solid, reach: float, lights: float) -> tuple[float, float, float]:
    """Draw a street lamp whose arm reaches `reach` meters to the side; return where its light is (x, y, z)."""
    pole = (96, 100, 104)
    body.rod([(0, 0, 0), (0, 0, 5.6), (0, reach * 0.35, 6.0), (0, reach, 6.05)], 0.13, pole)
    body.rod(
        [(0, reach - 0.3, 6.0), (0, reach + 0.3, 6.0)],
        0.17,
        (255, 240, 200) if lights > 0.5 else (190, 192, 190),
        glow=lights,
    )
    return body.place(0, reach, 6.0)
