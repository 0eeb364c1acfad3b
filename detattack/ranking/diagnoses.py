"""Whether a figure can be trusted: what tells a detector that only looks robust, each with its evidence."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from detattack.core.wording import counted
from detattack.engine.budget import parse_budgets
from detattack.ranking.phases import Phases, ids_with, records_of
from detattack.ranking.probe import Probe
from detattack.ranking.smallest import least_changes

ATTACKED = ("success", "failure")
ROUNDING = 1e-4
"""By which share a measured distance may be above the budget that it was held to."""


@dataclass(frozen=True)
class Verdict:
    """A diagnosis.

    - name: what was asked
    - trusted: whether the answer leaves the figures as they are
    - evidence: in words and numbers
    """

    name: str
    trusted: bool
    evidence: str

    def as_json(self) -> dict[str, Any]:
        """Return the values by name."""
        return asdict(self)


def verdicts(phases: Phases, seen: Probe, ap: Mapping[str, float | None]) -> list[Verdict]:
    """Diagnose a model by its own runs. ap: by budget, and `doubled`."""
    return [*_of_probe(phases, seen), *_of_runs(phases, ap)]


def withstood(phases: Phases) -> set[int]:
    """Return the ids of the images that no attack by gradients has broken within the random search's budget."""
    budget = parse_budgets(phases.protocol.diagnoses.search)[0]
    tried = [folder for folder in phases.reaching(phases.protocol.first_walk) if folder != phases.search]
    least = least_changes(tried, phases.path)
    broken = {i for i, one in least.items() if getattr(one, budget.norm) <= budget.size * (1 + ROUNDING)}
    return ids_with(phases.budget(budget), "failure") - broken


def _of_probe(phases: Phases, seen: Probe) -> Iterator[Verdict]:
    limits = phases.protocol.diagnoses
    images = counted(seen.images, "image")
    yield Verdict("the same image has the same answer", not seen.unlike, f"{seen.unlike} of {images} differ")
    yield Verdict(
        "candidates are what is detected",
        seen.apart <= (1 - limits.agreeing) * seen.images,
        f"on {seen.apart} of {images} the best candidate has another score than the best detection",
    )
    yield Verdict(
        "there is a gradient",
        not seen.is_useless(limits),
        f"of {images}, {seen.without} have none, {seen.zero} have zero, {seen.not_finite} are not finite",
    )
    sizes = " or ".join(f"{size:g}" for size in limits.steps)
    yield Verdict(
        "a step against the gradient helps",
        seen.lowered >= limits.agreeing * seen.stepped,
        f"{sizes} gray levels against its sign lower the loss on {seen.lowered} of {counted(seen.stepped, 'image')}",
    )


def _of_runs(phases: Phases, ap: Mapping[str, float | None]) -> Iterator[Verdict]:
    limits = phases.protocol.diagnoses
    attacked, unbroken = (len(ids_with(phases.budget(limits.unbounded), *which)) for which in (ATTACKED, ATTACKED[1:]))
    if attacked:
        yield Verdict(
            "a change without a bound breaks everything",
            unbroken <= limits.unbroken * attacked,
            f"{unbroken} of {counted(attacked, 'image')} withstand {limits.unbounded}",
        )
    before, after = ap.get(str(parse_budgets(limits.doubled)[0])), ap.get("doubled")
    if before is not None and after is not None:
        yield Verdict(
            "twice the passes gain little",
            before - after <= limits.gain,
            f"AP {before:.4f} at {limits.doubled}, {after:.4f} after as many passes again",
        )
    tried = sum(1 for _ in records_of(phases.search))
    found = len(ids_with(phases.search, "success"))
    yield Verdict(
        "random search finds nothing that gradients miss",
        not found,
        f"{found} of {counted(tried, 'image')} that withstood {limits.search} fall to {limits.answers} answers"
        if tried
        else f"no image withstood {limits.search}",
    )
