"""Distance of an adversarial image from its original: norms, similarities, color statistics.

Pure functions of two images `[H,W,3]` of the same shape: uint8 pixels (taken as value/255) or floats in [0,1]. Each
value is of one pair of images; means over a data set are computed by the caller. NaN, without a warning, means that a
measure is undefined for these images (too small for its window, or nothing to compare). Each measure registers itself
with its label, unit and format, so that no table has a list of its own. The arithmetic is scikit-image's and sewar's.
"""

import contextlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import skimage  # whose modules are imported where they are first used
from numpy.typing import NDArray

from detattack.core.errors import ImageError, kind_and_reason
from detattack.core.registry import Registry

Image = NDArray[np.uint8] | NDArray[np.floating]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """A registered image quality measure: its function, and how tables and pages label and format it.

    - name: in tables of files and options
    - label: for headings, e.g. `L∞`
    - unit: e.g. `dB`; empty for none
    - format: format specification of a value in a table
    - function: of two images `[H,W,3]`
    - quick: every attack reports it; the others are measured after the run (`--quality all`)
    """

    name: str
    label: str
    unit: str
    format: str
    function: Callable[[Image, Image], float]
    quick: bool = False

    @property
    def heading(self) -> str:
        """The label with its unit."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    def __call__(self, original: Image, adversarial: Image) -> float:
        """Return the value for a pair of images `[H,W,3]`; NaN where it is undefined.

        Raises ValueError for images that cannot be compared, `ImageError` where the function fails.
        """
        _check(original, adversarial)
        try:
            return float(self.function(original, adversarial))
        except MemoryError:
            raise
        except Exception as error:  # the function may be someone else's
            said = kind_and_reason(error)
            raise ImageError(f"quality measure {self.name}: fails on this image ({said})") from error

    def text(self, value: float | None) -> str:
        """Format a value for a table; `-` for None and NaN."""
        if value is None or math.isnan(value):
            return "-"
        return "∞" if math.isinf(value) else format(value, self.format)


MEASURES: Registry[Measure] = Registry("quality measure")
"""Every image quality measure by name, in the order of columns."""
F = TypeVar("F", bound=Callable[[Image, Image], float])


def register_measure(
    name: str, *, label: str = "", unit: str = "", format: str = ".4f", quick: bool = False
) -> Callable[[F], F]:
    """Decorate a function of two images to register it as a quality measure.

    - name: in tables of files and options
    - label: by default the name in capitals
    - unit, format, quick: see `Measure`

    Raises `InputError` if the name is taken.
    """

    def registered(function: F) -> F:
        MEASURES.register(name, Measure(name, label or name.upper(), unit, format, function, quick))
        return function

    return registered


def quick_measures() -> tuple[str, ...]:
    """Return the names of the measures that every attack reports."""
    return tuple(name for name, one in MEASURES.items() if one.quick)


class ImageQuality(dict[str, float]):
    """The measures of one pair of images by name, in the order of `MEASURES`."""

    def as_json(self) -> dict[str, float | None]:
        """Return the measures for JSON: infinity (PSNR of identical images) and NaN become None."""
        return {name: value if math.isfinite(value) else None for name, value in self.items()}


def measure(original: Image, adversarial: Image, only: Iterable[str] | None = None) -> ImageQuality:
    """Measure a pair of images.

    - original, adversarial: `[H,W,3]`
    - only: names of measures; None: all of `MEASURES`

    Raises InputError for an unknown name, `ImageError` for a measure that fails, ValueError for images that cannot be
    compared.
    """
    names = set(MEASURES) if only is None else {MEASURES.find(name).name for name in only}
    return ImageQuality({name: one(original, adversarial) for name, one in MEASURES.items() if name in names})


# Distances, in units of the [0,1] range. Symmetric.


@register_measure("l1", label="L1", format=".2f", quick=True)
def l1(original: Image, adversarial: Image) -> float:
    """Return the sum of the absolute differences of all H·W·3 values."""
    return float(np.abs(_difference(original, adversarial)).sum())


@register_measure("l2", label="L2", quick=True)
def l2(original: Image, adversarial: Image) -> float:
    """Return the Euclidean norm of the difference, over all H·W·3 values."""
    return math.sqrt(np.square(_difference(original, adversarial)).sum())


@register_measure("linf", label="L∞", quick=True)
def linf(original: Image, adversarial: Image) -> float:
    """Return the largest absolute difference of any value."""
    return float(np.abs(_difference(original, adversarial)).max())


@register_measure("rms", label="RMS", unit="gray levels", format=".3f", quick=True)
def rms(original: Image, adversarial: Image) -> float:
    """Return the root mean square of the differences of all values, in gray levels: the L2 apart from the size."""
    return 255 * l2(original, adversarial) / math.sqrt(original.size)


@register_measure("psnr", unit="dB", format=".2f", quick=True)
def psnr(original: Image, adversarial: Image) -> float:
    """Return the peak signal-to-noise ratio in dB, peak 1 (the data range); infinite for identical images.

    Symmetric.
    """
    distance = l2(original, adversarial)
    return 10 * math.log10(original.size / distance**2) if distance > 0 else math.inf


# Similarities: 1 for identical images, less otherwise.


@register_measure("ssim", quick=True)
def ssim(original: Image, adversarial: Image) -> float:
    """Return the structural similarity (Wang et al. 2004), scikit-image's: 7x7 uniform window, mean over the channels.

    A side below 7 pixels shrinks the window to the largest odd size that fits; for 1 or 2 pixels it is a single pixel
    and only luminance is compared. Symmetric.
    """
    first, second = (image / 255 for image in _pair(original, adversarial))
    side = (min(7, *first.shape[:2]) - 1) // 2 * 2 + 1
    options = {"channel_axis": 2, "data_range": 1, "win_size": side, "use_sample_covariance": side > 1}
    return float(skimage.metrics.structural_similarity(first, second, **options))


@register_measure("uqi")
def uqi(original: Image, adversarial: Image) -> float:
    """Return the universal image quality index as sewar's `uqi` computes it, on the 0-255 scale, 8x8 window.

    sewar puts window means where the definition (Wang and Bovik 2002) has sums, so this lies closer to 1 than the
    textbook's; published tables are made with it. NaN if a side is below 9 pixels. Symmetric.
    """
    return _by_sewar("uqi", original, adversarial, smallest=9)


@register_measure("scc")
def scc(original: Image, adversarial: Image) -> float:
    """Return the spatial correlation of the Laplacians (Zhou et al. 1998), sewar's `scc`, 0-255 scale, 8x8 window.

    A window that is flat in either image counts as 0, so an image with flat areas stays below 1 as soon as a single
    value differs; identical images are 1 by definition. Symmetric.
    """
    return _by_sewar("scc", original, adversarial)


@register_measure("vifp")
def vifp(original: Image, adversarial: Image) -> float:
    """Return the visual information fidelity in pixels (Sheikh and Bovik 2006), sewar's `vifp`, 0-255 scale.

    A channel of the original that is flat carries no information (0/0): the mean is over the channels that do, and NaN
    if none does, or if one side alone of the image is smaller than a window. Where both are, scipy slides the image
    over the window: sewar's value all the same, as in tables of CIFAR. NOT symmetric: it is the information about the
    original that the other still carries, above 1 if contrast grew.
    """
    return _by_sewar("vifp", original, adversarial)


# Colors


@register_measure("kl_histogram", label="KL", format=".2e")
def kl_histogram(original: Image, adversarial: Image) -> float:
    """Return the KL divergence Σ p·log(p/q), in nats, of the color histograms (Eq. 9 with its sign corrected).

    p (original) and q (adversarial) have 256 bins for each of the three channels (floats go to the nearest level) and
    sum to 1 over all 768, so this is the mean over the channels of their divergences. Empty bins: one pixel is added to
    every bin of both histograms, so that the divergence is finite. NOT symmetric.
    """
    p, q = (_histogram(image) for image in _pair(original, adversarial))
    return max(0.0, float((p * np.log(p / q)).sum()))


@register_measure("ciede2000_share", label="ΔE>1", format=".1%")
def ciede2000_share(original: Image, adversarial: Image) -> float:
    """Return the share of the pixels, in [0,1], whose color differs visibly: by more than 1 in CIEDE2000.

    Both images are taken as sRGB under D65. Symmetric.
    """
    first, second = (skimage.color.rgb2lab(image / 255) for image in _pair(original, adversarial))
    return float((skimage.color.deltaE_ciede2000(first, second) > 1).mean())


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
    """Check two images and return both on the 0-255 scale."""
    _check(original, adversarial)
    return _scaled(original), _scaled(adversarial)


def _scaled(image: Image) -> Floats:
    """Return an image on the 0-255 scale.

    Values within float32's rounding error of a whole level are put on it, so that an image and its own float version
    are equal.
    """
    if image.dtype == np.uint8:
        return image.astype(np.float64)
    values = image.astype(np.float64) * 255
    levels = np.rint(values)
    return np.where(np.abs(values - levels) < 4e-5, levels, values)


def _difference(original: Image, adversarial: Image) -> Floats:
    return np.subtract(*_pair(original, adversarial)) / 255


def _by_sewar(name: str, original: Image, adversarial: Image, smallest: int = 1) -> float:
    """Return the mean over the channels for which a similarity is defined; 1 for identical images."""
    first, second = _pair(original, adversarial)
    if np.array_equal(first, second):
        return 1.0
    if min(first.shape[:2]) < smallest:
        return math.nan
    from sewar import full_ref  # with scipy.signal a third of the program's start, which most commands need not

    similarity, values = getattr(full_ref, name), []
    for channel in range(3):
        with np.errstate(all="ignore"), contextlib.suppress(ValueError):  # a window larger than the image
            values.append(float(similarity(first[..., channel], second[..., channel])))
    defined = [value for value in values if math.isfinite(value)]
    return float(np.mean(defined)) if defined else math.nan


def _histogram(values_255: Floats) -> Floats:
    levels = np.rint(values_255).clip(0, 255).astype(np.uint8)
    counts = np.concatenate([np.bincount(levels[..., c].ravel(), minlength=256) for c in range(3)]) + 1.0
    return counts / counts.sum()
