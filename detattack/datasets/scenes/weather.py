"""Time of day and weather: colors of sky and haze before painting, light and camera flaws after it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from detattack.datasets.scenes.camera import Camera
from detattack.datasets.scenes.paint import Color

__all__ = ["Weather", "develop", "light_pool", "make_weather"]

_LAMP = (1.0, 0.86, 0.62)  # the color of lamp light
_POOL = 4  # the map of lamp light has a quarter of the image's resolution


@dataclass(frozen=True)
class Weather:
    """The weather of a scene. Colors are as painted, before `ambient` darkens them.

    - name: "day", "dusk", "night" or "fog"
    - zenith, haze, cloud: colors, RGB 0-255
    - ambient: a factor per channel on all colors
    - density: haze per meter
    - sun_side: −1 for light from the left, 1 from the right
    - clouds, lit_windows: share, 0 to 1
    - sun: color of the disc of the sun or the moon; None: not visible
    - lights: brightness of lamps, 0 to 1
    """

    name: str
    zenith: Color
    haze: Color
    ambient: Color
    density: float
    sun_side: float
    clouds: float = 0.0
    cloud: Color = (250, 250, 250)
    sun: Color | None = None
    lights: float = 0.0
    lit_windows: float = 0.0

    def haze_at(self, z: float) -> float:
        """Return the share of haze in the color of something `z` meters away."""
        return 1.0 - math.exp(-self.density * z)


def make_weather(rng: np.random.Generator) -> Weather:
    """Make the weather: day (half of the scenes), dusk, night or fog."""
    name = ("day", "dusk", "night", "fog")[rng.choice(4, p=(0.52, 0.17, 0.18, 0.13))]
    side = float(rng.uniform(0.25, 0.6) * (1 if rng.random() < 0.5 else -1))
    clouds, j = float(rng.uniform(0, 1)), rng.uniform(-10, 10, 3)

    def near(r: float, g: float, b: float) -> Color:
        return (r + j[0], g + j[1], b + j[2])

    if name == "day":
        zenith = near(82, 146, 214) if rng.random() < 0.75 else near(150, 168, 188)
        warm = float(rng.uniform(-0.04, 0.04))
        return Weather(
            name, zenith, haze=near(204, 222, 234), ambient=(1.0 + warm, 1.0, 1.0 - warm), density=0.004,
            clouds=clouds, cloud=(250, 250, 250), sun=(255, 246, 214), sun_side=side,
        )  # fmt: skip
    if name == "dusk":
        haze = near(255, 196, 150) if rng.random() < 0.6 else near(238, 178, 190)
        return Weather(
            name, near(116, 118, 176), haze, ambient=(0.84, 0.70, 0.66), density=0.006, clouds=clouds,
            cloud=(255, 190, 172), sun=(255, 206, 130), sun_side=side, lights=0.75, lit_windows=0.3,
        )  # fmt: skip
    if name == "night":
        dim = float(rng.uniform(0.30, 0.42))
        return Weather(
            name, near(38, 48, 92), near(92, 100, 142), ambient=(dim * 0.92, dim, dim * 1.3), density=0.006,
            clouds=clouds * 0.5, cloud=(96, 104, 140), sun=(240, 240, 226), sun_side=side * 0.5, lights=1.0,
            lit_windows=float(rng.uniform(0.2, 0.55)),
        )  # fmt: skip
    gray = near(206, 210, 212)
    return Weather(
        name, gray, gray, ambient=(0.95, 0.95, 0.96), density=float(rng.uniform(0.016, 0.032)),
        sun_side=side * 0.4, lights=0.6, lit_windows=0.12,
    )  # fmt: skip


def light_pool(glow: np.ndarray, camera: Camera, points: list[tuple[float, float, float]], strength: float) -> None:
    """Add the light inside the outline `points` on the ground (meters) to `glow` float32 [H/4,W/4]."""
    center = np.mean(points, axis=0)
    for size in (1.0, 0.72, 0.42):
        ring = center + (np.array(points) - center) * size
        ring[:, 2] = np.maximum(ring[:, 2], 0.8)
        pixels = camera.project_all(ring).clip(-4000, 4000) / _POOL
        spot = np.zeros_like(glow)
        cv2.fillPoly(spot, [np.rint(pixels * 16).astype(np.int32)], strength / 3, cv2.LINE_8, 4)
        glow += spot


def new_pools(camera: Camera) -> np.ndarray:
    """Return an empty map for `light_pool`."""
    return np.zeros((-(-camera.height // _POOL), -(-camera.width // _POOL)), np.float32)


def develop(canvas: np.ndarray, pools: np.ndarray, weather: Weather, rng: np.random.Generator) -> np.ndarray:
    """Convert the canvas uint8 [2H,2W,4] to the picture uint8 [H,W,3]: light, bloom, lens, sensor, JPEG."""
    height, width = canvas.shape[0] // 2, canvas.shape[1] // 2
    small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    *paint, glow = (plane.astype(np.float32) for plane in cv2.split(small))  # planes are faster than pixels
    glow *= np.float32(1 / 255)
    light: list[np.ndarray | np.float32] = list(np.array(weather.ambient, np.float32))
    if weather.lights > 0:
        soft = cv2.resize(cv2.GaussianBlur(pools, (0, 0), max(1.0, width / 200)), (width, height))
        light = [a + soft * np.float32(t) * weather.lights for a, t in zip(light, _LAMP, strict=True)]
    image: np.ndarray = cv2.merge([p * (a + glow * (1.12 - a)) for p, a in zip(paint, light, strict=True)])
    if weather.lights > 0:
        shining = cv2.merge([p * glow for p in paint])
        quarter = cv2.resize(shining, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
        near, far = (cv2.GaussianBlur(quarter, (0, 0), width / size) for size in (240, 80))
        image += cv2.resize(near + 0.8 * far, (width, height)) * (0.85 * weather.lights)
    return _camera_flaws(image, rng)


def _camera_flaws(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply exposure, white balance, a slight blur, sensor noise, and JPEG in half of the pictures."""
    gain = (rng.uniform(0.86, 1.12) * (1 + rng.uniform(-0.04, 0.04, 3))).astype(np.float32)
    for channel in range(3):
        image[..., channel] *= gain[channel]
    sigma = rng.uniform(0.0, 0.75)
    if sigma > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    noise = rng.standard_normal(image.shape, np.float32)
    noise *= np.float32(rng.uniform(0.5, 3.0))
    image += noise
    picture = np.rint(image.clip(0, 255, out=image), out=image).astype(np.uint8)
    if rng.random() < 0.5:
        quality = int(rng.integers(72, 97))
        _, data = cv2.imencode(".jpg", picture[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
        picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1]
    return np.ascontiguousarray(picture)
