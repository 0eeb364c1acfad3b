"""A small modeling kit: flat-shaded panels, prisms, rods and discs that stand on the street."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from detattack.datasets.scenes.camera import Camera
from detattack.datasets.scenes.paint import Color, Point, Shape

__all__ = ["Local", "Solid", "shade"]

Local = tuple[float, float, float]
"""A point in meters: u forward, v to the right, y up; on the street x to the right, y up, z ahead."""

_NEAR = 0.6  # meters in front of the camera; nothing is projected from closer


def shade(color: Color, light: float) -> Color:
    """Make `color` darker (light < 1) or lighter."""
    return (color[0] * light, color[1] * light, color[2] * light)


@functools.cache
def _circle(step: float, parts: int) -> tuple[tuple[float, float], ...]:
    """Return cosine and sine of 0, `step`, 2 `step`..."""
    return tuple((math.cos(k * step), math.sin(k * step)) for k in range(parts))


class Solid:
    """Collects the shapes of one object at (x, z) whose forward axis is turned by `yaw` from straight ahead.

    - camera: that sees it
    - x, z: its place, in meters
    - yaw: in radians
    - sun: the side the light comes from, −1 (left) to 1 (right)
    """

    def __init__(self, camera: Camera, x: float, z: float, yaw: float, sun: float = 0.4) -> None:
        self.camera, self.x, self.z = camera, x, z
        self.sin, self.cos, self.sun = math.sin(yaw), math.cos(yaw), sun
        self.shapes: list[Shape] = []

    def place(self, u: float, v: float, y: float) -> tuple[float, float, float]:
        """Convert local to street coordinates."""
        return self.x + u * self.sin + v * self.cos, y, self.z + u * self.cos - v * self.sin

    def pixel(self, point: Local) -> Point:
        """Convert local coordinates to pixels."""
        u, v, y = point
        camera = self.camera
        scale = camera.focal / max(self.z + u * self.cos - v * self.sin, _NEAR)
        x = self.x + u * self.sin + v * self.cos
        return camera.center + scale * x, camera.horizon + scale * (camera.eye - y)

    def size(self, meters: float) -> float:
        """Return how many pixels `meters` are at this object's distance."""
        return meters * self.camera.focal / max(self.z, _NEAR)

    def faces_us(self, point: Local, normal: Local) -> bool:
        """Return whether a surface at `point` with this outward normal can be seen."""
        x, y, z = self.place(*point)
        nx = normal[0] * self.sin + normal[1] * self.cos
        nz = normal[0] * self.cos - normal[1] * self.sin
        return nx * x + normal[2] * (y - self.camera.eye) + nz * z < 0

    def light_on(self, normal: Local) -> float:
        """Return the brightness of a surface: a sun above, behind us and to one side."""
        nx = normal[0] * self.sin + normal[1] * self.cos
        nz = normal[0] * self.cos - normal[1] * self.sin
        length = math.sqrt(nx * nx + nz * nz + normal[2] * normal[2]) or 1.0
        return 0.66 + 0.36 * max(-0.35, (self.sun * nx + 0.72 * normal[2] - 0.45 * nz) / length)

    def panel(self, points: Sequence[Local], normal: Local, color: Color, glow: float = 0.0) -> bool:
        """Add a flat polygon seen from one side only; return whether it is seen."""
        if not self.faces_us(points[0], normal):
            return False
        lit = color if glow else shade(color, self.light_on(normal))
        self.shapes.append(Shape([self.pixel(p) for p in points], lit, glow))
        return True

    def prism(self, profile: Sequence[Point], widths: Sequence[float], colors: Sequence[Color]) -> None:
        """Add a solid with the convex side view `profile` [(u, y)...], counter-clockwise seen from the right.

        `widths` are half widths at the profile's points, `colors` one per edge (starting at each point) and a
        last one for the two flanks.
        """
        count = len(profile)
        for k in range(count):
            (u0, y0), (u1, y1) = profile[k], profile[(k + 1) % count]
            w0, w1 = widths[k], widths[(k + 1) % count]
            quad = [(u0, -w0, y0), (u0, w0, y0), (u1, w1, y1), (u1, -w1, y1)]
            self.panel(quad, (y1 - y0, 0.0, u0 - u1), colors[k])
        for side in (-1.0, 1.0):
            flank = [(u, side * w, y) for (u, y), w in zip(profile, widths, strict=True)]
            self.panel(flank, (0.0, side, 0.0), colors[-1])

    def box(self, u: Point, v: Point, y: Point, color: Color) -> None:
        """Add an axis-parallel box between the given limits."""
        (u0, u1), (v0, v1), (y0, y1) = u, v, y
        self.panel([(u0, v0, y1), (u0, v1, y1), (u1, v1, y1), (u1, v0, y1)], (0, 0, 1), color)
        for a, n in ((u0, -1.0), (u1, 1.0)):
            self.panel([(a, v0, y0), (a, v1, y0), (a, v1, y1), (a, v0, y1)], (n, 0, 0), color)
        for b, n in ((v0, -1.0), (v1, 1.0)):
            self.panel([(u0, b, y0), (u1, b, y0), (u1, b, y1), (u0, b, y1)], (0, n, 0), color)

    def ring(self, u: float, v: float, y: float, radius: float, parts: int = 14) -> list[Point]:
        """Return the pixels of a circle in the upright plane along the heading."""
        circle = _circle(2 * math.pi / parts, parts)
        return [self.pixel((u + radius * c, v, y + radius * s)) for c, s in circle]

    def disc(self, u: float, v: float, y: float, radius: float, color: Color) -> None:
        """Add a filled circle in the upright plane along the heading."""
        self.shapes.append(Shape(self.ring(u, v, y, radius), color))

    def rod(self, points: Sequence[Local], thickness: float, color: Color, glow: float = 0.0) -> None:
        """Add a round-ended line through `points`, `thickness` in meters."""
        self.shapes.append(Shape([self.pixel(p) for p in points], color, glow, max(self.size(thickness), 0.5)))

    def ball(self, point: Local, radius: float, color: Color, glow: float = 0.0, tall: float = 1.0) -> None:
        """Add a sphere (an upright ellipsoid with `tall` above 1) of `radius` meters."""
        x, y = self.pixel(point)
        r = self.size(radius)
        high = r * tall
        ring = [(x + r * c, y + high * s) for c, s in _circle(0.4833, 13)]
        self.shapes.append(Shape(ring, color, glow))
