"""Pictures of colored squares, for the toy detector."""

import numpy as np

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


def marked(pixels: np.ndarray) -> np.ndarray:
    """The same with a black first pixel, which some of the toy's factories trip over."""
    pixels[0, 0] = 0
    return pixels
