"""Progress of a search on stderr: image by image, how long still, and the best so far."""

from collections.abc import Iterable, Iterator
from types import TracebackType

from rich.progress import Progress, TaskProgressColumn, TextColumn

from detattack.cli.progress import timed
from detattack.cli.terminal import Terminal, say_notes
from detattack.runs.record import BaseRecord, Outcome
from detattack.workflows.search import Plan, Trial

SPEED_PERIOD_S = 600
"""What is left is estimated from the speed of so many last seconds: trials differ a lot."""


class TrialProgress:
    """A context manager. trials: of all methods. images: of a trial."""

    def __init__(self, plan: Plan, trials: int, images: int, enabled: bool) -> None:
        self._plan, self._images = plan, images
        self._console = Terminal(stderr=True, quiet=not enabled)
        self._bar = Progress(
            *timed(TaskProgressColumn()),
            TextColumn("{task.fields[best]}"),
            console=self._console,
            speed_estimate_period=SPEED_PERIOD_S,
        )
        self._left = trials * images
        self._task = self._bar.add_task("", total=self._left, best="")
        self._name = ""
        self._trials: list[Trial] = []
        self._counted = 0

    def __enter__(self) -> "TrialProgress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, note: str) -> None:
        """Say what people should know of data and model: it changes what the figures mean, so it is never quiet."""
        say_notes([note])

    def start(self, name: str) -> None:
        """Begin a method's search."""
        self._name, self._trials = name, []
        self._show(best="")

    def counted(self, outcomes: Iterable[Outcome[BaseRecord]]) -> Iterator[BaseRecord]:
        """Yield the records of a trial, each noted as it comes."""
        for outcome in outcomes:
            self._counted += 1
            self._bar.advance(self._task)
            yield outcome.record

    def report(self, trial: Trial) -> None:
        """Note that a trial is finished, now or, if no image was counted, before this search was resumed."""
        if not self._counted:
            self._left -= self._images
            self._bar.update(self._task, total=self._left)
        self._counted = 0
        self._trials.append(trial)
        best = self._plan.objective.best(self._trials)
        value = self._plan.objective.value(best.scores)
        self._show(best=f"best {value:.4g}, success {best.scores.success_rate:.0%}")

    def _show(self, best: str) -> None:
        name = f"{self._name} {len(self._trials)}/{self._plan.trials}"
        self._bar.update(self._task, description=name, best=best)
