"""Goals: what an attack is after, as text in configs and ledgers, and the one predicate that judges it.

    suppress:all   suppress:car   suppress:car@10,20,80,60
    inject:car@10,20,80,60   inject:car@center   inject:car@random   inject:car@road
    mislabel:car->dog   mislabel:car@10,20,80,60->dog
    degrade:all   degrade:car   flood:20

A class each, one file a class. The same predicate serves the stop rule of the loop, the success rate and `verify`.
"""

from detattack.tasks.detection.goals.base import (
    GOALS,
    CleanImage,
    Goal,
    Target,
    first_labels_of,
    goal_forms,
    label_of,
    labels_about,
    parse_goal,
    register_goal,
)
from detattack.tasks.detection.goals.degrade import Degrade
from detattack.tasks.detection.goals.flood import Flood
from detattack.tasks.detection.goals.inject import Inject
from detattack.tasks.detection.goals.mislabel import Mislabel
from detattack.tasks.detection.goals.suppress import Suppress

__all__ = [
    "GOALS",
    "CleanImage",
    "Degrade",
    "Flood",
    "Goal",
    "Inject",
    "Mislabel",
    "Suppress",
    "Target",
    "first_labels_of",
    "goal_forms",
    "label_of",
    "labels_about",
    "parse_goal",
    "register_goal",
]
