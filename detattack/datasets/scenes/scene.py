"""Render a street scene from a seed: occlusion, the picture, and the ground truth.

Objects are drawn up first and kept or dropped from near to far, on exact coverage masks, so that everything that is
annotated can be seen; then all is painted from far to near.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from detattack.datasets.scenes.backdrop import make_street, paint_backdrop
from detattack.datasets.scenes.camera import make_camera
from detattack.datasets.scenes.layout import Item, Plan, lay_out
from detattack.datasets.scenes.paint import SCALE, Patch, draw, silhouette
from detattack.datasets.scenes.types import Scene
from detattack.datasets.scenes.weather import develop, light_pool, make_weather, new_pools

__all__ = ["MIN_AREA", "MIN_HEIGHT", "MIN_VISIBILITY", "render"]

# An object of which less can be seen is left out: share of its silhouette, pixel rows, pixels.
MIN_VISIBILITY, MIN_HEIGHT, MIN_AREA = 0.3, 9, 60


def render(seed: int, width: int = 480, height: int = 320) -> Scene:
    """Render the scene of `seed` at this size in pixels, the same bytes each time.

    Raises ValueError if a side is shorter than 128.
    """
    if min(width, height) < 128:
        raise ValueError(f"a scene must be at least 128 pixels wide and high, not {width}x{height}")
    layout, backdrop, lens = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    plan = Plan(make_camera(layout, width, height), make_street(layout), make_weather(layout), layout, [])
    lay_out(plan)
    kept, owner, seen = _select(plan)
    canvas = np.zeros((height * SCALE, width * SCALE, 4), np.uint8)
    paint_backdrop(canvas, backdrop, plan.camera, plan.street, plan.weather)
    road = _road(plan)
    _shadows(canvas, plan, kept)
    for item in reversed(kept):
        draw(canvas, item.shapes, plan.weather.haze, plan.weather.haze_at(item.depth))
    image = develop(canvas, _pools(plan, kept), plan.weather, lens)
    return _annotate(plan, image, kept, owner, seen, road)


def _order(a: Item, b: Item) -> int:
    """Return a negative number if `a` is before `b`: by depth where depths differ, else by distance from the axis."""
    (ax0, ax1, az0, az1), (bx0, bx1, bz0, bz1) = a.ground, b.ground
    if az1 <= bz0 or bz1 <= az0 or (ax0 < bx1 and bx0 < ax1):
        first, second = a.depth, b.depth
    else:
        first, second = min(abs(ax0), abs(ax1)), min(abs(bx0), abs(bx1))
    return (first > second) - (first < second)


def _select(plan: Plan) -> tuple[list[Item], np.ndarray, list[float]]:
    """Return the items to paint, near to far; the owner of each canvas pixel (0: none, k+1: item k); visible shares."""
    height, width = plan.camera.height * SCALE, plan.camera.width * SCALE
    owner = np.zeros((height, width), np.uint8)
    kept: list[Item] = []
    seen: list[float] = []
    for item in sorted(plan.items, key=functools.cmp_to_key(_order)):
        patch = silhouette(item.shapes)
        view, mask = _crop(owner, patch)
        if view.size == 0:
            continue
        visible = (mask > 0) & (view == 0)
        count = int(np.count_nonzero(visible))
        share = count / max(int(np.count_nonzero(patch.mask)), 1)
        if item.label is not None and not _worth_it(visible, count, share):
            continue
        if count == 0 or len(kept) == 250:
            continue
        kept.append(item)
        seen.append(share)
        view[visible] = len(kept)
    return kept, owner, seen


def _crop(owner: np.ndarray, patch: Patch) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of the frame under `patch`, and the part of the patch inside the frame."""
    tall, wide = patch.mask.shape
    top, left = max(patch.top, 0), max(patch.left, 0)
    bottom, right = min(patch.top + tall, owner.shape[0]), min(patch.left + wide, owner.shape[1])
    if bottom <= top or right <= left:
        return owner[:0, :0], patch.mask[:0, :0]
    inner = patch.mask[top - patch.top : bottom - patch.top, left - patch.left : right - patch.left]
    return owner[top:bottom, left:right], inner


def _worth_it(visible: np.ndarray, count: int, share: float) -> bool:
    """Return whether enough of an object can be seen for it to be annotated."""
    if share < MIN_VISIBILITY or count < MIN_AREA * SCALE * SCALE:
        return False
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    return rows[-1] - rows[0] >= (MIN_HEIGHT + 1) * SCALE and columns[-1] - columns[0] >= 5 * SCALE


def _road(plan: Plan) -> np.ndarray:
    """Return the road surface as bool [H,W], as if nothing stood on it."""
    camera, street = plan.camera, plan.street
    mask = np.zeros((camera.height, camera.width), np.uint8)
    near = camera.nearest * 0.9
    quad = [
        camera.project(x, 0, z)
        for x, z in ((street.left, near), (street.right, near), (street.right, 150.0), (street.left, 150.0))
    ]
    cv2.fillPoly(mask, [np.rint(np.array(quad) * 16 - 8).astype(np.int32)], 1, cv2.LINE_8, 4)
    return mask.astype(bool)


def _shadows(canvas: np.ndarray, plan: Plan, kept: list[Item]) -> None:
    """Darken the ground under everything that stands on it, and softly on the side away from the sun."""
    height, width = plan.camera.height, plan.camera.width
    shade = np.zeros((height, width), np.float32)
    shift = -plan.weather.sun_side * (1.6 if plan.weather.name == "day" else 0.4)
    for item in kept:
        if item.shadow:
            corners = np.array(item.shadow)
            moved = corners + np.array((shift * 0.5, 0.0, 0.25))
            hull = cv2.convexHull(np.concatenate([corners, moved])[:, [0, 2]].astype(np.float32))[:, 0]
            ring = np.stack([hull[:, 0], np.zeros(len(hull)), np.maximum(hull[:, 1], 0.8)], -1)
            points = np.rint((plan.camera.project_all(ring).clip(-4000, 4000)) * 16).astype(np.int32)
            cv2.fillPoly(shade, [points], 1.0, cv2.LINE_8, 4)
    top = max(int(plan.camera.horizon) - 4, 0)
    light = 255 - 127 * cv2.GaussianBlur(shade[top:], (0, 0), width / 320)
    factor = cv2.resize(light.astype(np.uint8), (width * SCALE, (height - top) * SCALE))
    below = canvas[top * SCALE :]
    below[:] = cv2.multiply(below, cv2.cvtColor(factor, cv2.COLOR_GRAY2RGBA), scale=1 / 255)


def _pools(plan: Plan, kept: list[Item]) -> np.ndarray:
    pools = new_pools(plan.camera)
    if plan.weather.lights > 0:
        for item in kept:
            for beam in item.beams:
                light_pool(pools, plan.camera, beam, 0.75)
    return pools


def _annotate(
    plan: Plan, image: np.ndarray, kept: list[Item], owner: np.ndarray, seen: list[float], road: np.ndarray
) -> Scene:
    """Return masks and boxes at image resolution: a pixel belongs to whoever covers at least half of it."""
    height, width = image.shape[:2]
    cells = np.stack((owner[::2, ::2], owner[::2, 1::2], owner[1::2, ::2], owner[1::2, 1::2]))
    free = road & ~cells.any(0)
    boxes, labels, shares, masks = [], [], [], []
    taken = np.zeros((height, width), bool)
    for k, item in enumerate(kept):
        if item.label is None:
            continue
        mask = (sum((cell == k + 1).view(np.uint8) for cell in cells) >= 2) & ~taken
        if not mask.any():  # slivers, each less than half of its pixel
            continue
        taken |= mask
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
        labels.append(item.label)
        shares.append(seen[k])
        masks.append(mask)
    return Scene(
        image=image,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        visibility=np.array(shares, np.float32),
        masks=np.array(masks, bool).reshape(-1, height, width),
        road=free,
        camera=plan.camera,
        weather=plan.weather.name,
    )
