"""Category names: COCO's 80 with their ids, and other data sets' names for the same classes.

Categories are matched by name everywhere, by `match_names` and `find_name`, and this is the one table: letter case,
`_`, `-` and blanks do not tell names apart, nor do aliases. Where this makes several names of one side equal, only the
one that is spelled exactly as on the other side is taken: nothing is guessed, and nothing is counted twice.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from detattack.core.errors import InputError
from detattack.core.types import Category

COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
_IN_ORDER = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, "
    "laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, "
    "scissors, teddy bear, hair drier, toothbrush"
)
COCO_NAMES = tuple(_IN_ORDER.split(", "))
COCO_IDS = dict(zip(COCO_NAMES, (i for i in range(1, 91) if i not in COCO_GAPS), strict=True))
"""COCO category id by name: 1 to 90 with gaps."""

ALIASES = {
    # Pascal VOC
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
    # Open Images, Objects365, LVIS and others
    "bus (vehicle)": "bus",
    "car (automobile)": "car",
    "cellphone": "cell phone",
    "cellular telephone": "cell phone",
    "computer keyboard": "keyboard",
    "computer mouse": "mouse",
    "doughnut": "donut",
    "fireplug": "fire hydrant",
    "flying disc": "frisbee",
    "hair dryer": "hair drier",
    "handbag/satchel": "handbag",
    "microwave oven": "microwave",
    "mobile phone": "cell phone",
    "monitor/tv": "tv",
    "mouse (computer equipment)": "mouse",
    "remote control": "remote",
    "ski": "skis",
    "television": "tv",
    "television set": "tv",
    "train (railroad vehicle)": "train",
    "tv monitor": "tv",
    "wineglass": "wine glass",
}
"""COCO's name by the name that another data set uses; in lower case, with single blanks."""


def canonical(name: str) -> str:
    """Return the name in lower case, with single blanks for `_`, `-` and blanks, as COCO spells it if an alias."""
    plain = " ".join(re.split(r"[\s_-]+", name.casefold())).strip()
    return ALIASES.get(plain, plain)


def coco_id(name: str) -> int | None:
    """Return the COCO id of a category named as in COCO, or by an alias; letter case and outer blanks are ignored.

    Narrower than `canonical`: ids are part of a model's fingerprint, by which runs are resumed and verified.
    """
    plain = name.strip().casefold()
    return COCO_IDS.get(ALIASES.get(plain, plain))


def match_names(names: Sequence[str], others: Sequence[str]) -> dict[int, int]:
    """Match names with others: return a mapping from indices of `names` to indices of `others`.

    Two names match if they are equal, or else if their `canonical` names are equal and unique on both sides.
    """
    exact = {name: i for i, name in reversed(list(enumerate(others)))}
    ours, theirs = (Counter(map(canonical, side)) for side in (names, others))
    alike = {canonical(name): i for i, name in enumerate(others)}
    found = {}
    for i, name in enumerate(names):
        key = canonical(name)
        if name in exact:
            found[i] = exact[name]
        elif ours[key] == theirs[key] == 1:
            found[i] = alike[key]
    return found


def find_name(name: str, names: Sequence[str]) -> int | None:
    """Return the index of a name in `names`, matched as by `match_names`; None for no match or several."""
    return match_names([name], names).get(0)


def check_one_a_line(names: Iterable[str], where: str) -> None:
    """Raise `InputError`, saying `where`, for a name that was a line and is rather cells as spreadsheets write them."""
    cells = next((name for name in names if ";" in name), None)
    if cells is not None:
        raise InputError(f"{where}: {cells[:80]!r} has semicolons; a line is one name, and nothing else")


def categories_named(names: Iterable[str]) -> tuple[Category, ...]:
    """Make categories of these names, with COCO's ids if COCO has all of them, else numbered from 1."""
    names = tuple(names)
    known = [coco_id(name) for name in names]
    unique = None not in known and len(set(known)) == len(known)
    ids = known if unique else range(1, len(names) + 1)
    return tuple(Category(name, int(i or 0)) for name, i in zip(names, ids, strict=True))
