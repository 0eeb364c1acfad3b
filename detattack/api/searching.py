"""One change for many images: found on some, judged on others, and put onto any."""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detattack.api.asked import asked_of
from detattack.api.attacking import folder_of
from detattack.api.images import open_data
from detattack.api.results import Result, Texts, frame, place
from detattack.cli.progress import phases
from detattack.core.boxes import to_box
from detattack.core.errors import InputError
from detattack.datasets.given import given_image
from detattack.datasets.image_io import to_pixels, to_tensor
from detattack.detectors.base import Detector
from detattack.report.reading import read_json
from detattack.report.sheet import new_figure
from detattack.tasks.columns import Kind
from detattack.tasks.detection.universal import Change, Recipe, read_change
from detattack.workflows.changes import changes_of
from detattack.workflows.universal import LOSS, RESULT, attack_on, find, search_of
from detattack.workflows.universal_rows import HEADINGS, rows_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


class Universal(Result):
    """A change for many images: the content of `result.json`.

    - path: the folder
    - saved: the change, whose `values` are `[3,N,N]`
    """

    def __init__(self, path: Path, held: TemporaryDirectory[str] | None = None) -> None:
        """Read the folder of `detattack universal`. held: removed with this object. Raises `InputError`."""
        super().__init__(read_json(path / RESULT, dict))
        self.path, self._held, self.saved = path, held, read_change(path)

    def __repr__(self) -> str:
        return f"Universal({place(self.path, self._held)}, {self['change_is']} on {self['on']})"

    def put_on(self, image: Any, boxes: Sequence[Sequence[float]] = ()) -> NDArray[np.uint8]:
        """Return an image of any kind with the change on it, uint8 `[H,W,3]`; a patch goes onto each box, xyxy."""
        original = to_tensor(given_image(image, "image").picture.pixels)
        return to_pixels(self.saved.change.put_on(self.saved.values, original, [to_box(list(box)) for box in boxes]))

    def to_pandas(self) -> "DataFrame":
        """Return a row each for untouched images, changed ones, and noise."""
        kinds: dict[str, Kind] = {"judged": "text", **dict.fromkeys(("ap", "ap50", "missed", "broken"), "number")}
        return frame(kinds, [[row.values[key] for key in kinds] for row in rows_of(self)])

    def figure(self) -> "Figure":
        """Draw the change, as `change.png` shows it."""
        figure = new_figure(3, 3)
        axis = figure.subplots()
        axis.imshow(to_pixels(self.saved.change.picture(self.saved.values)))
        axis.axis("off")
        return figure

    def texts(self) -> Texts:
        """Write a row each for untouched images, changed ones, and noise."""
        return [list(HEADINGS), *(row.texts for row in rows_of(self))]


def universal(
    images: Any,
    model: str | Detector,
    *,
    budget: str | None = None,
    tile: int | None = None,
    patch: int | None = None,
    share: float | None = None,
    on: str = "all",
    judged: Any = None,
    held_out: int | None = None,
    passes: int = 10,
    batch: int = 4,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    **options: Any,
) -> Universal:
    """Find one perturbation, or one patch, for many images, and judge it on others, beside noise (docs/universal.md).

    - images: to find it on: a path, or what `open_data` returns or takes
    - model: a `Detector`, or the name of one
    - budget, tile: of a perturbation: its size, such as `linf:8`, and the side in pixels of the square that is repeated
      (None: 32)
    - patch, share: instead of those: the side of a patch in pixels, and the share of an object's area that it covers
      (None: 0.1)
    - on: the class of the objects that are not to be found any more, or `all`
    - judged: images to judge on; None: `held_out` of `images`, half of them unless said
    - passes, batch: passes over the images, and images of a step
    - out: a new folder; None: a temporary one
    - progress: whether a bar is shown
    - options: `score_threshold`, `loss`, `reference`; of a named model `weights`, `categories`, `device`

    Images that cannot be read, or that the model fails on, are left out: `left_out` of the result says why.

    Raises `InputError`.
    """
    change, recipe = _change(budget, tile, patch, share), Recipe(passes, batch, seed)
    values = {"loss": LOSS, **options, "seed": seed}
    asked = asked_of(model, f"degrade:{on}", attack_on(change), None, "detect", values)
    others = None if judged is None else open_data(judged)
    search = search_of(asked.of(open_data(images)), others, change, on, held_out, recipe)
    with folder_of(out) as (path, held), phases(not progress) as told:
        find(search, path, told=told)
        return Universal(path, held)


def _change(budget: str | None, tile: int | None, patch: int | None, share: float | None) -> Change:
    """Say what is searched. Raises `InputError`."""
    (change, *more) = changes_of(budget, tile, patch, share)
    if more:
        raise InputError(f"budget: expected one, such as 'linf:8', got {budget!r}")
    return change
