"""One change for many images: a perturbation or a patch that is found on some images and judged on others."""

from detattack.tasks.detection.universal.change import Change, Patch, Perturbation
from detattack.tasks.detection.universal.judging import Judged, changed, judge
from detattack.tasks.detection.universal.left_out import LeftOut, check_left, notes_of_left_out, read, reason_of
from detattack.tasks.detection.universal.saved import (
    FACTS,
    LARGEST_SIDE,
    PICTURE,
    SavedChange,
    read_change,
    write_change,
)
from detattack.tasks.detection.universal.training import CHECKPOINT, Recipe, Subject, subjects_of, train

__all__ = [
    "CHECKPOINT",
    "FACTS",
    "LARGEST_SIDE",
    "PICTURE",
    "Change",
    "Judged",
    "LeftOut",
    "Patch",
    "Perturbation",
    "Recipe",
    "SavedChange",
    "Subject",
    "changed",
    "check_left",
    "judge",
    "notes_of_left_out",
    "read",
    "read_change",
    "reason_of",
    "subjects_of",
    "train",
    "write_change",
]
