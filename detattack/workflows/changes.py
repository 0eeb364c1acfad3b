"""Which change `universal` is asked for: a perturbation or a patch, and what holds where nothing else is said.

Help texts read this before anything imports torch.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from detattack.core.errors import InputError
from detattack.engine.budget import parse_budgets

if TYPE_CHECKING:
    from detattack.tasks.detection.universal import Change

DEFAULT_TILE = 32
"""The side in pixels of the square that a perturbation repeats."""
DEFAULT_SHARE = 0.1
"""Of an object's area that a patch covers."""


def changes_of(budget: str | None, tile: int | None, patch: int | None, share: float | None) -> "Sequence[Change]":
    """Make the changes that are asked for: a perturbation of each budget, or a patch.

    - budget: sizes as `parse_budgets` takes them; None: a patch is asked for
    - tile: of a perturbation, its side in pixels
    - patch: its side in pixels; None: a perturbation is asked for
    - share: of an object's area that the patch covers

    Raises `InputError`.
    """
    from detattack.tasks.detection.universal import Patch, Perturbation

    if (budget is None) == (patch is None):
        raise InputError(
            "universal: needs either a budget, such as linf:8, which says how large a perturbation is, or a patch, its "
            "side in pixels (--budget, --patch)"
        )
    if patch is None and share is not None:
        raise InputError("--share goes with --patch")
    if patch is not None and tile is not None:
        raise InputError("--tile goes with --budget, not with --patch")
    if patch is not None:
        return [Patch(patch, DEFAULT_SHARE if share is None else share)]
    return [Perturbation(one, DEFAULT_TILE if tile is None else tile) for one in parse_budgets(str(budget))]
