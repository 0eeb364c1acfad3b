"""The iterative engine: the cost (Eq. 2, 5, 6), step rules, attacks as data, and the one loop that runs them all.

To read it in order: `presets` (what an attack is), `cost` (the terms of Eq. 2), `steps.base` and `steps.descent` (how
an iterate is updated), `loop` (one iteration), `state` (which images are active, and who decides that the goal holds),
`quantize` (8-bit images), `refine` (what shrinks a success). Then what stands beside the loop: `steps.minimum_norm`,
`ensemble`, `perceptual`, `deepfool`, `random_search`, `random_noise`, and `config`, which checks an attack that a user
changed.

The engine knows images and objectives, nothing of detectors or classifiers. Its names are imported when they are first
used: `presets` is data that help texts read, before anything imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detattack.engine.deepfool import run_deepfool
    from detattack.engine.ensemble import run_ensemble
    from detattack.engine.loop import run
    from detattack.engine.presets import PRESETS, Attack
    from detattack.engine.random_noise import noise_of_l2, run_control
    from detattack.engine.random_search import run_random_search
    from detattack.engine.state import AttackResult, Objective, Trace

__all__ = [
    "PRESETS",
    "Attack",
    "AttackResult",
    "Objective",
    "Trace",
    "noise_of_l2",
    "run",
    "run_control",
    "run_deepfool",
    "run_ensemble",
    "run_random_search",
]
_MODULES = {
    "deepfool": ("run_deepfool",),
    "ensemble": ("run_ensemble",),
    "loop": ("run",),
    "presets": ("PRESETS", "Attack"),
    "random_noise": ("noise_of_l2", "run_control"),
    "random_search": ("run_random_search",),
    "state": ("AttackResult", "Objective", "Trace"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"detattack.engine.{module}"), name)
    raise AttributeError(f"module 'detattack.engine' has no attribute {name!r}")
