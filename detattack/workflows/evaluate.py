"""Evaluate: from what is asked for to an experiment, and the experiment carried out into a run folder."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

from detattack.core.errors import InputError
from detattack.datasets.base import Dataset
from detattack.datasets.source import DatasetSource
from detattack.engine import Attack
from detattack.engine.budget import Budget
from detattack.engine.config import RADIUS_MARK, FileSetting, named_attack, parse_assignments, place_of, resolve_attack
from detattack.engine.presets import UNIT
from detattack.runs.folder import RunFolder
from detattack.runs.manifest import batch_of, mixed_notes
from detattack.runs.record import Outcome
from detattack.runs.runner import Executor, execute
from detattack.tasks.base import Task
from detattack.tasks.experiment import Experiment


class Progress(Protocol):
    """Who is told how far a run is."""

    def say(self, note: str) -> None:
        """Take a note for people."""

    def report(self, outcome: Outcome[Any], done: int, total: int) -> None:
        """Take a finished image."""

    def measuring(self, done: int, total: int) -> None:
        """Take how many images of how many are measured."""


class Silent:
    """Progress that nobody looks at."""

    def say(self, note: str) -> None:
        """Say nothing."""

    def report(self, outcome: Outcome[Any], done: int, total: int) -> None:
        """Say nothing."""

    def measuring(self, done: int, total: int) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Settings:
    """What is asked of attacks beside their names.

    - floats: whether floats are judged instead of 8-bit images
    - max_iterations: updates at most; None: the method's own
    - assignments: `key=value` for all methods, `METHOD.key=value` for one
    - more: fields of `Attack` that weaker than those; for all methods
    - budget: what each attack spends; None: it stops at a success, or looks for the smallest
    - passes: backward passes at most, an image; instead of `max_iterations`
    - each: how many of them an iteration takes; see `on`
    """

    floats: bool = False
    max_iterations: int | None = None
    assignments: Sequence[str] = ()
    more: Mapping[str, Any] | None = None
    budget: Budget | None = None
    passes: int | None = None
    each: int = 1

    def on(self, experiment: Experiment[Any, Any, Any]) -> "Settings":
        """Count what an iteration takes on the model, too, which may be several."""
        return replace(self, each=self.each * experiment.task.passes(experiment.model))

    def attacks(self, task: Task[Any, Any, Any], names: Sequence[str]) -> dict[str, Attack]:
        """Resolve the attacks of some methods of a task. Raises `InputError`."""
        overrides = overrides_of(names, self.assignments, task.methods)
        return {name: self._within_passes(self._resolved(name, task, overrides[name])) for name in names}

    def _resolved(self, name: str, task: Task[Any, Any, Any], overrides: Mapping[str, str]) -> Attack:
        """Resolve the attack of a method. Raises `InputError`, which names the config file where that is to blame."""
        floats = self.floats or (self.budget is not None and self.budget.needs_floats)

        def resolved(settings: Mapping[str, str]) -> Attack:
            values = {**(self.more or {}), **settings}
            return resolve_attack(self._spending(name, task), floats, self.max_iterations, values, task.methods)

        try:
            return resolved(overrides)
        except InputError as error:
            line = parse_assignments([one for one in self.assignments if not isinstance(one, FileSetting)])
            of_line = {k: v for k, v in overrides.items() if v in (line.get(k), line.get(f"{name}.{k}"))}
            resolved(of_line)  # raises where the command line alone is to blame
            file = next(one.file for one in self.assignments if isinstance(one, FileSetting))
            raise InputError(f"config {file}: {error}") from error

    def _within_passes(self, attack: Attack) -> Attack:
        """Bound the iterations so that the backward passes are as many as asked for; `undo` makes one of its own."""
        if self.passes is None:
            return attack
        undoes = attack.undo > 0 and attack.levels is not None
        iterations = self.passes // self.each - undoes
        if iterations < 1:
            least = self.each * (1 + undoes)
            raise InputError(f"--passes {self.passes}: method {attack.name} needs {least} at least")
        return replace(attack, max_iterations=iterations)

    def _spending(self, name: str, task: Task[Any, Any, Any]) -> str | Attack:
        if self.budget is None:
            return name
        if RADIUS_MARK in name:
            raise InputError(f"--budget {self.budget}: method {name} has a radius in its name already")
        return self.budget.spent_by(named_attack(name, task.methods))

    def attack(self, task: Task[Any, Any, Any], method: str) -> Attack:
        """Resolve the attack of one method. Raises `InputError`."""
        name = named_attack(method, task.methods).name
        return self.attacks(task, [name])[name]


def method_names(text: str, methods: Mapping[str, Attack]) -> list[str]:
    """Split names with commas between, each a method of the task. Raises `InputError`."""
    names = [named_attack(name, methods).name for name in text.split(",")]
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise InputError(f"--methods names {doubled[0]!r} twice")
    return names


def overrides_of(
    names: Sequence[str], assignments: Sequence[str], methods: Mapping[str, Attack]
) -> dict[str, dict[str, str]]:
    """Sort assignments by method: `key=value` is for all, `METHOD.key=value` for one.

    Raises `InputError`, also for a `key=value` that means another thing for one method than for another.
    """
    common: dict[str, str] = {}
    own: dict[str, dict[str, str]] = {name: {} for name in names}
    written = {one.partition("=")[0].strip(): one for one in assignments if isinstance(one, FileSetting)}
    for assigned, value in parse_assignments(list(assignments)).items():
        method, dot, key = assigned.rpartition(".")  # the last one: a radius may have a point of its own
        if dot and method not in own:
            place = place_of(written.get(assigned, assigned))
            raise InputError(f"{place} {assigned}: {method!r} is not among the methods")
        (own[method] if dot else common)[key] = value
    for key in common:
        left = [name for name in names if key not in own[name]]
        _check_meaning(place_of(written.get(key, key)), key, left, methods)
        if key in written:
            _check_carried(key, left, written[key], methods)
    return {name: common | own[name] for name in names}


def _meanings(key: str, names: Sequence[str], methods: Mapping[str, Attack]) -> tuple[str, dict[str, Any]]:
    """Return the field of `Attack` that gives a key its meaning, and its values by method; empty where none does."""
    unit = next((field.metadata.get(UNIT) for field in fields(Attack) if field.name == key), None)
    return (unit, {name: getattr(named_attack(name, methods), unit) for name in names}) if unit else ("", {})


def _check_carried(key: str, names: Sequence[str], setting: FileSetting, methods: Mapping[str, Attack]) -> None:
    """Raise `InputError` where a file sets a key for its methods that means another thing for one asked for instead."""
    unit, meant = _meanings(key, setting.methods, methods)
    for name, meaning in _meanings(key, names, methods)[1].items():
        if meant and meaning not in meant.values():
            own = ", ".join(f"{one} ({unit} {its})" for one, its in meant.items())
            raise InputError(
                f"config {setting.file}: {key} is set for {own}, and means another thing for {name} "
                f"({unit} {meaning}); --set {name}.{key}=... sets it for that"
            )


def _check_meaning(place: str, key: str, names: Sequence[str], methods: Mapping[str, Attack]) -> None:
    """Raise `InputError` for a setting of several methods, made at a place, that is not the same for all of them."""
    unit, meanings = _meanings(key, names, methods)
    if len(set(meanings.values())) > 1:
        differ = ", ".join(f"{name} {meaning}" for name, meaning in meanings.items())
        raise InputError(
            f"{place} {key}: its meaning depends on {unit} ({differ}); name the method: {names[0]}.{key}=..."
        )


def make_experiment(
    task: Task[Any, Any, Any],
    values: Mapping[str, Any],
    attack: Attack,
    source: DatasetSource | Dataset,
    batch: int | None = 1,
    out: Path | None = None,
    model: Any = None,
    **more: Any,
) -> Experiment[Any, Any, Any]:
    """Load model and images, and check all that can be known before the first file is written.

    - values: fields of the task's config, but for the attack and the batch size
    - source: where the images come from, or the images themselves
    - batch: images attacked together; None: that of the run that `out` holds, or what fits
    - model: in memory; None: it is loaded by its name
    - more: further fields of `Experiment`

    Raises `InputError`.
    """
    config = task.make_config(**values, attack=attack, batch=batch or 1)
    task.check_within(config)
    model = task.load_model(config) if model is None else model
    opened = source if isinstance(source, Dataset) else task.open_dataset(source, model, config)
    dataset = task.adapt_dataset(model, config, opened)
    settled: dict[str, Any] = {"device": str(model.device)}
    if batch is None:
        before = batch_of(out) if out else None
        fitting = task.fitting_batch(model, config, dataset.samples) // (1 + len(config.corruptions))
        settled["batch"] = before or max(1, fitting)
    experiment = Experiment(task, model, config.model_copy(update=settled), dataset, **more)
    if experiment.shard and not experiment.batches():
        shard = "/".join(map(str, experiment.shard))
        raise InputError(f"shard {shard}: has no image, the data set is too small for so many shards")
    return experiment


@contextmanager
def carried_out(
    experiment: Experiment[Any, Any, Any],
    out: Path,
    resume: bool = False,
    retry_errors: bool = False,
    progress: Callable[[], AbstractContextManager[Progress]] | None = None,
    executor: Executor | None = None,
    notes: bool = True,
) -> Iterator[RunFolder[Any]]:
    """Carry out an experiment, or what is left of it; the complete folder, open.

    - retry_errors: whether images that ended in an error are attacked again; goes with `resume`
    - progress: makes what is told, once the folder is there; None: nobody
    - executor: who attacks; None: this process
    - notes: whether to say what people should know of the data and the model

    Raises `InputError`, KeyboardInterrupt with the folder resumable, and OSError where it cannot be written.
    """
    check_retry(resume, retry_errors)
    with closing(experiment.open_folder(out, resume)) as folder:
        with progress() if progress else nullcontext(Silent()) as told:
            for note in notes_of(experiment) if notes else ():
                told.say(note)
            execute(experiment, folder, told.report, told.measuring, executor, retry_errors)
            for note in mixed_notes(folder.manifest) if notes else ():
                told.say(note)
        yield folder


def notes_of(experiment: Experiment[Any, Any, Any]) -> list[str]:
    """List what people should know of an experiment before it begins."""
    config = experiment.config
    of_model = [getattr(experiment.model, "note", "")]
    if config.weights == "none":
        of_model.append("random weights; figures of it mean nothing")
    return [*experiment.dataset.notes, *(f"model {config.model}: {note}" for note in of_model if note)]


def check_retry(resume: bool, retry_errors: bool) -> None:
    """Raise `InputError` where there is no run whose errors could be tried again."""
    if retry_errors and not resume:
        raise InputError("--retry-errors goes with --resume, which continues the run that has them")
