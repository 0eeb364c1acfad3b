"""Names of categories: COCO's 80 with their ids, and other data sets' words for the same things.

Categories are matched by name everywhere; this is the one table of aliases.
"""

from collections.abc import Iterable, Sequence

from detattack.types import Category

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
"""COCO's ids by name: 1 to 90 with gaps."""

ALIASES = {
    # Pascal VOC
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
    # Open Images, Objects365 and others
    "cellphone": "cell phone",
    "doughnut": "donut",
    "hair dryer": "hair drier",
    "mobile phone": "cell phone",
    "television": "tv",
    "tv monitor": "tv",
}
"""Another data set's word for what COCO calls by its own."""


def canonical(name: str) -> str:
    """The name without letter case and outer blanks, in COCO's word where an alias is known."""
    plain = name.strip().casefold()
    return ALIASES.get(plain, plain)


def match(name: str, names: Sequence[str]) -> int | None:
    """The index of a name: to the letter, else the only one that is an alias of it or it of that, else None."""
    if name in names:
        return names.index(name)
    near = [i for i, other in enumerate(names) if ALIASES.get(other, other) == ALIASES.get(name, name)]
    return near[0] if len(near) == 1 else None


def categories_named(names: Iterable[str]) -> tuple[Category, ...]:
    """Categories of these names, with COCO's ids where COCO knows all of them, else numbered from 1 on."""
    names = tuple(names)
    known = [COCO_IDS.get(canonical(name)) for name in names]
    unique = None not in known and len(set(known)) == len(known)
    ids = known if unique else range(1, len(names) + 1)
    return tuple(Category(name, int(i or 0)) for name, i in zip(names, ids, strict=True))
