"""Tune: the settings of several methods, searched on the images of an experiment with equally many trials each."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from detattack.engine import Attack
from detattack.runs.folder import claimed
from detattack.runs.manifest import make_manifest
from detattack.runs.record import BaseRecord, Outcome
from detattack.runs.runner import attack_all, read_all
from detattack.tasks.experiment import Experiment
from detattack.workflows.search import Plan, Scores, Space, Trial, make_space, parse_also, scores_of, search
from detattack.workflows.tune_output import Found, make_found, write_all, write_best
from detattack.workflows.tuned_on import tuned_on

DECIDING = ("task", "config", "methods", "model", "data", "objective", "sampler", "grid_trials")
"""The keys of the manifest that a resumed search must share with the one it continues."""


class SearchProgress(Protocol):
    """Who is told how far a search is."""

    def say(self, note: str) -> None:
        """Take a note for people."""

    def start(self, name: str) -> None:
        """Take the method whose search begins."""

    def counted(self, outcomes: Iterable[Outcome[Any]]) -> Iterator[BaseRecord]:
        """Hand on the records of a trial, each noted as it comes."""

    def report(self, trial: Trial) -> None:
        """Take a trial that is finished, now or before this search was resumed."""


class Silent:
    """Progress of a search that nobody looks at."""

    def say(self, note: str) -> None:
        """Say nothing."""

    def start(self, name: str) -> None:
        """Say nothing."""

    def counted(self, outcomes: Iterable[Outcome[Any]]) -> Iterator[BaseRecord]:
        """Hand the records on."""
        return (outcome.record for outcome in outcomes)

    def report(self, trial: Trial) -> None:
        """Say nothing."""


Reporting = Callable[[Plan, int, int], AbstractContextManager[SearchProgress]]
"""Makes what is told of a search, by its plan, the number of trials of all methods, and the images of a trial."""


@dataclass(frozen=True)
class Request:
    """A checked search: how, and which methods."""

    plan: Plan
    spaces: Sequence[Space]


def make_request(
    plan: Plan, attacks: Mapping[str, Attack], fixed: Mapping[str, Mapping[str, str]], also: str = ""
) -> Request:
    """Check a search before anything loads.

    - attacks: by the name of the method
    - fixed: the settings that are not searched, by method
    - also: parameters that are searched where asked only, with commas between

    Raises `InputError`.
    """
    extra = parse_also(also, attacks.values())
    return Request(plan, [make_space(attack, extra, fixed[name]) for name, attack in attacks.items()])


def tune(
    experiment: Experiment[Any, Any, Any],
    request: Request,
    out: Path,
    origin: Mapping[str, Any],
    resume: bool = False,
    progress: Reporting | None = None,
) -> list[Found]:
    """Search all methods, or what is left of them, into a folder.

    - origin: where model and images come from, by name, for people who read the configs
    - progress: makes what is told; None: nobody

    Raises `InputError`, and KeyboardInterrupt with the folder resumable.
    """
    groups = read_all(experiment.batches(), experiment.record_type)
    images = sum(map(len, groups))
    trials = len(request.spaces) * request.plan.trials
    with claimed(out, _manifest(request, experiment), resume, DECIDING):
        with progress(request.plan, trials, images) if progress else nullcontext(Silent()) as told:
            for note in experiment.dataset.notes:
                told.say(note)
            found = [_tune_one(space, request.plan, experiment, groups, out, origin, told) for space in request.spaces]
        write_all(out, found)
        return found


def _tune_one(
    space: Space,
    plan: Plan,
    experiment: Experiment[Any, Any, Any],
    groups: list[Any],
    out: Path,
    origin: Mapping[str, Any],
    told: SearchProgress,
) -> Found:
    def evaluate(attack: Attack) -> Scores:
        return scores_of(told.counted(attack_all(experiment.with_attack(attack), groups)))

    told.start(space.attack.name)
    trials = search(space, plan, out, evaluate, told.report)
    found = make_found(space, plan, trials, origin, tuned_on(experiment.dataset), experiment.task.methods)
    write_best(out, found)
    return found


def _manifest(request: Request, experiment: Experiment[Any, Any, Any]) -> dict[str, Any]:
    plan, config = request.plan, experiment.config
    return make_manifest(
        config.model_dump(mode="json", exclude=set(config.of_method)),
        experiment.task.fingerprint(experiment.model),
        experiment.dataset.fingerprint,
        task=f"tune {experiment.task.name}",
        methods={space.attack.name: asdict(space) for space in request.spaces},
        objective=plan.objective.name,
        sampler=plan.sampler,
        grid_trials=plan.trials if plan.sampler == "grid" else None,
    )
