"""The confusion matrix of detections: what objects of each class are taken for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from detattack.core.wording import counted
from detattack.metrics.labelled_boxes import LabelledBoxes, in_crowd, overlaps, same_class

MATCH_IOU = 0.5
"""From this IoU on, a detection is at an object."""
BACKGROUND = "(background)"
"""The column of objects where nothing is found, and the row of detections where no object is."""
NOTHING = -1
Counts = Mapping[str, Mapping[str, int]]
"""How many objects of a class (or the background) are taken for a class (or the background); 0 where not told."""


class Confusion:
    """Counts, image by image, what is found at each object.

    Objects are annotated ones, or the detections on the clean image. A row adds up to the objects of its class; a
    column, but for what lies in crowds, to the detections of its class.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, int]] = Counter()

    def add(self, objects: LabelledBoxes, found: LabelledBoxes) -> None:
        """Count an image."""
        whole = objects[~objects.crowd]
        partner = partners(whole, found)
        taken_for = np.append(found.labels, NOTHING)[partner]
        self._counts.update(zip(whole.labels.tolist(), taken_for.tolist(), strict=True))
        free = ~in_crowd(found, objects, MATCH_IOU)
        free[partner[partner >= 0]] = False
        self._counts.update((NOTHING, label) for label in found.labels[free].tolist())

    def by_name(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        """Return what was counted, without zeros, in the order of the labels and the background last.

        names: of the labels.
        """
        table: dict[str, dict[str, int]] = {}
        for row, column in sorted(self._counts, key=lambda pair: [(label == NOTHING, label) for label in pair]):
            cells, name = table.setdefault(_name(row, names), {}), _name(column, names)
            cells[name] = cells.get(name, 0) + self._counts[row, column]
        return table


def partners(objects: LabelledBoxes, found: LabelledBoxes) -> NDArray[np.int64]:
    """For each object the row of the detection at its place (IoU ≥ 0.5), or −1.

    One to one: pairs are made from the largest IoU on, first within classes and then across them.
    """
    partner = np.full(len(objects), NOTHING)
    overlap = overlaps(found, objects)
    rows, columns = (overlap >= MATCH_IOU).nonzero()
    order = np.lexsort((-overlap[rows, columns], ~same_class(found, objects)[rows, columns]))
    taken: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if partner[column] == NOTHING and row not in taken:
            partner[column] = row
            taken.add(row)
    return partner


def folded(tables: Sequence[Counts], most: int) -> tuple[list[str], list[NDArray[np.int64]]]:
    """Return the most frequent classes of some tables, and each table as a square matrix over them.

    Where there are more than `most` classes, the further ones are one class, the last. After the classes, the last row
    and column are the background.
    """
    cells = [[(row, column, n) for row, counts in one.items() for column, n in counts.items()] for one in tables]
    frequency: Counter[str] = Counter()
    for row, column, count in chain(*cells):
        frequency.update({row: count, column: count})
    del frequency[BACKGROUND]
    names = [name for name, _ in frequency.most_common(most)]
    further = len(frequency) - len(names)
    names += [counted(further, "other")] if further else []
    place = {name: i for i, name in enumerate(names)} | {BACKGROUND: len(names)}
    squares = [np.zeros((len(names) + 1, len(names) + 1), np.int64) for _ in tables]
    for square, filled in zip(squares, cells, strict=True):
        for row, column, count in filled:
            square[place.get(row, len(names) - 1), place.get(column, len(names) - 1)] += count
    return names, squares


def _name(label: int, names: Sequence[str]) -> str:
    """Name a class; one that has no name is told by its number."""
    if label == NOTHING:
        return BACKGROUND
    return names[label] if label < len(names) else f"class {label}"
