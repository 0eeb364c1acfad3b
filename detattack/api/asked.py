"""From what a program asks for to an experiment: the task, the model, the config and the attack."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detattack.core.errors import InputError
from detattack.datasets.base import Dataset
from detattack.detectors.registry import lacks
from detattack.engine import Attack
from detattack.engine.budget import Budget, check_floats, parse_budgets
from detattack.engine.config import named_attack, resolve_attack
from detattack.tasks.base import Task, TaskConfig
from detattack.tasks.detection.goals import Goal, parse_goal
from detattack.tasks.detection.task import DETECTION
from detattack.tasks.experiment import Experiment
from detattack.tasks.registry import find_task

CLASSIFIER = ("name", "classes", "device", "smallest", "logits")
"""What a classifier has."""
SETTLED = {"model", "attack", "goal", "target"}
"""Fields of configs that have parameters of their own."""
OF_NAMES = {"weights", "categories", "prompt", "preprocess", "device"}
"""Fields of configs that say how a named model is loaded."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What is asked of a model: everything but the images.

    - task: what kind of model it is
    - model: loaded
    - config: complete
    """

    task: Task[Any, Any, Any]
    model: Any
    config: TaskConfig

    def of(self, dataset: Dataset) -> Experiment[Any, Any, Any]:
        """Make the experiment on some images. Raises `InputError` for what would fail on every image."""
        return Experiment(self.task, self.model, self.config, self.task.adapt_dataset(self.model, self.config, dataset))


def asked_of(
    model: Any,
    goal: str | Goal | None,
    method: str | Attack,
    budget: str | Budget | None,
    task: str | None,
    options: Mapping[str, Any],
    otherwise: str = "suppress:all",
) -> Asked:
    """Resolve what is asked, and load the model where it is named.

    - options: fields of the task's config and of `Attack`, by name
    - otherwise: the goal of detectors where none is given

    Raises `InputError`.
    """
    found, named = task_of(model, task), isinstance(model, str)
    known = found.config_type.model_fields.keys() - SETTLED - (set() if named else OF_NAMES)
    overrides = {name: value for name, value in options.items() if name not in known}
    values = _goal_of(found, goal, otherwise) | {name: value for name, value in options.items() if name in known}
    values["attack"] = attack_of(found, method, budget, overrides)
    values["model"] = model if named else model.name
    config = found.make_config(**values)
    loaded = found.load_model(config) if named else model
    return Asked(found, loaded, config.model_copy(update={"device": str(loaded.device)}))


def task_of(model: Any, name: str | None) -> Task[Any, Any, Any]:
    """Tell what kind of model it is; name: of the task, where somebody says so. Raises `InputError` for none."""
    if name is not None:
        return find_task(name)
    if isinstance(model, str) or not lacks(model):
        return DETECTION
    if all(hasattr(model, attribute) for attribute in CLASSIFIER):
        return find_task("classify")
    raise InputError(
        f"detector: {type(model).__name__} is no Detector, it lacks {', '.join(lacks(model))}; wrap(MODEL) makes one "
        "of a model in memory, load_detector(NAME, weights=FILE) loads one, docs/adapters.md says how to write one"
    )


def attack_of(
    task: Task[Any, Any, Any], method: str | Attack, budget: str | Budget | None, overrides: Mapping[str, Any]
) -> Attack:
    """Resolve an attack. Raises `InputError`."""
    if not isinstance(method, str | Attack):
        raise InputError(f"method: expected a name or an Attack, got {type(method).__name__}")
    chosen = named_attack(method, task.methods) if isinstance(method, str) else method
    if budget is not None:
        chosen = _budget(budget, "levels" in overrides and overrides["levels"] is None).spent_by(chosen)
    return resolve_attack(chosen, overrides=dict(overrides), presets=task.methods)


def goal_of(goal: str | Goal) -> Goal:
    """Parse a goal of detectors. Raises `InputError`."""
    if not isinstance(goal, str | Goal):
        raise InputError(f"goal: expected a text such as 'suppress:car', got {type(goal).__name__}")
    try:
        return parse_goal(str(goal))
    except (TypeError, ValueError) as error:
        raise InputError(f"goal: its place is none of center, random, road and x1,y1,x2,y2 ({error})") from error


def path_of(value: Any, what: str) -> Path:
    """Check the path of a folder. Raises `InputError`."""
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"{what}: expected the path of a folder, got {type(value).__name__}")
    return Path(os.fsdecode(value))


def _goal_of(task: Task[Any, Any, Any], goal: str | Goal | None, otherwise: str) -> dict[str, Any]:
    """Return the field of the config that holds the goal; of classifiers it is the class to be taken for."""
    names = task.config_type.model_fields
    if "goal" in names:
        return {"goal": str(goal_of(otherwise if goal is None else goal))}
    if goal is None:
        return {}
    if "target" not in names:
        raise InputError(f"goal: task {task.name} has none")
    return {"target": str(goal)}


def _budget(budget: str | Budget, floats: bool) -> Budget:
    budgets = parse_budgets(budget) if isinstance(budget, str) else (budget,)
    if len(budgets) > 1 or not isinstance(budgets[0], Budget):
        raise InputError(f"budget: expected one, such as 'linf:2', got {budget!r}")
    check_floats(budgets, floats)
    return budgets[0]
