"""How far an adversarial image is from its original: distances, similarities, color statistics.

Pure functions of two images `[H,W,3]` of the same shape: uint8 pixels (taken as value/255) or floats in
[0,1]. Every number is of one pair of images; means over a data set are the caller's. NaN, without a
warning, means that a measure is not defined for these images (too small for its window, or nothing to
compare). The arithmetic is scikit-image's and sewar's.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from sewar import full_ref
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from detattack.core.errors import unknown

Image = NDArray[np.uint8] | NDArray[np.floating]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Quality:
    """The measures of one pair of images; None: not measured. See the functions of the same names."""

    l1: float | None = None
    l2: float | None = None
    linf: float | None = None
    psnr: float | None = None
    ssim: float | None = None
    uqi: float | None = None
    scc: float | None = None
    vifp: float | None = None
    kl_histogram: float | None = None
    ciede2000_share: float | None = None

    def as_json(self) -> dict[str, float | None]:
        """What was measured, by name. Infinity (PSNR of identical images) and NaN, not in JSON, are None."""
        measured = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: value if math.isfinite(value) else None for name, value in measured.items()}


def measure(original: Image, adversarial: Image, only: Iterable[str] | None = None) -> Quality:
    """Measure a pair of images by the measures named in `only` (default: all of `MEASURES`).

    Raises InputError for an unknown name, ValueError for images that cannot be compared.
    """
    names = list(MEASURES) if only is None else list(dict.fromkeys(only))
    for name in names:
        if name not in MEASURES:
            raise unknown("quality measure", name, MEASURES)
    return Quality(**{name: MEASURES[name](original, adversarial) for name in names})


# Distances, in units of the [0,1] range. Symmetric.


def l1(original: Image, adversarial: Image) -> float:
    """Sum of the absolute differences of all H·W·3 values."""
    return float(np.abs(_difference(original, adversarial)).sum())


def l2(original: Image, adversarial: Image) -> float:
    """Euclidean norm of the difference, over all H·W·3 values."""
    return math.sqrt(np.square(_difference(original, adversarial)).sum())


def linf(original: Image, adversarial: Image) -> float:
    """Largest absolute difference of any value."""
    return float(np.abs(_difference(original, adversarial)).max())


def psnr(original: Image, adversarial: Image) -> float:
    """Peak signal-to-noise ratio in dB, peak 1 (the data range); infinite for identical images. Symmetric."""
    distance = l2(original, adversarial)
    return 10 * math.log10(original.size / distance**2) if distance > 0 else math.inf


# Similarities: 1 for identical images, less otherwise.


def ssim(original: Image, adversarial: Image) -> float:
    """Structural similarity (Wang et al. 2004), scikit-image's: 7x7 uniform window, mean over the channels.

    A side below 7 pixels shrinks the window to the largest odd size that fits; for 1 or 2 pixels it is a
    single pixel and only luminance is compared. Symmetric.
    """
    first, second = (image / 255 for image in _pair(original, adversarial))
    side = (min(7, *first.shape[:2]) - 1) // 2 * 2 + 1
    options = {"channel_axis": 2, "data_range": 1, "win_size": side, "use_sample_covariance": side > 1}
    return float(structural_similarity(first, second, **options))


def uqi(original: Image, adversarial: Image) -> float:
    """Universal image quality index as sewar's `uqi` computes it, on the 0-255 scale, 8x8 window.

    sewar puts window means where the definition (Wang and Bovik 2002) has sums, so this lies closer to 1 than
    the textbook's; published tables are made with it. NaN if a side is below 9 pixels. Symmetric.
    """
    return _by_sewar(full_ref.uqi, original, adversarial, smallest=9)


def scc(original: Image, adversarial: Image) -> float:
    """Spatial correlation of the Laplacians (Zhou et al. 1998), sewar's `scc`, 0-255 scale, 8x8 window.

    A window that is flat in either image counts as 0, so an image with flat areas stays below 1 as soon as a
    single value differs; identical images are 1 by definition. Symmetric.
    """
    return _by_sewar(full_ref.scc, original, adversarial)


def vifp(original: Image, adversarial: Image) -> float:
    """Visual information fidelity in pixels (Sheikh and Bovik 2006), sewar's `vifp`, 0-255 scale.

    A channel of the original that is flat carries no information (0/0): the mean is over the channels that
    do, and NaN if none does, or if sewar's windows do not fit a small image. NOT symmetric: it is the
    information about the original that the other still carries, above 1 if contrast grew.
    """
    return _by_sewar(full_ref.vifp, original, adversarial)


# Colors


def kl_histogram(original: Image, adversarial: Image) -> float:
    """KL divergence Σ p·log(p/q), in nats, of the color histograms (Eq. 9 with its sign put right).

    p (original) and q (adversarial) have 256 bins for each of the three channels (floats go to the nearest
    level) and sum to 1 over all 768, so this is the mean over the channels of their divergences. Empty
    bins: one pixel is added to every bin of both histograms, so that the divergence is finite. NOT
    symmetric.
    """
    p, q = (_histogram(image) for image in _pair(original, adversarial))
    return max(0.0, float((p * np.log(p / q)).sum()))


def ciede2000_share(original: Image, adversarial: Image) -> float:
    """Share of the pixels, in [0,1], whose color differs by more than 1 in CIEDE2000: what an eye can tell.

    Both images are taken as sRGB under D65. Symmetric.
    """
    first, second = (rgb2lab(image / 255) for image in _pair(original, adversarial))
    return float((deltaE_ciede2000(first, second) > 1).mean())


MEASURES: Mapping[str, Callable[[Image, Image], float]] = MappingProxyType(
    {f.__name__: f for f in (l1, l2, linf, psnr, ssim, uqi, scc, vifp, kl_histogram, ciede2000_share)}
)
"""Every measure by its name, in the order of `Quality`'s fields."""

QUICK = ("l1", "l2", "linf", "psnr", "ssim")
"""The measures that every attack reports."""


# What two images are on a common scale


def _check(original: Image, adversarial: Image) -> None:
    for image in (original, adversarial):
        if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise ValueError(f"expected an image [H,W,3], got {list(image.shape)}")
        in_range = np.issubdtype(image.dtype, np.floating) and image.min() >= -1e-6 and image.max() <= 1 + 1e-6
        if image.dtype != np.uint8 and not in_range:  # NaN is not in range either
            raise ValueError(f"expected uint8 pixels or floats in [0,1], got {image.dtype} or values outside")
    if original.shape != adversarial.shape:
        raise ValueError(f"images of different shapes: {list(original.shape)} and {list(adversarial.shape)}")


def _pair(original: Image, adversarial: Image) -> tuple[Floats, Floats]:
    """Both on the 0-255 scale."""
    _check(original, adversarial)
    return _scaled(original), _scaled(adversarial)


def _scaled(image: Image) -> Floats:
    """On the 0-255 scale; what lies within float32's rounding error of a whole level is put on it, so that an
    image and its own float version are the same."""
    if image.dtype == np.uint8:
        return image.astype(np.float64)
    values = image.astype(np.float64) * 255
    levels = np.rint(values)
    return np.where(np.abs(values - levels) < 4e-5, levels, values)


def _difference(original: Image, adversarial: Image) -> Floats:
    return np.subtract(*_pair(original, adversarial)) / 255


def _by_sewar(
    similarity: Callable[[Floats, Floats], float], original: Image, adversarial: Image, smallest: int = 1
) -> float:
    """The mean over the channels for which the similarity is defined; 1 for identical images."""
    first, second = _pair(original, adversarial)
    if np.array_equal(first, second):
        return 1.0
    if min(first.shape[:2]) < smallest:
        return math.nan
    values = []
    for channel in range(3):
        with np.errstate(all="ignore"), contextlib.suppress(ValueError):  # a window larger than the image
            values.append(float(similarity(first[..., channel], second[..., channel])))
    defined = [value for value in values if math.isfinite(value)]
    return float(np.mean(defined)) if defined else math.nan


def _histogram(values_255: Floats) -> Floats:
    levels = np.rint(values_255).clip(0, 255).astype(np.uint8)
    counts = np.concatenate([np.bincount(levels[..., c].ravel(), minlength=256) for c in range(3)]) + 1.0
    return counts / counts.sum()
