"""Image corruptions, in which an attack has to hold: JPEG, WebP, resize, blur, light, noise, moves, bit depth, chains.

`registry` says what a corruption is, `compression`, `geometry` and `levels` have those that are built in, `cosine` the
gradient through JPEG, `chain` reads their names, and `differentiable` lets gradients through (it alone imports torch).
"""

from detattack.datasets.corruptions import compression, geometry, levels
from detattack.datasets.corruptions.chain import UNCORRUPTED, Corruption, parse_corruption, parse_corruptions
from detattack.datasets.corruptions.registry import CORRUPTIONS, Kind, register_corruption

__all__ = [
    "CORRUPTIONS",
    "UNCORRUPTED",
    "Corruption",
    "Kind",
    "compression",
    "geometry",
    "levels",
    "parse_corruption",
    "parse_corruptions",
    "register_corruption",
]
