"""The pictures of the page, in `thumbs/`: made from the run's files and from the originals where they still are.

ID-before.webp ID-after.webp ID-heat.webp   small, for the gallery
ID-original.webp                            the original at native size (`MOST_SIDE` at most), lossless, for the slider
ID-scaled.webp                              the difference at native size, scaled to this image; its factor is inside

Originals are not part of a run folder. One is taken from the record's source (a file, or a rendered scene) only
if it is as far from the adversarial image as the ledger says: a file that was changed since, or a source that
somebody else wrote into the ledger, is not shown.
"""

import base64
import io
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from detattack.core.errors import InputError
from detattack.core.files import write_bytes_atomic
from detattack.core.locating import located
from detattack.datasets.image_io import read_floats, read_image
from detattack.metrics.difference import fitting_gain, levels_of, rescaled
from detattack.metrics.image_quality import l2
from detattack.runs.record import BaseRecord

THUMBS = "thumbs"
INLINE_SIDE, INLINE_QUALITY = 960, 82
"""Of a picture in a page that is one file."""
THUMB_SIDE = 360
"""The longer side of a small picture: a card of the gallery on a dense screen."""
TINY = 96
"""The longer side up to which each pixel is seen on a card, so that none may be lost."""
MOST_SIDE = 16383
"""Pixels of the longer side that WebP can hold; a longer picture is shown smaller."""
AT_ONCE = 512
"""Images that wait for a thread."""
Told = Callable[[int, int], None]
"""Called with how many images have their pictures, and how many there are."""
_SCENE = re.compile(r"scene (\d{1,18}) of seed (\d{1,18})")


@dataclass(frozen=True, slots=True)
class Pictures:
    """What there is to see of an image.

    - heat: the factor at which its difference is scaled; 0: there is none
    - original: the picture before; for an untouched image the one after
    """

    after: bool = False
    heat: int = 0
    original: bool = False
    untouched: bool = False


def make_pictures(
    run: Path,
    records: Sequence[BaseRecord],
    told: Told = lambda done, total: None,
    manifest: Mapping[str, Any] = MappingProxyType({}),
) -> dict[int, Pictures]:
    """Make the pictures that are missing or older than their image; return what there is to see, by the record's id.

    - records: of the run in the folder `run`.
    - told: called after each image.
    - manifest: of the run, which says where it was started.

    Raises `InputError` where the folder cannot be written.
    """
    folder = run / THUMBS
    try:
        folder.mkdir(exist_ok=True)
        made: dict[int, Pictures] = {}
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for start in range(0, len(records), AT_ONCE):
                some = records[start : start + AT_ONCE]
                for pictures, record in zip(pool.map(lambda r: _make(run, r, manifest), some), some, strict=True):
                    made[record.id] = pictures
                    told(len(made), len(records))
        return made
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error})") from error


def _make(run: Path, record: BaseRecord, manifest: Mapping[str, Any]) -> Pictures:
    image = run / "images" / f"{record.stem}.png"
    if not record.digest or not image.is_file():
        return Pictures()
    thumb = run / THUMBS
    try:
        pixels = _pixels(image, thumb / f"{record.id}-after.webp")
    except InputError:
        return Pictures()
    if not record.quality:  # never attacked: the file is the original
        return Pictures(after=True, untouched=True)
    heat = _heat(run, record)
    original = thumb / f"{record.id}-original.webp"
    if _fresh(original, image) and _fresh(thumb / f"{record.id}-before.webp", image):
        return Pictures(True, heat, True)
    found = original_pixels(run, record, read_image(image).pixels if pixels is None else pixels, manifest)
    if found is None:
        return Pictures(True, heat, False)
    _write(original, found, lossless=True)
    _write(thumb / f"{record.id}-before.webp", _small(found))
    return Pictures(True, heat, True)


def _pixels(image: Path, thumb: Path) -> np.ndarray | None:
    """Make the small picture of an image file; return its pixels, or None where there was nothing to do."""
    if _fresh(thumb, image):
        return None
    pixels = read_image(image).pixels
    _write(thumb, _small(pixels))
    return pixels


def _heat(run: Path, record: BaseRecord) -> int:
    """Draw the difference at the factor that suits it, from the heatmap; return the factor, 0 where there is none."""
    heatmap, small = run / "heatmaps" / f"{record.stem}.png", run / THUMBS / f"{record.id}-heat.webp"
    scaled = run / THUMBS / f"{record.id}-scaled.webp"
    if not heatmap.is_file():
        return 0
    if _fresh(scaled, heatmap) and _fresh(small, heatmap) and (known := _gain_in(scaled)):
        return known
    try:
        levels = levels_of(read_image(heatmap).pixels)
    except InputError:
        return 0
    gain = fitting_gain(levels)
    drawn = rescaled(levels, gain)
    _write(small, _small(drawn))
    _write(scaled, drawn, lossless=True, gain=gain)
    return gain


def _gain_in(scaled: Path) -> int:
    """Read the factor that stands in a scaled difference; 0 where there is none."""
    try:
        with Image.open(scaled) as image:
            return int(image.getexif().get(ExifTags.Base.ImageDescription, 0))
    except (OSError, ValueError, TypeError):
        return 0


def original_pixels(run: Path, record: BaseRecord, after: np.ndarray, manifest: Mapping[str, Any]) -> np.ndarray | None:
    """Return the picture before the attack, from the record's source; None where it is gone or another one.

    - record: of an image of the run in the folder `run`.
    - after: the pixels of the adversarial file, uint8 `[H,W,3]`.
    - manifest: of the run, which says where it was started.
    """
    pixels = _source(record, run, after.shape, manifest)
    distance = record.quality.get("l2")
    if pixels is None or distance is None or pixels.shape != after.shape:
        return None
    floats = run / "floats" / f"{record.stem}.npy"
    try:
        judged = read_floats(floats, *after.shape[:2]).transpose(1, 2, 0) if floats.is_file() else after
        return pixels if math.isclose(l2(pixels, judged), distance, rel_tol=1e-4, abs_tol=1e-6) else None
    except (OSError, ValueError):
        return None


def _source(record: BaseRecord, run: Path, shape: tuple[int, ...], manifest: Mapping[str, Any]) -> np.ndarray | None:
    """Return the picture that a record names, relative to where the run was started or lies; None where it is gone.

    shape: of the adversarial image, which is what a scene is rendered at: the ledger does not size our arrays.
    """
    scene = _SCENE.fullmatch(record.source)
    if scene:
        from detattack.datasets.scenes import render, scene_seed

        return render(scene_seed(int(scene[2]), int(scene[1])), shape[1], shape[0]).image
    path = located(record.source, run, manifest)
    try:
        return None if path is None else read_image(path).pixels
    except InputError:
        return None


def inlined(path: Path) -> str | None:
    """Return a picture as a data URI, of at most `INLINE_SIDE` pixels; None where it cannot be read."""
    try:
        image = Image.fromarray(read_image(path).pixels)
    except InputError:
        return None
    image.thumbnail((INLINE_SIDE, INLINE_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=INLINE_QUALITY, lossless=max(image.size) <= TINY)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _small(pixels: np.ndarray, side: int = THUMB_SIDE) -> np.ndarray:
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    return np.asarray(image)


def _write(path: Path, pixels: np.ndarray, lossless: bool = False, gain: int = 0) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    if gain:
        exif[ExifTags.Base.ImageDescription] = str(gain)
    lossless |= max(pixels.shape[:2]) <= TINY
    quality, method = (20, 0) if lossless else (78, 3)
    Image.fromarray(np.ascontiguousarray(_small(pixels, MOST_SIDE))).save(
        buffer, "WEBP", lossless=lossless, quality=quality, method=method, exif=exif
    )
    write_bytes_atomic(path, buffer.getvalue(), sync=False)


def _fresh(made: Path, source: Path) -> bool:
    try:
        status = made.stat()
        return status.st_size > 0 and status.st_mtime_ns >= source.stat().st_mtime_ns
    except OSError:
        return False
