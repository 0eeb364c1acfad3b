"""Hyper-parameter search: what of an attack is searched, what is better, and the search itself, whatever the task.

A search is trials one after another in a SQLite file of Optuna that holds finished ones only. What is tried next
depends on those, the seed and the trial's number: an interrupted search goes on as if nothing had been.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np

from detattack.core.errors import InputError, unknown
from detattack.core.interrupts import interrupts
from detattack.engine.config import RADIUS_MARK, resolve_attack
from detattack.engine.presets import Attack, Norm
from detattack.engine.steps import STEPS, Range
from detattack.engine.steps.base import rounded
from detattack.runs.record import ATTACKED, BaseRecord

TRIALS_FILE = "trials.sqlite"
SAMPLERS = ("tpe", "grid")
STEP_SHARE = 3
"""A grid has so many times more step sizes than values of another parameter: nothing else decides as much."""


RANGES: Mapping[str, Range] = {
    "growth": Range(1, 1.2),
    "loss_weight": Range(0.1, 100),
    "l2_weight": Range(1e-3, 100),
    "range_weight": Range(1e-2, 100),
    "tv_weight": Range(1e-2, 100),
}
RADII: Mapping[Norm, Range] = {"linf": Range(1 / 255, 64 / 255), "l2": Range(0.05, 10)}
WEIGHTS = ("l2_weight", "range_weight", "tv_weight")
ASKED = ("loss_weight", "radius")
"""Searched where asked only: λ1 changes nothing that the step size and the other weights do not, as only their
ratios matter, and a radius is part of what an attack is."""


@dataclass(frozen=True)
class Scores:
    """What one trial amounts to over the attacked images.

    failures: those that do not reach the goal, errors included. paper: mean PSNR·SSIM/K, a failure counts 0. l2, k:
    means over the successes. largest: the largest L2 that a change of one of the images can have.
    """

    images: int
    failures: int
    paper: float
    l2: float | None
    k: float | None
    largest: float

    @property
    def success_rate(self) -> float:
        """Share of the attacked images."""
        return 1 - self.failures / self.images

    @property
    def penalized_l2(self) -> float:
        """The mean L2 of the successes, and for each failure more than any L2 can be.

        Fewer failures always come before a smaller L2.
        """
        return self.failures * self.largest + (self.l2 or 0.0)


@dataclass(frozen=True)
class Objective:
    """What a search is after. text: for people."""

    name: str
    direction: Literal["maximize", "minimize"]
    value: Callable[[Scores], float]
    text: str

    def best(self, trials: Sequence["Trial"]) -> "Trial":
        """Find the best trial, of equal ones the first."""
        return (max if self.direction == "maximize" else min)(trials, key=lambda trial: self.value(trial.scores))


OBJECTIVES = {
    one.name: one
    for one in (
        Objective("paper", "maximize", attrgetter("paper"), "mean PSNR·SSIM/K, a failure counts 0"),
        Objective("l2", "minimize", attrgetter("penalized_l2"), "fewest failures, then smallest mean L2"),
    )
}


@dataclass(frozen=True)
class Trial:
    """A finished trial: its number from 1 on, what was tried, by field of `Attack`, and what came out."""

    number: int
    values: Mapping[str, float]
    scores: Scores


@dataclass(frozen=True)
class Plan:
    """How every method is searched."""

    objective: Objective
    sampler: str
    trials: int
    seed: int


@dataclass(frozen=True)
class Space:
    """A method to be searched: its attack, and what of it is varied, within which ranges."""

    attack: Attack
    ranges: Mapping[str, Range]

    def attack_with(self, values: Mapping[str, float]) -> Attack:
        """Make the attack of a trial."""
        return resolve_attack(self.attack, overrides=values)


def make_plan(objective: str, sampler: str, trials: int, seed: int) -> Plan:
    """Make the checked plan. Raises `InputError`, also where Optuna is missing."""
    if objective not in OBJECTIVES:
        raise unknown("objective", objective, OBJECTIVES)
    if sampler not in SAMPLERS:
        raise unknown("sampler", sampler, SAMPLERS)
    if trials < 1:
        raise InputError(f"{trials} trials: at least one is needed")
    try:
        import optuna
    except ImportError:
        raise InputError("tuning needs Optuna: pip install '.[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return Plan(OBJECTIVES[objective], sampler, trials, seed)


def make_space(attack: Attack, also: Sequence[str] = (), fixed: Iterable[str] = ()) -> Space:
    """Find what is searched of an attack: all that it has but what is `fixed`, and of `ASKED` what is in `also`.

    Raises `InputError` where nothing is left.
    """
    fixed = set(fixed)
    ranges = {
        name: found
        for name, found in _all_ranges(attack).items()
        if name not in fixed and (name not in ASKED or name in also)
    }
    if not ranges:
        raise InputError(f"method {attack.name}: has no parameter that could be searched")
    return Space(attack, ranges)


def parse_also(text: str, attacks: Iterable[Attack]) -> tuple[str, ...]:
    """Split the names of `--also`, each a parameter of at least one of the attacks. Raises `InputError`."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    had = {name for attack in attacks for name in _all_ranges(attack)}
    for name in names:
        if name not in ASKED:
            raise unknown("parameter of --also", name, ASKED)
        if name not in had:
            raise InputError(f"--also {name}: none of the methods has one that could be searched")
    return names


def scores_of(records: Iterable[BaseRecord]) -> Scores:
    """Compute the scores of one trial. Raises `InputError` where there was nothing to attack."""
    records = [record.short() for record in records]
    attacked = [record for record in records if record.status in ATTACKED]
    if not attacked:
        reason = next((f"; {record.stem}: {record.reason}" for record in records if record.reason), "")
        raise InputError(f"none of the images can be attacked: nothing to tune on{reason}")
    successes = [record for record in attacked if record.status == "success"]
    norms = [record.quality["l2"] or 0.0 for record in successes]
    return Scores(
        images=len(attacked),
        failures=len(attacked) - len(successes),
        paper=sum(map(_paper_score, successes)) / len(attacked),
        l2=fmean(norms) if norms else None,
        k=fmean(record.k for record in successes) if successes else None,
        largest=math.sqrt(max(3 * max(record.width * record.height, 1) for record in attacked)),
    )


def search(
    space: Space, plan: Plan, folder: Path, evaluate: Callable[[Attack], Scores], report: Callable[[Trial], None]
) -> list[Trial]:
    """Search a method, or what is left of its trials; return all of them, in order.

    - folder: where the trials are kept
    - evaluate: scores an attack
    - report: told of each trial, also of those that were there already

    Raises `InputError` for a file of trials that cannot be read, OSError where a trial cannot be saved.
    """
    import optuna

    direction = plan.objective.direction
    stored = _stored_study(folder / TRIALS_FILE, space.attack.name, direction)
    study = optuna.create_study(direction=direction)
    study.add_trials(stored.trials)
    trials = [_trial(frozen) for frozen in stored.trials[: plan.trials]]
    for trial in trials:
        report(trial)
    if plan.sampler == "tpe" and not trials:  # so that what is found is never worse than what was there
        study.enqueue_trial({k: r.nearest(getattr(space.attack, k)) for k, r in space.ranges.items()})

    def value(trial: Any) -> float:
        tried = {k: rounded(trial.suggest_float(k, r.low, r.high, log=True)) for k, r in space.ranges.items()}
        scores = evaluate(space.attack_with(tried))
        trial.set_user_attr("scores", asdict(scores))
        return plan.objective.value(scores)

    with interrupts() as check:
        for number in range(len(trials) + 1, plan.trials + 1):
            study.sampler = _sampler(space, plan, number)
            study.optimize(value, n_trials=1)
            check()  # what an interrupt made of this trial is not known
            finished = study.get_trials(deepcopy=False)[-1]
            _store(stored, finished)
            trials.append(_trial(finished))
            report(trials[-1])
    return trials


def grid_of(space: Space, trials: int) -> dict[str, list[float]]:
    """Make a grid of at least `trials` points and not many more.

    It has `STEP_SHARE` times more step sizes than values of what else is searched; what there is one value of keeps the
    method's own.
    """
    counts = dict.fromkeys(space.ranges, 1)
    while math.prod(counts.values()) < trials:
        coarsest = min(counts, key=lambda name: counts[name] / (STEP_SHARE if name == "step_size" else 1))
        counts[coarsest] += 1
    return {
        name: space.ranges[name].values(count)
        if count > 1
        else [space.ranges[name].nearest(getattr(space.attack, name))]
        for name, count in counts.items()
    }


def _all_ranges(attack: Attack) -> dict[str, Range]:
    """Everything of an attack that can be searched; a weight or growth that its method is without stays away."""
    sizes = STEPS.find(attack.step).search
    if sizes is None:
        return {}
    weights = [name for name in WEIGHTS if getattr(attack, name) > 0]
    names = [*(["growth"] if attack.growth > 1 else []), *(["loss_weight"] if weights else []), *weights]
    found = {"step_size": sizes, **{name: RANGES[name] for name in names}}
    if attack.radius is not None and attack.norm in RADII and RADIUS_MARK not in attack.name:
        found["radius"] = RADII[attack.norm]
    return found


def _paper_score(record: BaseRecord) -> float:
    psnr, ssim = (record.quality[name] or 0.0 for name in ("psnr", "ssim"))
    return psnr * ssim / max(record.k, 1)


def _sampler(space: Space, plan: Plan, number: int) -> Any:
    from optuna.samplers import GridSampler, TPESampler

    if plan.sampler == "grid":
        return GridSampler(grid_of(space, plan.trials), seed=plan.seed)
    return TPESampler(seed=int(np.random.SeedSequence((plan.seed, number)).generate_state(1)[0]))


def _stored_study(path: Path, name: str, direction: Literal["maximize", "minimize"]) -> Any:
    import optuna
    from sqlalchemy import URL
    from sqlalchemy.exc import SQLAlchemyError

    try:
        storage = optuna.storages.RDBStorage(URL.create("sqlite", database=str(path)).render_as_string())
        return optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)
    except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error


def _store(study: Any, trial: Any) -> None:
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        study.add_trial(trial)  # one transaction: a trial is there as a whole, or not at all
    except (SQLAlchemyError, OptunaError) as error:
        raise OSError(f"trial {trial.number} of {study.study_name} cannot be saved ({error})") from error


def _trial(frozen: Any) -> Trial:
    values = {name: rounded(value) for name, value in frozen.params.items()}
    return Trial(frozen.number + 1, values, Scores(**frozen.user_attrs["scores"]))
