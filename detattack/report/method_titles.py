"""How figures and tables spell the names of methods."""

from detattack.engine.config import RADIUS_MARK

TITLES = {
    "jnd": "JND",
    "jnd-paper": "JND (paper)",
    "jnd-min": "JND (minimal)",
    "jnd-min-quick": "JND (minimal, quick)",
    "fgsm": "FGSM",
    "fgv": "FGV",
    "pgd-linf": "PGD L∞",
    "pgd-l2": "PGD L2",
    "ddn": "DDN",
    "fmn": "FMN",
    "cw": "C&W",
    "deepfool": "DeepFool",
}
"""The names that are abbreviations; any other is spelled with a capital."""


def method_title(name: str) -> str:
    """Spell a method for people, its radius included: `pgd-linf@4` is `PGD L∞ ≤ 4/255`."""
    name, _, radius = name.partition(RADIUS_MARK)
    title = TITLES.get(name, name.capitalize())
    return f"{title} ≤ {radius}/255" if radius else title
