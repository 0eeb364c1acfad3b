"""What a notebook imports: the command line's main job on arrays, without a run folder.

from detattack.api import attack, load_detector, scene

detector = load_detector("demo")
result = attack(scene(8).image, detector, goal="suppress:car")
print(result.record.status, result.record.k, result.record.quality["psnr"])
result.save("blind.png")

A model in memory becomes a detector by `wrap`, and a data set is attacked by `evaluate`; docs/api.md shows all of it.
"""

from detattack.api.attacking import attack, evaluate, save_figure
from detattack.api.callbacks import Callback
from detattack.api.comparing import (
    Comparison,
    Quality,
    Ranking,
    Transferred,
    Verified,
    compare,
    load_run,
    quality,
    rank,
    transfer,
    verify,
)
from detattack.api.images import load_image, open_data, scene
from detattack.api.results import Attacked, Result, Run
from detattack.api.searching import Universal, universal
from detattack.core.errors import InputError
from detattack.core.types import Candidates, Category, Detections, Evaluation
from detattack.datasets.maite import MaiteDataset
from detattack.datasets.scenes import Scene
from detattack.detectors.base import Detector
from detattack.detectors.maite import MaiteModel
from detattack.detectors.registry import load_detector
from detattack.detectors.wrap import wrap
from detattack.engine import PRESETS, Attack, AttackResult, run
from detattack.engine.budget import Budget
from detattack.engine.listening import Iteration
from detattack.runs.record import Outcome
from detattack.tasks.detection.goals import Goal, parse_goal
from detattack.tasks.detection.record import DetectionRecord

__all__ = [
    "PRESETS",
    "Attack",
    "AttackResult",
    "Attacked",
    "Budget",
    "Callback",
    "Candidates",
    "Category",
    "Comparison",
    "DetectionRecord",
    "Detections",
    "Detector",
    "Evaluation",
    "Goal",
    "InputError",
    "Iteration",
    "MaiteDataset",
    "MaiteModel",
    "Outcome",
    "Quality",
    "Ranking",
    "Result",
    "Run",
    "Scene",
    "Transferred",
    "Universal",
    "Verified",
    "attack",
    "compare",
    "evaluate",
    "load_detector",
    "load_image",
    "load_run",
    "open_data",
    "parse_goal",
    "quality",
    "rank",
    "run",
    "save_figure",
    "scene",
    "transfer",
    "universal",
    "verify",
    "wrap",
]
