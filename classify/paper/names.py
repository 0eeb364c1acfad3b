"""How tables and figures spell measures and methods, and the color of each method."""

from dataclasses import dataclass

from detattack.metrics.image_quality import MEASURES
from detattack.report.method_titles import TITLES as METHOD_TITLES


@dataclass(frozen=True)
class Metric:
    """A measure as figures and tables show it.

    - heading, form: how it is spelled and formatted
    - higher: whether more is better
    - logarithmic: whether a chart of it is logarithmic
    - similarity: then a chart is logarithmic in the distance from 1
    """

    heading: str
    form: str
    higher: bool = False
    logarithmic: bool = False
    similarity: bool = False


def _metric(name: str, **more: bool) -> Metric:
    return Metric(MEASURES[name].heading, MEASURES[name].format, **more)


METRICS = {
    "psnr": _metric("psnr", higher=True),
    "ssim": _metric("ssim", higher=True, similarity=True),
    "uqi": _metric("uqi", higher=True, similarity=True),
    "scc": _metric("scc", higher=True, similarity=True),
    "vifp": _metric("vifp", higher=True, similarity=True),
    "l1": _metric("l1", logarithmic=True),
    "l2": _metric("l2", logarithmic=True),
    "linf": _metric("linf", logarithmic=True),
    "k": Metric("iterations", ".1f", logarithmic=True),
    "kl_histogram": Metric("KL divergence of the color histograms, nats", ".4f", logarithmic=True),
    "squared_l2": Metric("squared L2", ".4f", logarithmic=True),
}

_TITLES = METHOD_TITLES | {
    "baseline-no-l2": "Baseline, no L2",
    "fgv-untuned": "FGV, the paper's ε",
    "deepfool": "DeepFool",
    "deepfool-1000": "DeepFool, 1000 classes",
    "ddn": "DDN",
    "fmn": "FMN",
    "cw": "C&W",
    "pgd-l2": "PGD L2",
}
_COLORS = {
    "jnd": "#d1495b",
    "baseline": "#2e6f95",
    "fgsm": "#e6a117",
    "fgv": "#3a8f5c",
    "fgv-untuned": "#94c5a7",
    "deepfool": "#7b5ea7",
    "jnd-paper": "#f08a9b",
    "baseline-no-l2": "#7fb2d1",
    "pgd-linf": "#8c6d31",
    "pgd-l2": "#c7a76c",
    "ddn": "#2b2b2b",
    "deepfool-1000": "#b7a3d6",
    "noise": "#9aa0a6",
}


def method_title(row: str) -> str:
    """Spell a row of a table for people."""
    return _TITLES.get(row, row.capitalize())


def method_color(row: str) -> str:
    """Return the same color for a method in every figure."""
    return _COLORS.get(row, "#555555")
