"""Pictures of colored squares, for the toy detector, and of gray noise, for the linear classifier."""

from pathlib import Path

import numpy as np
from PIL import Image

BRIGHT, FAINT = 155, 135


def squares(*places: str, width: int = 64, height: int = 48, seed: int = 0) -> np.ndarray:
    """uint8 `[H,W,3]`: dim noise with squares of 16 pixels, each written `car@8,16`, or `faint car@8,16` for one that
    is not quite enough of a car to be detected."""
    pixels = np.random.default_rng(seed).integers(20, 60, (height, width, 3), dtype=np.uint8)
    for place in places:
        name, _, corner = place.partition("@")
        x, y = (int(part) for part in corner.split(","))
        channel = ("car", "dog", "person").index(name.removeprefix("faint "))
        pixels[y : y + 16, x : x + 16, channel] = FAINT if name.startswith("faint") else BRIGHT
    return pixels


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 `[H,W,3]`: noise."""
    return np.random.default_rng(seed).integers(60, 200, (height, width, 3), dtype=np.uint8)


def marked(pixels: np.ndarray) -> np.ndarray:
    """The same with a black first pixel, which some of the toy's factories trip over."""
    pixels[0, 0] = 0
    return pixels


def write_left(folder: Path, count: int) -> Path:
    """`count` pictures of gray noise, brighter on the left, in the folder of their class; the other class has none."""
    (folder / "left").mkdir(parents=True)
    (folder / "right").mkdir()
    for i in range(count):
        pixels = np.random.default_rng(i).integers(90, 150, (16, 16, 3))
        pixels[:, :8] += 8
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "left" / f"{i}.png")
    return folder
