"""The one iterative engine: cost (Eq. 2, 5, 6), step rules, attacks as data, and the loop that runs them all.

It knows images and objectives, nothing of detectors or classifiers. Its names are looked up when they are first asked
for: `presets` is data that help texts read, before anything imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
_MODULES = {
    "deepfool": ("run_deepfool",),
    "loop": ("run",),
    "presets": ("PRESETS", "Attack"),
    "random_noise": ("noise_of_length", "run_control"),
    "state": ("AttackResult", "Objective", "Trace"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"detattack.engine.{module}"), name)
    raise AttributeError(f"module 'detattack.engine' has no attribute {name!r}")
