"""Lossy files: encoded and decoded by Pillow."""

import io
from typing import Any

import numpy as np
from PIL import Image

from detattack.datasets.corruptions.cosine import pull_jpeg
from detattack.datasets.corruptions.registry import Pixels, register_corruption

QUALITY: dict[str, Any] = {"what": "a quality", "low": 1, "high": 100, "whole": True}


@register_corruption("jpeg", **QUALITY, pull=pull_jpeg)
def jpeg(pixels: Pixels, quality: float) -> Pixels:
    """Encode as JPEG of a quality from 1 to 100."""
    return _decoded(pixels, "JPEG", round(quality))


@register_corruption("webp", **QUALITY)
def webp(pixels: Pixels, quality: float) -> Pixels:
    """Encode as lossy WebP of a quality from 1 to 100."""
    return _decoded(pixels, "WEBP", round(quality))


def _decoded(pixels: Pixels, format: str, quality: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, quality=quality)
    with Image.open(buffer) as image:
        return np.array(image.convert("RGB"))
