"""The pinhole camera: X to the right, Y up from the ground, Z ahead, all in meters, seen from (0, eye, 0)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Camera", "make_camera"]


@dataclass(frozen=True)
class Camera:
    """A level pinhole camera.

    - width, height: of the image, in pixels
    - focal: in pixels
    - center, horizon: x and y of the vanishing point, in pixels
    - eye: height above the ground, in meters
    """

    width: int
    height: int
    focal: float
    center: float
    horizon: float
    eye: float

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Return the pixel position of a point in meters; z must be positive."""
        scale = self.focal / z
        return self.center + scale * x, self.horizon + scale * (self.eye - y)

    def project_all(self, points: np.ndarray) -> np.ndarray:
        """Project points [...,3] in meters to pixel positions [...,2]."""
        scale = self.focal / points[..., 2]
        return np.stack([self.center + scale * points[..., 0], self.horizon + scale * (self.eye - points[..., 1])], -1)

    def ground_depth(self, row: float) -> float:
        """Return the depth in meters of the ground seen at pixel row `row` below the horizon."""
        return self.focal * self.eye / (row - self.horizon)

    @property
    def nearest(self) -> float:
        """The depth in meters of the ground at the bottom row."""
        return self.ground_depth(self.height)


def make_camera(rng: np.random.Generator, width: int, height: int) -> Camera:
    """Make a camera as high as a driver or a van's roof, looking along the street, a little to one side."""
    side = min(width, 1.5 * height)
    return Camera(
        width=width,
        height=height,
        focal=side * rng.uniform(0.82, 1.08),
        center=width * rng.uniform(0.36, 0.64),
        horizon=height * rng.uniform(0.40, 0.52),
        eye=rng.uniform(1.5, 2.9),
    )
