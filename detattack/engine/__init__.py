"""The one iterative engine: cost (Eq. 2, 5, 6), step rules, attacks as data, and the loop that runs them all.

It knows images and objectives, nothing of detectors or classifiers, and imports torch and itself only.
"""

from detattack.engine.deepfool import run_deepfool
from detattack.engine.loop import run
from detattack.engine.presets import PRESETS, Attack
from detattack.engine.random_noise import noise_of_length, run_control
from detattack.engine.state import AttackResult, Objective, Trace

__all__ = [
    "PRESETS",
    "Attack",
    "AttackResult",
    "Objective",
    "Trace",
    "noise_of_length",
    "run",
    "run_control",
    "run_deepfool",
]
