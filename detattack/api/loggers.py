"""Loggers of experiment trackers, thin ones over `Callback`: pass one in `callbacks`. Each needs its own library.

What is logged: of each iteration loss, score and L2 of an image; of each finished image its measures; in the end the
numbers of the summary.
"""

import math
import os
from abc import abstractmethod
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from detattack.api.callbacks import Callback
from detattack.core.errors import InputError
from detattack.engine.listening import Iteration
from detattack.runs.record import Outcome


class Logger(Callback):
    """What loggers have in common: names of values, and where they stand.

    every: one of how many iterations of an image is logged.
    """

    def __init__(self, every: int = 1) -> None:
        self._every = every
        self._run = ""

    @abstractmethod
    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log values at a step: an iteration of an image, or the number of a finished image."""

    def on_start(self, run: str) -> None:
        """Put the name of the run before all names, where it has one."""
        self._run = f"{run}/" if run else ""

    def on_iteration(self, iteration: Iteration) -> None:
        """Log loss, score and distance of each image."""
        if int(iteration.numbers[0]) % self._every:
            return
        for name, number, loss, score, distance in iteration.rows():
            values = {f"{name}/loss": loss, f"{name}/score": score, f"{name}/l2": distance}
            self.log(self._named(values), number)

    def on_image(self, outcome: Outcome[Any], done: int, total: int) -> None:
        """Log the measures of an image, and whether the goal is reached."""
        record = outcome.record
        values = {f"image/{name}": value for name, value in record.quality.items()}
        values |= {"image/success": record.status == "success", "image/k": record.k}
        self.log(self._named(_finite(values)), done)

    def on_run(self, result: Any) -> None:
        """Log the numbers of a summary."""
        if isinstance(result, Mapping):
            self.log(_finite({f"run/{name}": value for name, value in result.items()}), 0)

    def _named(self, values: Mapping[str, float]) -> dict[str, float]:
        return {self._run + name: value for name, value in values.items()}


class TensorBoard(Logger):
    """Writes event files for TensorBoard. folder: where. Raises `InputError` where tensorboard is not installed."""

    def __init__(self, folder: str | os.PathLike[str], every: int = 1) -> None:
        super().__init__(every)
        _library("tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(os.fsdecode(folder))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def on_run(self, result: Any) -> None:
        """Write the numbers of a summary, and all of it to disk."""
        super().on_run(result)
        self._writer.flush()


class WeightsAndBiases(Logger):
    """Logs into a run of Weights & Biases. options: of `wandb.init`. Raises `InputError` where it is not installed."""

    def __init__(self, every: int = 1, **options: Any) -> None:
        super().__init__(every)
        self._tracked = _library("wandb").init(**options)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log values; their step is one of them, since each image has its own."""
        self._tracked.log({**values, "step": step})


class MLflow(Logger):
    """Logs into the active run of MLflow, or a new one. Raises `InputError` where it is not installed."""

    def __init__(self, every: int = 1) -> None:
        super().__init__(every)
        self._mlflow = _library("mlflow")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log metrics."""
        self._mlflow.log_metrics(dict(values), step=step)


def _library(name: str) -> Any:
    """Import a library. Raises `InputError` where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        raise InputError(f"logger: needs {name}; pip install {name}") from None


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Select the numbers."""
    numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
